"""How alike two runs were set up: what differs is told, and what measured something else is not compared."""

from __future__ import annotations

from collections.abc import Iterator

from mlcache.bench.document import Scenario
from mlcache.bench.runs import Run
from mlcache.bench.statistics import ratio
from mlcache.bench.words import seconds, size

NEARLY = 0.1
"""As a share: so much more or fewer calls are still about the same work, cut off a little sooner or later."""
TOLD = 0.03
"""As a share: a lesser difference between what was measured of the work is not worth a word."""


def unlike(before: Run, after: Run) -> dict[str, str]:
    """By the names of scenarios, why they cannot be compared."""
    found: dict[str, str] = {}
    for name, one in before.scenarios.items():
        other = after.scenarios.get(name)
        why = _why_unlike(one, other) if other else ""
        if why:
            found[name] = why
    return found


def remarks(before: Run, after: Run) -> list[str]:
    """What differs between two runs beside what was measured, in words."""
    said = [_differs(what, *values) for what, values in _pairs(before.machine, after.machine)]
    said += [_differs(what, *values) for what, values in _pairs(before.packages, after.packages)]
    if before.pace != after.pace:
        said.append(_differs("pace", before.pace or "unknown", after.pace or "unknown"))
    said += _of_scenarios(before, after)
    if before.yardstick and after.yardstick:
        found, low, high = ratio(after.yardstick, before.yardstick)
        said.append(
            f"the machine took {found:.2f} times as long ({low:.2f} to {high:.2f}) for some work of no cache"
        )
    return said


def _why_unlike(one: Scenario, other: Scenario) -> str:
    if one.work and other.work and one.work != other.work:
        return "other calls were made (see --zipf, --keys, --length, the trace or your calls)"
    pairs = (one.calls, other.calls), (one.keys, other.keys)
    if any(abs(before - after) > NEARLY * before for before, after in pairs):
        return f"{one.calls:,} calls for {one.keys:,} keys before, {other.calls:,} for {other.keys:,} after"
    return ""


def _of_scenarios(before: Run, after: Run) -> Iterator[str]:
    """What differs in scenarios that are compared, each difference once, with where it is."""
    refused = unlike(before, after)
    where: dict[str, list[str]] = {}
    for name, one in before.scenarios.items():
        other = after.scenarios.get(name)
        for said in _differences(one, other) if other and name not in refused else ():
            where.setdefault(said, []).append(name)
    for said, names in where.items():
        yield f"{said}, in {names[0]}" + (f" and {len(names) - 1} more" if names[1:] else "")


def _differences(one: Scenario, other: Scenario) -> Iterator[str]:
    if one.calls != other.calls:
        yield _differs("calls", f"{one.calls:,}", f"{other.calls:,}")
    if one.bound != other.bound:
        yield _differs("memory", size(one.bound), size(other.bound))
    if abs(one.bytes - other.bytes) > TOLD * one.bytes:
        yield _differs("answers", size(one.bytes), size(other.bytes))
    if abs(one.cost - other.cost) > TOLD * one.cost:
        yield _differs("an answer costs", seconds(one.cost), seconds(other.cost))


def _pairs(one: dict[str, str], other: dict[str, str]) -> Iterator[tuple[str, tuple[str, str]]]:
    for what in dict.fromkeys([*one, *other]):
        if one and other and one.get(what) != other.get(what):
            yield what, (one.get(what, "none"), other.get(what, "none"))


def _differs(what: str, before: str, after: str) -> str:
    return f"{what}: {before} before, {after} after"
