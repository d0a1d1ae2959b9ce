"""What could be saved by whoever knew the calls to come: Belady's policy, and a bound that holds for all.

Belady's policy evicts what is asked for again the latest: L. Belady, A study of replacement algorithms for
a virtual-storage computer, IBM Systems Journal, 1966. Where all values have one size, no policy has a
higher hit rate. Where sizes differ, another may: finding the best is then NP-hard.

The bound is one on the other side: no policy whatever reaches more. It lets the cache be overfull at some
times if it is emptier at others, so that only the room times the time is bounded, and then the best choice
is simple: what saves the most for the room and the time that it takes. From D. Berger, N. Beckmann, M.
Harchol-Balter, Practical Bounds on Optimal Caching with Variable Object Sizes, SIGMETRICS 2018 (PFOO-L).
"""

from __future__ import annotations

import heapq
import math

import numpy as np
from numpy.typing import NDArray

from mlcache.simulate.replay import Hits
from mlcache.simulate.score import Score, weigh, worths
from mlcache.trace.workload import Workload

Numbers = NDArray[np.int64]


def next_uses(workload: Workload) -> Numbers:
    """Of each call, the place of the next call for the same key; the number of calls if there is none."""
    order = np.argsort(workload.keys, kind="stable")
    following = np.full(len(workload), len(workload), dtype=np.int64)
    same = workload.keys[order[1:]] == workload.keys[order[:-1]]
    following[order[:-1][same]] = order[1:][same]
    return following


def belady(workload: Workload, max_bytes: int, *, overhead: int = 0, ttl: float | None = None) -> Hits:
    """Of each call, whether a cache with Belady's policy has the answer.

    Args:
        workload: the calls.
        max_bytes: bound on all that is kept.
        overhead: bytes that keeping a value takes beside it.
        ttl: seconds for which an answer may be used; None: for ever.
    """
    kept = _Foresight((workload.sizes + overhead).tolist(), max_bytes)
    times, uses = [*workload.times.tolist(), math.inf], next_uses(workload).tolist()
    span = math.inf if ttl is None else ttl
    hits = bytearray(len(workload))
    for place, key in enumerate(workload.keys.tolist()):
        hits[place] = kept.has(key)
        until = kept.until[key] if hits[place] else times[place] + span
        if times[uses[place]] < until:
            kept.keep(key, uses[place], until)
        else:  # it will not be asked for again, or be over by then
            kept.drop(key)
    return np.frombuffer(hits, dtype=np.bool_)


class _Foresight:
    """A store that evicts what is used again the latest, be it what was just put into it.

    Args:
        sizes: of the values of all keys.
        room: bytes that are free at first.
    """

    def __init__(self, sizes: list[int], room: int) -> None:
        self.until: dict[int, float] = {}
        """When what is kept expires."""
        self._sizes = sizes
        self._bound = self._room = room
        self._due: dict[int, int] = {}  # the place of the next use of what is kept
        self._heap: list[tuple[int, int]] = []  # the same, the latest first, and what has changed since

    def has(self, key: int) -> bool:
        """Whether the value of ``key`` is there; what is over by its next use is not kept until then."""
        return key in self._due

    def keep(self, key: int, use: int, until: float) -> None:
        """Keep a value whose next use and whose end are known, or go on doing so."""
        if self._sizes[key] > self._bound:
            return
        if key not in self._due:
            self._room -= self._sizes[key]
        self._due[key] = use
        self.until[key] = until
        heapq.heappush(self._heap, (-use, key))
        while self._room < 0:
            latest, other = heapq.heappop(self._heap)
            if self._due.get(other) == -latest:
                self.drop(other)

    def drop(self, key: int) -> None:
        """Forget a value, if it is there."""
        if self._due.pop(key, None) is not None:
            self._room += self._sizes[key]


def bound(workload: Workload, max_bytes: int, *, overhead: int = 0, ttl: float | None = None) -> Score:
    """What no policy exceeds, in each of the measures by itself: one policy seldom comes near all three.

    Args:
        workload: the calls.
        max_bytes: bound on all that is kept.
        overhead: bytes that keeping a value takes beside it.
        ttl: seconds for which an answer may be used; None: for ever.
    """
    uses = next_uses(workload)
    sizes = (workload.sizes + overhead)[workload.keys].astype(np.float64)
    first = np.flatnonzero((uses < len(workload)) & (sizes <= max_bytes))
    if ttl is not None:
        first = first[workload.times[uses[first]] < workload.times[first] + ttl]
    taken = sizes[first] * (uses[first] - first)  # room times calls, from one use to the next
    there = float(max_bytes) * len(workload)
    return weigh(workload, [_most(worth[first], taken, there) for worth in worths(workload)])


def _most(worth: NDArray[np.float64], taken: NDArray[np.float64], there: float) -> float:
    """The most worth that fits, where the last choice may be made in part: the fractional knapsack."""
    best = np.argsort(-worth / np.maximum(taken, 1e-9), kind="stable")
    filled = np.cumsum(taken[best])
    whole = int(np.searchsorted(filled, there, side="right"))
    total = float(worth[best[:whole]].sum())
    if whole < len(best):
        left = there - (float(filled[whole - 1]) if whole else 0.0)
        total += float(worth[best[whole]]) * left / float(taken[best[whole]])
    return total
