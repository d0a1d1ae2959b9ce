"""The report as a page: what fits and why, in words and plots, and all the numbers."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from html import escape

from mlcache.bench import page as pages
from mlcache.bench.advice import few, fits, losses, overall, room, wins
from mlcache.bench.document import Cell, Document, Scenario
from mlcache.bench.measures import MEASURES
from mlcache.bench.plots import Bar, bars, dots, lines
from mlcache.bench.policies import Curves, in_words
from mlcache.bench.statistics import interval
from mlcache.bench.words import NONE, number, seconds, size

UNBROKEN = "\N{NO-BREAK SPACE}"
"""Where a line does not end."""

METHOD = (
    "Each workload is a fixed order of calls. Before a place is measured it is opened anew, and the first "
    "third of the calls fill it. Places take turns, each repetition in the other direction, so that a noisy "
    "machine is noisy for all. Shown are medians over the repetitions; the whiskers are 95 % confidence "
    "intervals by the sign test; of fewer than six repetitions they are the range, and none is said to win. "
    "The cached function waits for what its answer costs, as one does that "
    "computes on another device; with one caller the waits are shortened by one factor for all, and costs "
    "counted in full. After each replay all answers that a place keeps are compared with those that the "
    "function gave, but for answers of which no stable key can be made."
)


def page(document: Document) -> str:
    """The whole file."""
    return pages.page("mlcache bench", parts(document))


def parts(document: Document) -> Iterator[str]:
    """Its headings and sections, to stand in a page."""
    yield "<h1>Which cache fits</h1>"
    yield pages.soft(f"{', '.join(document.machine.values())}; {document.made_at}")
    yield pages.cards(
        f"{pages.soft(fit.need)}<strong>{escape(fit.backend or 'none')}</strong>{pages.paragraph(fit.why)}"
        for fit in fits(document)
    )
    yield pages.soft(room(document))
    yield pages.section("The places", _overview(document))
    yield pages.section(
        "Scenario by scenario",
        pages.soft("Time saved: more is better. A hit: less is better, on a logarithmic scale."),
        pages.cards(_scenario(scenario) for scenario in document.scenarios),
    )
    yield pages.section("Where each does not win", _losses(document))
    if document.policies:
        yield pages.section(
            "Memory policies by size",
            pages.soft(
                "Simulated: the share of the computing time that is saved, by the size of the memory as a "
                "share of all answers' bytes. No policy exceeds the bound."
            ),
            pages.cards(_curves(each) for each in document.policies),
        )
    yield pages.section("All numbers", *(_numbers(scenario) for scenario in document.scenarios), _legend())
    yield pages.section("How it was measured", pages.paragraph(METHOD), _versions(document))


def _overview(document: Document) -> str:
    won, count = wins(document), len(document.scenarios)
    rows: list[list[str]] = []
    for name in won:
        traits, saved = document.traits.get(name), overall(document, name)
        able = [traits.survives, traits.processes, traits.hosts] if traits else [False] * 3
        mean = number("net", statistics.median(saved)) if saved else NONE
        unbeaten = NONE if few(document) else f"{won[name]} of {count}"
        rows.append([name, mean, unbeaten, *("yes" if each else "no" for each in able)])
    head = ["", "time saved on average", "not beaten in", "survives a restart", "for processes", "for hosts"]
    return pages.table(head, rows)


def _scenario(scenario: Scenario) -> str:
    about = (
        f"{scenario.calls:,} calls for {scenario.keys} keys; an answer costs {seconds(scenario.cost)} "
        f"and has {size(scenario.bytes / scenario.keys)} on average; {size(scenario.bound)} of memory"
    ) + (f"; {scenario.remark}" if scenario.remark else "")
    plots = f"{pages.soft('time saved')}{_plot(scenario, 'net')}{pages.soft('a hit')}{_plot(scenario, 'hit')}"
    return pages.heading(scenario.name) + pages.soft(about) + plots


def _plot(scenario: Scenario, measure: str) -> str:
    better = max if MEASURES[measure].more_is_better else min
    values = [value for cell in scenario.cells if (value := cell.median(measure)) is not None]
    best = better(values, default=None)
    rows = [_bar(cell, measure, best) for cell in scenario.cells]
    return bars(rows) if MEASURES[measure].unit == "share" else dots(rows)


def _bar(cell: Cell, measure: str, best: float | None) -> Bar:
    value = cell.median(measure)
    if value is None:
        return Bar(cell.backend, None, 0, 0, cell.error or "there was none", bad=bool(cell.error))
    text = number(measure, value)
    return Bar(cell.backend, value, *interval(cell.samples[measure]), text, best=value == best)


def _curves(curves: Curves) -> str:
    sizes = [f"{fraction:.0%}".replace("%", " %") for fraction in curves.fractions]
    return pages.heading(curves.pattern) + lines(sizes, curves.saved) + pages.soft(in_words(curves))


def _losses(document: Document) -> str:
    lost, count = losses(document), len(document.scenarios)
    if not lost:
        noise = "Too few repetitions to say who is beaten." if few(document) else ""
        return pages.paragraph(noise or "No place was beaten beyond the noise anywhere.")
    return "".join(
        pages.folded(
            f"{name}: in {len(some)} of {count} scenarios",
            pages.table(["scenario", ""], [(loss.scenario, loss.why) for loss in some], words=True),
        )
        for name, some in lost.items()
    )


def _numbers(scenario: Scenario) -> str:
    measured = [name for name in MEASURES if any(name in cell.samples for cell in scenario.cells)]
    rows = [
        [cell.backend, *([cell.error] if cell.error else (_in_full(cell, name) for name in measured))]
        for cell in scenario.cells
    ]
    said = [pages.soft(f"{cell.backend}: {remark}") for cell in scenario.cells for remark in cell.remarks]
    head = ["", *(MEASURES[name].title for name in measured)]
    return pages.folded(scenario.name, pages.table(head, rows), *said)


def _in_full(cell: Cell, measure: str) -> str:
    samples = cell.samples.get(measure)
    if not samples:
        return NONE
    low, high = interval(samples)
    middle = number(measure, cell.median(measure)).replace(" ", UNBROKEN)
    ends = f"[{number(measure, low)}, {number(measure, high)}]".replace(" ", UNBROKEN)
    return middle if low == high else f"{middle} {ends}"


def _legend() -> str:
    rows = [(each.title, each.about) for each in MEASURES.values()]
    return pages.folded("What the numbers are", pages.table(["", ""], rows, words=True))


def _versions(document: Document) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in document.packages.items())
    return pages.soft(packages)
