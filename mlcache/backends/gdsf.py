"""Entries in memory, kept by what they save: GreedyDual-Size-Frequency."""

from __future__ import annotations

import heapq
import itertools

from mlcache.backends.memory import Counting, opener
from mlcache.entry import Entry

COST_FLOOR = 1e-4
"""Seconds that an entry costs at least: computing what takes less is about as fast as keeping it."""


class _Standing:
    """What an entry is worth.

    Args:
        digest: of the entry.
        weight: seconds it cost, for each byte that it takes.
        frequency: how often it was asked for.
    """

    __slots__ = ("digest", "frequency", "priority", "weight")

    def __init__(self, digest: bytes, weight: float, frequency: int) -> None:
        self.digest = digest
        self.weight = weight
        self.frequency = frequency
        self.priority = 0.0


class Gdsf(Counting):
    """Evicts what saves the least computing time for the memory that it takes (GDSF).

    The priority of an entry is ``inflation + frequency × cost ÷ size``: the seconds that were
    measured when it was computed, the bytes that it takes. The least goes first, and
    ``inflation`` rises to its priority, so that what was used often but long ago gives way.
    From L. Cherkasova, Improving WWW Proxies Performance with Greedy-Dual-Size-Frequency
    Caching Policy, HPL-98-69R1, 1998.
    """

    name = "gdsf"
    overhead = 850

    def __init__(self, *, max_bytes: int, max_items: int | None = None) -> None:
        super().__init__(max_bytes=max_bytes, max_items=max_items)
        self._inflation = 0.0
        self._standings: dict[bytes, _Standing] = {}
        # Each with the priority it had when it was put here, and a number that puts the older of two equals
        # first. A priority only rises, so it is enough to look at the true one when a standing comes out.
        self._heap: list[tuple[float, int, _Standing]] = []
        self._numbers = itertools.count()

    def _admit(self, digest: bytes, entry: Entry) -> None:
        before = self._standings.get(digest)
        weight = max(entry.cost, COST_FLOOR) / (entry.size + self.overhead)
        standing = _Standing(digest, weight, before.frequency if before else 0)
        self._standings[digest] = standing
        self._raise(standing)
        self._push(standing)
        if len(self._heap) > 2 * len(self._standings) + 64:
            self._heap = [item for item in self._heap if self._is_current(item[2])]
            heapq.heapify(self._heap)

    def _used(self, digest: bytes) -> None:
        standing = self._standings.get(digest)
        if standing is not None:
            self._raise(standing)

    def _release(self, digest: bytes) -> None:
        del self._standings[digest]

    def _evict(self) -> Entry | None:
        standing = self._lowest()
        self._inflation = standing.priority
        self._release(standing.digest)
        return self._take(standing.digest)

    def _lowest(self) -> _Standing:
        while True:
            priority, _, standing = heapq.heappop(self._heap)
            if not self._is_current(standing):  # deleted or replaced since
                continue
            if standing.priority <= priority:
                return standing
            self._push(standing)

    def _raise(self, standing: _Standing) -> None:
        standing.frequency += 1
        standing.priority = self._inflation + standing.frequency * standing.weight

    def _push(self, standing: _Standing) -> None:
        heapq.heappush(self._heap, (standing.priority, next(self._numbers), standing))

    def _is_current(self, standing: _Standing) -> bool:
        return self._standings.get(standing.digest) is standing

    def _reset(self) -> None:
        super()._reset()
        self._standings.clear()
        self._heap.clear()
        self._inflation = 0.0


OPENERS = {"gdsf": opener(Gdsf)}
