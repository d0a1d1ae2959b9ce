"""What a cache did for a workload."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlcache.trace.workload import Workload


class Score(msgspec.Struct, frozen=True):
    """Three measures of the same hits.

    Args:
        hit_rate: share of the calls that were answered from the cache.
        byte_hit_rate: share of the bytes of all answers that came from it.
        seconds_saved: computing time of the calls that it answered.
        share_saved: the same as a share of the computing time of all calls.
    """

    hit_rate: float
    byte_hit_rate: float
    seconds_saved: float
    share_saved: float


def score(workload: Workload, hits: NDArray[np.bool_]) -> Score:
    """The measures of a replay.

    Args:
        workload: what was replayed.
        hits: of each call, whether it was answered from the cache.
    """
    return weigh(workload, [float(worth[hits].sum()) for worth in worths(workload)])


def worths(workload: Workload) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """What a hit of each call counts in the three measures: one, its bytes, its seconds."""
    sizes = workload.sizes[workload.keys].astype(np.float64)
    return np.ones(len(workload)), sizes, workload.costs[workload.keys]


def weigh(workload: Workload, saved: list[float]) -> Score:
    """The score of hits that are worth ``saved`` in calls, bytes and seconds."""
    calls, size, seconds = saved
    everything = [float(worth.sum()) for worth in worths(workload)]
    return Score(
        hit_rate=_share(calls, everything[0]),
        byte_hit_rate=_share(size, everything[1]),
        seconds_saved=seconds,
        share_saved=_share(seconds, everything[2]),
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
