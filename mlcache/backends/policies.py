"""More policies for entries in memory: least frequently used, at random, and what has expired."""

from __future__ import annotations

import heapq
import math
from contextlib import suppress
from typing import Any

from mlcache import clock
from mlcache.backends.memory import Counting, Lru, Memory, opener
from mlcache.entry import Entry
from mlcache.errors import MissingExtraError


class Ttl(Lru):
    """Evicts what has expired, what expired first before the others, and then the least recently used.

    The deadline is the entry's own ``stale_until``.
    """

    name = "ttl"
    overhead = 650

    def __init__(self, *, max_bytes: int, max_items: int | None = None) -> None:
        super().__init__(max_bytes=max_bytes, max_items=max_items)
        self._deadlines: list[tuple[float, bytes]] = []  # a heap; also has what was replaced or deleted since

    def _admit(self, digest: bytes, entry: Entry) -> None:
        if math.isinf(entry.stale_until):
            return
        heapq.heappush(self._deadlines, (entry.stale_until, digest))
        if len(self._deadlines) > 2 * len(self._entries) + 64:
            self._deadlines = sorted(set(filter(self._is_current, self._deadlines)))

    def _evict(self) -> Entry | None:
        while self._deadlines and self._deadlines[0][0] <= clock.now():
            first = heapq.heappop(self._deadlines)
            if self._is_current(first):
                return self._take(first[1])
        return super()._evict()

    def _is_current(self, deadline: tuple[float, bytes]) -> bool:
        entry = self._entries.get(deadline[1])
        return entry is not None and entry.stale_until == deadline[0]

    def _reset(self) -> None:
        super()._reset()
        self._deadlines.clear()


class _Ordered(Memory):
    """A policy of cachetools: one of its caches, without a bound, holds the digests and says which one goes.

    Args:
        max_bytes: as for all in memory.
        max_items: likewise.
    """

    _order: Any

    def _admit(self, digest: bytes, entry: Entry) -> None:  # noqa: ARG002 - nothing of the entry counts here
        self._order[digest] = None

    def _release(self, digest: bytes) -> None:
        del self._order[digest]

    def _evict(self) -> Entry | None:
        return self._take(self._order.popitem()[0])

    def _reset(self) -> None:
        super()._reset()
        self._order.clear()


class Lfu(_Ordered, Counting):
    """Evicts the least frequently used (LFU), of several the one that has been so for longest."""

    name = "lfu"
    overhead = 700

    def __init__(self, *, max_bytes: int, max_items: int | None = None) -> None:
        super().__init__(max_bytes=max_bytes, max_items=max_items)
        self._order = _cachetools(self.name).LFUCache(math.inf)

    def _used(self, digest: bytes) -> None:
        with suppress(KeyError):
            self._order[digest]


class Rr(_Ordered):
    """Evicts at random (RR, random replacement)."""

    name = "rr"
    overhead = 600

    def __init__(self, *, max_bytes: int, max_items: int | None = None) -> None:
        super().__init__(max_bytes=max_bytes, max_items=max_items)
        self._order = _cachetools(self.name).RRCache(math.inf)
        self.touch = self.find  # a step of C without effect, as a use has none here


def _cachetools(name: str) -> Any:
    try:
        import cachetools
    except ImportError:
        raise MissingExtraError(f"backend {name!r}", "cachetools", "memory") from None
    return cachetools


OPENERS = {"lfu": opener(Lfu), "rr": opener(Rr), "ttl": opener(Ttl)}
