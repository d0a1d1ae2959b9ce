"""Several backends in a row, nearest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from mlcache import clock
from mlcache.backends.protocol import Backend, Clears, Closes, InMemory, Lists, Measures, Usage
from mlcache.entry import Entry, Key, Verdict, judge

T = TypeVar("T")
OnFailure = Callable[[str, str, Key | None, Exception], object]
"""Told of a tier's name, the operation, the key and the error."""


class Found(msgspec.Struct, frozen=True):
    """An entry, the tier it was found in, and when."""

    entry: Entry
    tier: str
    at: float


class Tiers:
    """Backends in a row, nearest first; with one, just that one.

    A lookup ends at the first fresh entry, which is copied to the tiers before it with its
    deadline as it is, so lifetimes never add up. Writes go to all tiers. A tier that fails is
    reported and passed over.

    Args:
        backends: nearest first. With none, nothing is ever found.
        on_failure: told of each failure. What it raises is raised.
    """

    def __init__(self, backends: Sequence[Backend], on_failure: OnFailure) -> None:
        self.backends = tuple(backends)
        self._on_failure = on_failure

    @property
    def blocking(self) -> bool:
        """Whether any tier may keep an event loop waiting."""
        return any(backend.blocking for backend in self.backends)

    @property
    def memory(self) -> tuple[Callable[[bytes], Entry | None], Callable[[bytes], Any]] | None:
        """How the nearest tier is looked up and told of a use without going through here, if it can be."""
        nearest = self.backends[0] if self.backends else None
        return (nearest.find, nearest.touch) if isinstance(nearest, InMemory) else None

    def find(self, key: Key) -> Found | None:
        """The first fresh entry, or else the last to become stale of those that are not dead."""
        now = clock.now()
        best: Found | None = None
        for place, backend in enumerate(self.backends):
            entry = self._try(backend, backend.get, key)
            if entry is None:
                continue
            verdict = judge(entry, now)
            if verdict is Verdict.FRESH:
                self._keep(self.backends[:place], key, entry)
                return Found(entry, backend.name, now)
            if verdict is Verdict.STALE and (best is None or best.entry.fresh_until < entry.fresh_until):
                best = Found(entry, backend.name, now)
        return best

    def keep(self, key: Key, entry: Entry) -> None:
        """Write to all tiers."""
        self._keep(self.backends, key, entry)

    def drop(self, key: Key) -> bool:
        """Delete from all tiers, the farthest first, lest it be promoted meanwhile; whether any had it."""
        gone = [self._try(backend, backend.delete, key) for backend in reversed(self.backends)]
        return any(gone)

    def clear(self, namespace: str) -> int:
        """Delete all entries of a namespace; the largest number that a tier had."""
        gone = [
            self._try(backend, backend.clear, namespace)
            for backend in reversed(self.backends)
            if isinstance(backend, Clears)
        ]
        return max((number or 0 for number in gone), default=0)

    def keys(self, namespace: str) -> Iterator[Key]:
        """The keys of a namespace in any tier, each once."""
        found: dict[bytes, Key] = {}
        for backend in self.backends:
            if isinstance(backend, Lists):
                listed = self._try(backend, backend.keys, namespace)
                found.update((key.digest, key) for key in listed or ())
        return iter(found.values())

    def usage(self, namespace: str) -> tuple[int, Usage]:
        """How many entries of the namespace the nearest tier that can tell has, and how full it is."""
        for backend in self.backends:
            if isinstance(backend, Measures):
                number, used = self._try(backend, backend.count, namespace), self._try(backend, backend.usage)
                return number or 0, used or Usage(0, 0)
        return 0, Usage(0, 0)

    def look(self, key: Key) -> dict[str, Entry | None]:
        """What each tier has, without promotion."""
        return {backend.name: self._try(backend, backend.get, key) for backend in self.backends}

    def close(self) -> None:
        """Close those that can be closed."""
        for backend in self.backends:
            if isinstance(backend, Closes):
                backend.close()

    def _keep(self, backends: Sequence[Backend], key: Key, entry: Entry) -> None:
        for backend in backends:
            self._try(backend, backend.put, key, entry)

    def _try(self, backend: Backend, do: Callable[..., T], *args: Any) -> T | None:
        try:
            return do(*args)
        except Exception as error:  # noqa: BLE001 - whatever a store raises, the call goes on
            key = args[0] if args and isinstance(args[0], Key) else None
            self._on_failure(backend.name, do.__name__, key, error)
            return None

    def __repr__(self) -> str:
        return " → ".join(map(repr, self.backends)) or "<no tier>"
