"""Two runs compared: what changed beyond the noise, by how much, and how sure that is."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from mlcache.bench.document import Document
from mlcache.bench.measures import MEASURES
from mlcache.bench.statistics import adjusted, least_p, mann_whitney, ratio
from mlcache.errors import ConfigurationError

Verdict = Literal["better", "worse", "same", "too few samples"]
SURE = 0.05
"""What a p-value has to be below, once corrected for how many are looked at."""
MATTERS = 0.03
"""A change of less than that, as a share, is none that matters, however sure it is."""

Place = tuple[str, str, str]
"""A scenario, who was measured there, and what."""
Runs = dict[Place, list[float]]


class Change(msgspec.Struct, frozen=True):
    """What became of a number.

    Args:
        scenario: where.
        who: the backend or the peer.
        measure: the number's name.
        before: its median in the first run.
        after: its median in the second.
        ratio: of the medians, second to first, with the ends of its interval; NaN where the first is zero.
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
        remarks: what stands in the way of comparing them.
    """

    changes: list[Change]
    only_before: list[Place]
    only_after: list[Place]
    remarks: list[str]


def compare(before: Path, after: Path) -> Comparison:
    """Two files of ``mlcache bench --json`` or of ``python -m benchmarks --json``.

    Raises:
        ConfigurationError: a file cannot be read, is of another kind, or they have nothing in common.
    """
    first, second = _load(before), _load(after)
    runs, others = dict(_runs(first)), dict(_runs(second))
    shared = [place for place in runs if place in others]
    failed = list(_failed(runs, dict(_errors(second))))
    if not shared and not failed:
        raise ConfigurationError(f"{before} and {after} have nothing in common that could be compared")
    p_values = adjusted([mann_whitney(runs[place], others[place]) for place in shared])
    changes = [_change(each, runs[each], others[each], p) for each, p in zip(shared, p_values, strict=True)]
    return Comparison(
        [*failed, *changes],
        [place for place in runs if place not in others],
        [place for place in others if place not in runs],
        _remarks(first, second),
    )


def _load(path: Path) -> Any:
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"{path} is no JSON: {error}") from error
    if not isinstance(document, dict) or not {"scenarios", "cases", "reports"} & document.keys():
        raise ConfigurationError(f"{path} is no run: give what --json of a benchmark has written")
    return document


def _runs(document: dict[str, Any]) -> Iterator[tuple[Place, list[float]]]:
    """All samples of a document, whichever of its kinds it is."""
    if "scenarios" in document:
        run = _checked(document)
        for scenario in run.scenarios:
            for cell in scenario.cells:
                for measure, samples in cell.samples.items():
                    yield (scenario.name, cell.backend, measure), samples
        return
    for report in document.get("reports", [document]):
        for case in report["cases"]:
            for result in case["results"]:
                if result["samples"]:
                    where = f"{report['benchmark']}: {case['name']}"
                    yield (where, result["contender"], "time"), result["samples"]


def _errors(document: dict[str, Any]) -> Iterator[tuple[tuple[str, str], str]]:
    """By scenario and who was measured there, why there are no samples."""
    if "scenarios" in document:
        for scenario in _checked(document).scenarios:
            yield from (((scenario.name, cell.backend), cell.error) for cell in scenario.cells if cell.error)
        return
    for report in document.get("reports", [document]):
        for case in report["cases"]:
            for result in case["results"]:
                if result.get("error"):
                    where = f"{report['benchmark']}: {case['name']}"
                    yield (where, result["contender"]), result["error"]


def _failed(runs: Runs, errors: dict[tuple[str, str], str]) -> Iterator[Change]:
    """What had samples and fails now, each once."""
    for scenario, who in dict.fromkeys(place[:2] for place in runs):
        if (scenario, who) in errors:
            no = math.nan
            yield Change(scenario, who, "", no, no, no, no, no, no, "worse", errors[scenario, who])


def _checked(document: dict[str, Any]) -> Document:
    try:
        return msgspec.convert(document, Document)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"a run of `mlcache bench` is not as it was written: {error}") from error


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


def _remarks(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    said = [
        f"{what}: {first['machine'].get(what)} before, {second['machine'].get(what)} after"
        for what in first.get("machine", {})
        if first["machine"].get(what) != second.get("machine", {}).get(what)
    ]
    if first.get("yardstick") and second.get("yardstick"):
        found, low, high = ratio(second["yardstick"], first["yardstick"])
        said.append(
            f"the machine took {found:.2f} times as long ({low:.2f} to {high:.2f}) for some work of no cache"
        )
    return said
