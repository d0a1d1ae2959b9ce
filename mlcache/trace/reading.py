"""From traces to a workload that can be replayed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlcache.errors import ConfigurationError, TraceError
from mlcache.trace.format import HEADER, NOT_KEPT, RECORD, Records, read_trace
from mlcache.trace.workload import Workload

Column = NDArray[np.float64]
_GREATEST = {"time": 1e11, "cost": 1e9, "size": 2.0**50}
"""What no call has: a time after the year 5000, a cost of thirty years, a size of a pebibyte."""


class Recorded(msgspec.Struct, frozen=True, eq=False):
    """What was recorded, ready to be replayed.

    Args:
        workload: the calls.
        unknown: how many calls were left out because neither cost nor size of their value is in the trace.
        not_kept: how many were left out because the value of their key was mostly not kept.
        sample: the share of the keys that it has.
    """

    workload: Workload
    unknown: int
    not_kept: int
    sample: float


def load(paths: Sequence[str | Path], *, sample: float = 1.0) -> Recorded:
    """The calls of one service in the order of time, from the traces that its processes wrote.

    The value of a key costs and weighs what was recorded for it on average.

    Args:
        paths: of the traces; each is read piece by piece. Of what is kept, a call takes 120 bytes meanwhile.
        sample: the share of the keys to keep, drawn by their digests, with all calls for them. A cache that
            is smaller by the same factor then has nearly the same hit rate; from C. Waldspurger et al.,
            Efficient MRC Construction with SHARDS, FAST 2015.

    Raises:
        ConfigurationError: the sample is no share.
        TraceError: a file is no trace, a record is damaged, or there is no call in all of them.
        OSError: a file cannot be read.
    """
    if not 0 < sample <= 1:
        raise ConfigurationError(f"sample is {sample!r}: give a share of the keys, above 0 and at most 1")
    chunks = [_sampled(records, sample) for path in paths for records in _read(path)]
    records = np.concatenate([np.empty(0, dtype=RECORD), *chunks])
    records = records[np.argsort(records["time"], kind="stable")]
    digests, keys = np.unique(records["key"], return_inverse=True)
    call = records["size"] != NOT_KEPT
    calls = np.bincount(keys[call], minlength=len(digests))
    kept = 2 * np.bincount(keys[~call], minlength=len(digests)) <= calls
    costs, sizes = (_means(keys[call], records[what][call], len(digests)) for what in ("cost", "size"))
    known = ~(np.isnan(costs) | np.isnan(sizes))
    chosen = call & (kept & known)[keys]
    if not chosen.any():
        raise TraceError(f"there is no call to replay in {', '.join(map(str, paths)) or 'no trace'}")
    return Recorded(
        workload=_workload(records["time"][chosen], keys[chosen], costs, sizes),
        unknown=int(calls[kept & ~known].sum()),
        not_kept=int(calls[~kept].sum()),
        sample=sample,
    )


def _read(path: str | Path) -> Iterator[Records]:
    """The records of a trace, each of which can be that of a call."""
    before = 0
    for records in read_trace(path):
        possible = np.logical_and.reduce([_possible(records[what], what) for what in _GREATEST])
        if not possible.all():
            place = int(np.argmin(possible))
            raise TraceError(_damage(path, before + place, records[place]))
        before += len(records)
        yield records


def _possible(column: Column, what: str) -> NDArray[np.bool_]:
    """Of each record, whether its time, cost or size can be that of a call."""
    possible: NDArray[np.bool_] = (column >= 0) & (column <= _GREATEST[what])
    if what != "time":
        possible |= np.isnan(column)
    if what == "size":
        possible |= column == NOT_KEPT
    return possible


def _damage(path: str | Path, number: int, record: np.void) -> str:
    values = ", ".join(f"{what} {float(record[what]):g}" for what in _GREATEST)
    return (
        f"{path} is damaged: record {number}, counted from 0, has {values}, which no call has; "
        "leave this file out, or cut it off before that record, at byte "
        f"{len(HEADER) + number * RECORD.itemsize}"
    )


def _sampled(records: Records, sample: float) -> Records:
    return records if sample == 1 else records[records["key"] < np.uint64(sample * 2.0**64)]


def _means(keys: NDArray[np.int64], column: NDArray[np.float32], count: int) -> Column:
    """For each key the mean of what is known; not a number where nothing is."""
    known = ~np.isnan(column)
    sums = np.bincount(keys[known], weights=column[known], minlength=count)
    numbers = np.bincount(keys[known], minlength=count)
    means: Column = np.divide(sums, numbers, out=np.full(count, np.nan), where=numbers > 0)
    return means


def _workload(times: Column, keys: NDArray[np.int64], costs: Column, sizes: Column) -> Workload:
    """Keys numbered anew, so that each is asked for."""
    asked, keys = np.unique(keys, return_inverse=True)
    return Workload(
        keys=keys.astype(np.int64),
        times=times - times[0],
        costs=costs[asked],
        sizes=np.rint(sizes[asked]).astype(np.int64),
    )
