"""Two runs compared: what changed beyond the noise, by how much, and how sure that is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from mlcache.bench.likeness import remarks, unlike
from mlcache.bench.measures import MEASURES
from mlcache.bench.runs import Place, Run, read
from mlcache.bench.statistics import adjusted, least_p, mann_whitney, ratio
from mlcache.errors import ConfigurationError

Verdict = Literal["better", "worse", "same", "too few samples"]
SURE = 0.05
"""What a p-value has to be below, once corrected for how many are looked at."""
MATTERS = 0.03
"""A change of less than that, as a share, is none that matters, however sure it is."""


class Change(msgspec.Struct, frozen=True):
    """What became of a number.

    Args:
        scenario: where.
        who: the backend or the peer.
        measure: the number's name.
        before: its median in the first run.
        after: its median in the second.
        ratio: of the second to the first, as ``statistics.ratio`` has it; NaN where the first is zero.
        low: the lower end.
        high: the upper end.
        p: of the test of Mann and Whitney, corrected for many tests after Benjamini and Hochberg.
        verdict: what that comes to.
        error: why the second run has no samples, where the first has some; the numbers are NaN.
    """

    scenario: str
    who: str
    measure: str
    before: float
    after: float
    ratio: float
    low: float
    high: float
    p: float
    verdict: Verdict
    error: str = ""


class Comparison(msgspec.Struct, frozen=True):
    """Two runs side by side.

    Args:
        changes: of all that both have.
        only_before: what only the first has.
        only_after: what only the second has.
        remarks: what else differs, and how fast the machine was.
        refused: by scenario, why it is not compared.
    """

    changes: list[Change]
    only_before: list[Place]
    only_after: list[Place]
    remarks: list[str]
    refused: dict[str, str]


def compare(before: Path, after: Path) -> Comparison:
    """Two files of ``mlcache bench --json`` or of ``python -m benchmarks --json``.

    Raises:
        ConfigurationError: a file cannot be read, or they have nothing in common that could be compared.
    """
    first, second = read(before), read(after)
    _check(first, second)
    refused = unlike(first, second)
    common = [place for place in first.samples if place in second.samples]
    shared = [place for place in common if place[0] not in refused]
    failed = [each for each in _failed(first, second) if each.scenario not in refused]
    if not shared and not failed:
        why = "; ".join(f"{name}: {each}" for name, each in refused.items())
        raise ConfigurationError(
            f"{before} and {after} have nothing in common that could be compared{why and f': {why}'}"
        )
    runs, others = first.samples, second.samples
    p_values = adjusted([mann_whitney(runs[place], others[place]) for place in shared])
    changes = [_change(each, runs[each], others[each], p) for each, p in zip(shared, p_values, strict=True)]
    return Comparison(
        [*failed, *changes],
        [place for place in runs if place not in others],
        [place for place in others if place not in runs],
        remarks(first, second),
        refused,
    )


def _check(before: Run, after: Run) -> None:
    """Raise where two runs as a whole have measured unlike things."""
    if before.program != after.program:
        raise ConfigurationError(
            f"one is a run of `{before.program}` and the other of `{after.program}`, which measure other "
            "things: give two of the same"
        )
    if "quick" in (before.pace, after.pace) and before.pace != after.pace:
        raise ConfigurationError(
            f"one run is {before.pace or 'unknown'} and the other {after.pace or 'unknown'}: a quick one "
            "measures the smallest sizes under the names of the others, so give two of the same pace"
        )


def _failed(before: Run, after: Run) -> Iterator[Change]:
    """What had samples and fails now, each once."""
    for scenario, who in dict.fromkeys(place[:2] for place in before.samples):
        if (scenario, who) in after.errors:
            no = math.nan
            yield Change(scenario, who, "", no, no, no, no, no, no, "worse", after.errors[scenario, who])


def _change(place: Place, before: list[float], after: list[float], p: float) -> Change:
    scenario, who, measure = place
    medians = statistics.median(before), statistics.median(after)
    found, low, high = ratio(after, before)
    enough = least_p(len(before), len(after)) < SURE
    verdict = _verdict(measure, *medians, p) if enough else "too few samples"
    return Change(scenario, who, measure, *medians, found, low, high, p, verdict)


def _verdict(measure: str, before: float, after: float, p: float) -> Verdict:
    known = MEASURES.get(measure)
    share = known is not None and known.unit == "share"
    size = abs(after - before) if share else abs(after - before) / max(abs(before), 1e-12)
    if p >= SURE or size < MATTERS:
        return "same"
    more_is_better = known is not None and known.more_is_better
    return "better" if (after > before) == more_is_better else "worse"
