"""Advice: which place fits which need and why, and where each place does not win."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import msgspec

from mlcache.bench.document import Cell, Document, Scenario
from mlcache.bench.places import Traits
from mlcache.bench.statistics import paired_difference, tells
from mlcache.bench.words import listed, named, number


class Fit(msgspec.Struct, frozen=True):
    """A need, and the place that fits it; None where none of the measured does."""

    need: str
    backend: str | None
    why: str


class Loss(msgspec.Struct, frozen=True):
    """A scenario in which a place is beaten, or cannot take part."""

    scenario: str
    why: str


MATTERS = 0.005
"""A share of time by which one place has to be ahead of another, the noise deducted, to be called better."""
HARDLY = 0.01
"""A hit rate below which it is hits that are missing, whatever they would save."""

NEEDS: tuple[tuple[str, Callable[[Traits], bool], str], ...] = (
    ("In memory alone", lambda traits: not traits.survives, "add lru or gdsf with --backend"),
    ("One process, which may start cold", lambda _: True, ""),
    ("Answers survive a restart", lambda traits: traits.survives, "add disk or redis://HOST with --backend"),
    ("Processes share answers", lambda traits: traits.processes, "add disk or redis://HOST with --backend"),
    ("Hosts share answers", lambda traits: traits.hosts, "add redis://HOST with --backend"),
)


def fits(document: Document) -> list[Fit]:
    """For each need the place that saves the most time, and why."""
    ranked = _ranked(document)
    found: list[Fit] = []
    for need, has, missing in NEEDS:
        able = [name for name in ranked if has(document.traits[name])]
        if able:
            found.append(Fit(need, able[0], _why(document, able)))
        else:
            found.append(Fit(need, None, f"None of those measured does that; {missing or 'all failed'}."))
    return found


def room(document: Document) -> str:
    """How much of the answers a memory has room for, in words."""
    first = document.scenarios[0]
    share = min(first.bound / max(first.kept or first.bytes, 1), 1.0)
    return (
        f"A memory that says nothing of its own has room for {share:.0%} of the answers' bytes, "
        "a folder for all: give your own bound with the backend, or --memory."
    ).replace("%", " %")


def losses(document: Document) -> dict[str, list[Loss]]:
    """By place, the scenarios in which another saves more beyond the noise, and those where it fails."""
    found: dict[str, list[Loss]] = {}
    for scenario in document.scenarios:
        best = _best(scenario)
        for cell in scenario.cells:
            why = _beaten(cell, best)
            if why:
                found.setdefault(cell.backend, []).append(Loss(scenario.name, why))
    return found


def wins(document: Document) -> dict[str, int]:
    """By place, in how many scenarios no other saves more beyond the noise."""
    lost = {name: {loss.scenario for loss in some} for name, some in losses(document).items()}
    names = [cell.backend for cell in document.scenarios[0].cells] if document.scenarios else []
    scenarios = [scenario.name for scenario in document.scenarios]
    return {name: sum(each not in lost.get(name, ()) for each in scenarios) for name in names}


def few(document: Document) -> bool:
    """Whether there are too few repetitions to say of anybody that it wins or is beaten."""
    cells = [cell for scenario in document.scenarios for cell in scenario.cells]
    return not tells(max((len(cell.samples.get("net", [])) for cell in cells), default=0))


def overall(document: Document, backend: str) -> list[float]:
    """The mean share saved over all scenarios, a number a repetition; none where a scenario failed."""
    cells = [scenario.cell(backend) for scenario in document.scenarios]
    samples = [cell.samples.get("net", []) if cell else [] for cell in cells]
    return [statistics.fmean(each) for each in zip(*samples, strict=False)] if all(samples) else []


def _ranked(document: Document) -> list[str]:
    """The places that took part everywhere, the one that saves the most first."""
    saved = {name: overall(document, name) for name in document.traits}
    whole = [name for name, samples in saved.items() if samples]
    return sorted(whole, key=lambda name: -statistics.median(saved[name]))


def _why(document: Document, able: list[str]) -> str:
    """Why the first of them, in words; the others are those that were weighed against it."""
    first, saved = able[0], overall(document, able[0])
    count = len(document.scenarios)
    over = f"on average over {count} scenarios" if count > 1 else f"in {document.scenarios[0].name}"
    said = [f"It saves {number('net', statistics.median(saved))} of the computing time {over}"]
    said.append(f"a hit takes {_typical_hit(document, first)}")
    if statistics.median(saved) <= 0:
        said = [f"It saves nothing {over}: {_why_nothing(document, first)}"]
    text = ", and ".join(said) + "."
    if not tells(len(saved)):
        others = listed([named(name) for name in able[1:]])
        return text + (f" Too few samples to tell it from {others}." if others else "")
    equal = [name for name in able[1:] if not _ahead(saved, overall(document, name))]
    behind = [name for name in able[1:] if name not in equal]
    if equal:
        text += f" As good within the noise: {listed([named(name) for name in equal])}."
    if behind:
        points = [f"{named(name)} ({_points(document, first, name)})" for name in behind]
        text += f" Behind: {listed(points)}."
    return text


def _ahead(one: list[float], other: list[float]) -> bool:
    """Whether the one saves more beyond the noise; no matter how much more, few samples do not say so."""
    return tells(min(len(one), len(other))) and paired_difference(one, other)[1] > MATTERS


def _why_nothing(document: Document, backend: str) -> str:
    cells = [scenario.cell(backend) for scenario in document.scenarios]
    rates = [rate for cell in cells if cell and (rate := cell.median("hit_rate")) is not None]
    if rates and statistics.fmean(rates) < HARDLY:
        return "hardly a call was found: too little memory, or no call is repeated"
    return "computing is as cheap as looking it up, so do without a cache"


def _typical_hit(document: Document, backend: str) -> str:
    cells = [scenario.cell(backend) for scenario in document.scenarios if scenario.callers == "1 caller"]
    cells = cells or [scenario.cell(backend) for scenario in document.scenarios]
    hits = [hit for cell in cells if cell and (hit := cell.median("hit")) is not None]
    return number("hit", statistics.median(hits)) if hits else "an unknown time, as there were none"


def _points(document: Document, one: str, other: str) -> str:
    points = 100 * paired_difference(overall(document, one), overall(document, other))[0]
    return f"{points:.1f} points less"


def _best(scenario: Scenario) -> Cell | None:
    able = [cell for cell in scenario.cells if cell.samples.get("net")]
    return max(able, key=lambda cell: statistics.median(cell.samples["net"]), default=None)


def _beaten(cell: Cell, best: Cell | None) -> str:
    """Why a cell does not win, or nothing if it does."""
    if cell.error:
        return cell.error
    if best is None or cell is best:
        return ""
    mine, its = cell.samples["net"], best.samples["net"]
    if not _ahead(its, mine):
        return ""
    shares = number("net", statistics.median(mine)), number("net", statistics.median(its))
    return f"saves {shares[0]}, where {named(best.backend)} saves {shares[1]}"
