"""Measures: what a replay says of a place, each a number, with its unit and which way is better."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlcache.bench.replay import Replay
from mlcache.bench.work import Work


class Measure(msgspec.Struct, frozen=True):
    """A number of a replay.

    Args:
        title: as a table shows it.
        about: what it is.
        unit: ``s`` (seconds), ``share`` (0 to 1), ``/s`` or empty.
        more_is_better: or less is.
    """

    title: str
    about: str
    unit: str
    more_is_better: bool


MEASURES: dict[str, Measure] = {
    "net": Measure(
        "time saved",
        "the share of the computing time that callers do not wait, what the cache takes deducted; "
        "in a stampede, waiting for the one who computes counts only for what it takes longer",
        "share",
        more_is_better=True,
    ),
    "hit": Measure(
        "hit",
        "median time of an answer that its caller did not compute; in a stampede, what it took longer "
        "than the computation",
        "s",
        more_is_better=False,
    ),
    "hit_p99": Measure(
        "99 % of hits", "what 99 of 100 of these answers take at most", "s", more_is_better=False
    ),
    "miss": Measure(
        "added to a miss", "median of what the cache adds to a computation", "s", more_is_better=False
    ),
    "hit_rate": Measure("hits", "the share of calls that did not compute", "share", more_is_better=True),
    "byte_rate": Measure(
        "bytes hit", "the share of the answers' bytes not computed", "share", more_is_better=True
    ),
    "rate": Measure("calls a second", "of all callers together", "/s", more_is_better=True),
    "runs": Measure(
        "runs a key", "how often the function ran for a key asked for by all", "", more_is_better=False
    ),
}


def of(replay: Replay, work: Work) -> dict[str, float]:
    """The measures of a replay; those of hits are missing where there were none, of misses likewise."""
    costs, sizes = work.costs[replay.numbers], work.sizes[replay.numbers]
    computed, taken = replay.ran > 0, _taken(replay, work)
    found = {
        "net": 1 - float(costs[computed].sum() + taken.sum()) / max(float(costs.sum()), 1e-12),
        "hit_rate": float((~computed).mean()),
        "byte_rate": float(sizes[~computed].sum() / max(int(sizes.sum()), 1)),
        "rate": len(costs) / max(replay.seconds, 1e-9),
    }
    if not computed.all():
        hits = taken[~computed]
        found |= {"hit": float(np.median(hits)), "hit_p99": float(np.quantile(hits, 0.99))}
    if computed.any():
        found["miss"] = float(np.median(taken[computed]))
    if work.together:
        found["runs"] = float(computed.sum() / len(np.unique(replay.numbers)))
    return found


def _taken(replay: Replay, work: Work) -> NDArray[np.float64]:
    """Seconds that the cache takes of each call: all but what the function ran, also for those who wait."""
    ran = replay.ran
    if work.together:
        leading = np.zeros(len(work.costs))
        np.maximum.at(leading, replay.numbers, ran)
        ran = leading[replay.numbers]
    return np.maximum(replay.latencies - ran, 0.0)
