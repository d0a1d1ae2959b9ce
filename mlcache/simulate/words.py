"""A study in words: which policy saves the most, and where another does better."""

from __future__ import annotations

from collections.abc import Iterator

from mlcache.simulate.study import Point, Study
from mlcache.units import show_size

AMOUNTS = {"share_saved": "computing time", "hit_rate": "calls", "byte_hit_rate": "bytes"}
"""By measure, what it is a share of."""


def sentences(study: Study) -> Iterator[str]:
    """One sentence for each size."""
    for fraction in dict.fromkeys(point.fraction for point in study.points):
        best = study.best(fraction)
        if best is not None:
            yield f"{size(best)}: {_praise(study, best)}{_others(study, best)}."


def size(point: Point) -> str:
    """The size of the store of a replay."""
    return f"{100 * point.fraction:g} % ({show_size(point.max_bytes)})"


def share(part: float) -> str:
    """A share in percent."""
    return f"{100 * part:.1f} %"


def _praise(study: Study, best: Point) -> str:
    saved = f"{best.policy} saves the most, {share(best.score.share_saved)} of the computing time"
    lru = next((point for point in study.at(best.fraction) if point.policy == "lru"), None)
    if lru is None or lru is best or not lru.score.seconds_saved:
        return saved
    return f"{saved}, {best.score.seconds_saved / lru.score.seconds_saved:.2f} times as much as lru"


def _others(study: Study, best: Point) -> str:
    """Where other policies do better than the one that saves the most."""
    better: list[str] = []
    for measure in ("hit_rate", "byte_hit_rate"):
        other = study.best(best.fraction, measure)
        if other is not None and getattr(other.score, measure) > getattr(best.score, measure):
            rates = f"{share(getattr(other.score, measure))}, not {share(getattr(best.score, measure))}"
            better.append(f"{other.policy} answers more of the {AMOUNTS[measure]} ({rates})")
    return f"; {' and '.join(better)}" if better else ""
