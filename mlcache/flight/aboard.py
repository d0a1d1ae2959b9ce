"""Who runs for which flight, and what each flight waits for: so that nobody waits in a circle."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any, Protocol

from mlcache.entry import Key
from mlcache.errors import RecursiveCallError


class Flight(Protocol):
    """What this module has to know of a flight; see ``mlcache.flight.flight``."""

    key: Key
    needs: dict[Any, int]
    carried: tuple[Any, ...]
    hurry: Callable[[], object] | None

    def count_waiter(self, number: int, /) -> None:
        """Note that somebody begins to wait, or with -1 that somebody gave up or was answered."""
        ...


_leading: ContextVar[tuple[Flight, ...]] = ContextVar("mlcache_leading", default=())


def is_led_here(flight: Flight) -> bool:
    """Whether what runs here runs for ``flight``."""
    return flight in _leading.get()


def keys_computed_here() -> set[Key]:
    """Of which keys what runs here runs for a flight, maybe one of a namesake of their function."""
    return {each.key for flight in _leading.get() for each in (flight, *flight.carried)}


class aboard:  # noqa: N801 - used as a function is; as a generator it would take several times as long
    """Note that what runs in this block runs for ``flight``.

    Raises:
        RecursiveCallError: as ``waiting_for``.
    """

    __slots__ = ("_before", "_flight", "_token")

    def __init__(self, flight: Flight) -> None:
        self._flight = flight
        self._before = _leading.get()
        self._token: Token[tuple[Flight, ...]] | None = None

    def __enter__(self) -> None:
        if self._before:
            _note_need(self._before, self._flight)
        self._token = _leading.set((*self._before, self._flight))

    def __exit__(self, *_: object) -> None:
        if self._before:
            _forget_need(self._before, self._flight)
        try:  # noqa: SIM105 - contextlib.suppress takes several times as long
            _leading.reset(self._token)  # type: ignore[arg-type]
        except ValueError:  # a coroutine that is thrown away ends in a context not its own
            pass


@contextmanager
def on_its_own() -> Iterator[None]:
    """Note that nobody waits for what runs in this block, wherever it was started."""
    token = _leading.set(())
    try:
        yield
    finally:
        _leading.reset(token)


class waiting_for:  # noqa: N801 - as ``aboard``: a thousand tasks may leave it one after the other
    """Note that the flight we run for, if there is one, needs another one.

    Raises:
        RecursiveCallError: that one waits for ours, by way of other threads or tasks maybe.
    """

    __slots__ = ("_flight", "_ours")

    def __init__(self, flight: Flight) -> None:
        self._flight = flight
        self._ours: tuple[Flight, ...] = ()

    def __enter__(self) -> None:
        self._ours = _leading.get()
        needed = _note_need(self._ours, self._flight) if self._ours else ()
        self._flight.count_waiter(1)
        for each in needed:
            hurry = each.hurry
            if hurry is not None and each is not self._flight:  # of which whoever counts waiters sees to it
                hurry()

    def __exit__(self, *_: object) -> None:
        self._flight.count_waiter(-1)
        if self._ours:
            _forget_need(self._ours, self._flight)


_needs_lock = threading.RLock()  # a finalizer may come at any time, and call a cached function


def _note_need(ours: tuple[Flight, ...], flight: Flight) -> set[Flight]:
    """All that we need now because we need ``flight``."""
    with _needs_lock:
        needed = _all_needed([flight])
        if not needed.isdisjoint(ours):
            raise recursion(flight.key)
        needs = ours[-1].needs
        needs[flight] = needs.get(flight, 0) + 1
    return needed


def is_needed_by(flights: Collection[Flight]) -> bool:
    """Whether any of these needs, by way of others maybe, a flight that what runs here runs for."""
    ours = _leading.get()
    if not ours or not flights:
        return False
    with _needs_lock:
        return not _all_needed(flights).isdisjoint(ours)


def _forget_need(ours: tuple[Flight, ...], flight: Flight) -> None:
    with _needs_lock:
        needs = ours[-1].needs
        times = needs.get(flight, 0)
        if times > 1:  # another task of the same computation waits for it still
            needs[flight] = times - 1
        else:
            needs.pop(flight, None)


def _all_needed(flights: Collection[Flight]) -> set[Flight]:
    """These, and all that they need."""
    seen: set[Flight] = set()
    left = list(flights)
    while left:
        each = left.pop()
        if each not in seen:
            seen.add(each)
            left.extend(each.needs)
    return seen


def recursion(key: Key) -> RecursiveCallError:
    """The error for who would wait for itself."""
    return RecursiveCallError(
        f"{key.namespace} calls itself with the same arguments, directly or through others: "
        "it would wait for its own result"
    )


def _after_fork() -> None:
    global _needs_lock  # noqa: PLW0603 - one for the process; a thread that the child lacks may have held it
    _needs_lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
