"""What a pool counts and measures, in a fixed amount of memory however long it runs."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from mlcache.offload.transport import Array

_STEPS = 4
"""Buckets for each doubling, so that a percentile is off by a fifth at most."""
_LEAST = 1e-6
_BUCKETS = 40 * _STEPS
_AT_ONCE = 256
"""Calls that are sorted into buckets together, which takes a small part of the time."""


class Summary(msgspec.Struct, frozen=True):
    """What many measurements were like.

    Args:
        count: how many there were.
        mean: of them.
        p50: half of them were at most this, to within a fifth.
        p95: 95 % of them were.
        p99: 99 % of them were.
        largest: of them.
        total: all of them together.
    """

    count: int
    mean: float
    p50: float
    p95: float
    p99: float
    largest: float
    total: float


class Histogram:
    """Counts of measurements by their size, in buckets that grow by a constant factor.

    Args:
        unit: the smallest size that is told apart.
    """

    def __init__(self, unit: float = _LEAST) -> None:
        self._unit = unit
        self._counts = np.zeros(_BUCKETS, np.int64)
        self._count = 0
        self._total = 0.0
        self._largest = 0.0

    def add(self, values: Array) -> None:
        """Count measurements, which are zero or above."""
        steps = np.log2(np.maximum(values, self._unit) / self._unit) * _STEPS
        buckets = np.minimum(steps.astype(np.int64) + (values > self._unit), _BUCKETS - 1)
        self._counts += np.bincount(buckets, minlength=_BUCKETS)
        self._count += len(values)
        self._total += float(values.sum())
        self._largest = max(self._largest, float(values.max(initial=0.0)))

    def summary(self) -> Summary:
        """What it counted, so far."""
        mean = self._total / self._count if self._count else 0.0
        p50, p95, p99 = map(self._percentile, (0.5, 0.95, 0.99))
        return Summary(self._count, mean, p50, p95, p99, self._largest, self._total)

    def _percentile(self, part: float) -> float:
        if not self._count:
            return 0.0
        bucket = int(np.searchsorted(np.cumsum(self._counts), max(part * self._count, 1.0)))
        return min(self._unit * 2 ** (bucket / _STEPS), self._largest)


class WorkerMetrics(msgspec.Struct, frozen=True):
    """One worker.

    Args:
        slot: its place in the pool, which its successor takes over.
        pid: its process; None while it is being started.
        state: ``"starting"``, ``"idle"``, ``"busy"`` or ``"ending"``.
        calls: that it has answered.
        memory: bytes that it held when it last answered, with what it keeps of arguments in shared memory.
        restarts: how many workers had its place before it.
    """

    slot: int
    pid: int | None
    state: str
    calls: int
    memory: int
    restarts: int


class PoolMetrics(msgspec.Struct, frozen=True):
    """What a pool has done since it was made.

    Args:
        submitted: calls taken.
        answered: of these, with a value or with the exception that the function raised.
        failed: of these, with an exception that the function raised.
        timed_out: calls ended because they took too long, or dropped because they were too late.
        died: calls that failed because their worker died.
        cancelled: calls taken back before they were computed.
        restarts: workers that were started in place of others.
        queued: calls that wait now.
        queued_bytes: bytes of their arguments.
        wait: seconds that calls waited for a worker.
        transfer: seconds from a call's start to its answer, without what the function took.
        handle: seconds that the function took.
        bytes_in: of arguments, by call.
        bytes_out: of results, by call.
        items: how many items a call was for.
        shared_memory: bytes of the segments that are held now.
        workers: each of them.
    """

    submitted: int
    answered: int
    failed: int
    timed_out: int
    died: int
    cancelled: int
    restarts: int
    queued: int
    queued_bytes: int
    wait: Summary
    transfer: Summary
    handle: Summary
    bytes_in: Summary
    bytes_out: Summary
    items: Summary
    shared_memory: int
    workers: tuple[WorkerMetrics, ...]


class Meter:
    """Counts for ``PoolMetrics``, while they grow."""

    def __init__(self) -> None:
        self._fresh: list[tuple[float, ...]] = []
        names = ["submitted", "answered", "failed", "timed_out", "died", "cancelled", "restarts"]
        self.counts = dict.fromkeys(names, 0)
        self._histograms = {name: Histogram() for name in ("wait", "transfer", "handle")}
        self._histograms |= {name: Histogram(1.0) for name in ("bytes_in", "bytes_out", "items")}

    def count(self, name: str) -> None:
        """One more of ``name``."""
        self.counts[name] += 1

    def measure(self, *values: float) -> None:
        """Take in one call: wait, transfer and handle in seconds, bytes in and out, and items."""
        self._fresh.append(values)
        if len(self._fresh) >= _AT_ONCE:
            self._sort_in()

    def fields(self) -> dict[str, Any]:
        """All that it counted, as ``PoolMetrics`` names it."""
        self._sort_in()
        return self.counts | {name: each.summary() for name, each in self._histograms.items()}

    def _sort_in(self) -> None:
        if self._fresh:
            columns = np.array(self._fresh, np.float64).T
            self._fresh.clear()
            for histogram, values in zip(self._histograms.values(), columns, strict=True):
                histogram.add(values)
