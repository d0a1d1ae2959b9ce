"""What happened: frozen records, and the counters that a cached function keeps.

A hook is a plain callable that takes one event. While any hook is registered, calls
leave the fast path, so that hooks see every hit.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from mlcache import switch
from mlcache.entry import Key
from mlcache.warning import warn


class Event(msgspec.Struct, frozen=True):
    """Something that happened to the entry under ``key``."""

    key: Key


class Hit(Event, frozen=True):
    """An entry answered the call; ``age`` is in seconds, ``cost`` and ``size`` are the entry's."""

    tier: str
    age: float
    cost: float = 0.0
    size: int = 0


class Stale(Event, frozen=True):
    """An entry past its time answered the call; the rest is as for ``Hit``."""

    tier: str
    age: float
    cost: float = 0.0
    size: int = 0


class Coalesced(Event, frozen=True):
    """The call waited for a computation that was already under way."""


class Computed(Event, frozen=True):
    """The function ran; ``cost`` is in seconds, ``size`` is that of the entry for it, in bytes."""

    cost: float
    size: int = 0


class Bypassed(Event, frozen=True):
    """The function ran with the cache switched off or passed by."""


class Raised(Event, frozen=True):
    """The function ran and raised ``error``."""

    error: BaseException


class NotKept(Event, frozen=True):
    """A computed value was delivered but not kept, for ``reason``."""

    reason: str


class Failed(Event, frozen=True):
    """A tier, or the function that was given as ``ttl`` or ``when``, failed; the call went on without it."""

    tier: str
    operation: str
    error: Exception


Hook = Callable[[Any], object]
_hooks: list[Hook] = []


@contextmanager
def hook(function: Hook) -> Iterator[None]:
    """Call ``function`` with every event of every cached function while the block runs."""
    _hooks.append(function)
    try:
        with switch.detour():
            yield
    finally:
        _hooks.remove(function)


def emit(event: Event) -> None:
    """Tell every hook. One that raises is warned of: who looks on must not fail the call."""
    for function in tuple(_hooks):
        try:
            function(event)
        except Exception as error:  # noqa: BLE001 - as above
            warn(f"the hook {function!r} raised {error!r}")


class Counter:
    """A count that threads can add to without a lock.

    ``itertools.count`` advances in one step of C, which ``+=`` on an attribute does not
    promise; it can be read without being advanced only through its repr.
    """

    __slots__ = ("_base", "_count", "add")

    def __init__(self) -> None:
        self._count = itertools.count()
        self._base = 0
        self.add: Callable[[], int] = self._count.__next__

    @property
    def value(self) -> int:
        """The count since the last reset."""
        return self._total() - self._base

    def reset(self) -> None:
        """Begin at zero again. ``add`` stays the same function, which others may hold."""
        self._base = self._total()

    def _total(self) -> int:
        return int(repr(self._count)[len("count(") : -1])


class Tally:
    """The counters of one cached function; see ``CacheInfo``."""

    __slots__ = ("bypasses", "coalesced", "errors", "hits", "misses", "not_kept", "stale")

    def __init__(self) -> None:
        self.hits = Counter()
        self.misses = Counter()
        self.coalesced = Counter()
        self.bypasses = Counter()
        self.not_kept = Counter()
        self.errors = Counter()
        self.stale = Counter()

    def reset(self) -> None:
        """Begin at zero again."""
        for name in self.__slots__:
            getattr(self, name).reset()
