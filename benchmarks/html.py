"""The reports as one page, with plots; a run of ``mlcache bench`` may come first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.harness import Case, Result
from benchmarks.report import Report, duration
from mlcache.bench import html
from mlcache.bench import page as pages
from mlcache.bench.document import Document
from mlcache.bench.machine import describe
from mlcache.bench.plots import Bar, dots
from mlcache.bench.statistics import interval


def page(reports: Sequence[Report], run: Document | None = None) -> str:
    """The whole file.

    Args:
        reports: what was measured.
        run: what ``mlcache bench`` measured, to stand before it.
    """
    return pages.page("mlcache and its peers", _parts(reports, run))


def _parts(reports: Sequence[Report], run: Document | None) -> Iterator[str]:
    if run is not None:
        yield from html.parts(run)
    yield "<h1>Beside the peers</h1>"
    yield pages.soft(", ".join(describe().values()))
    yield pages.paragraph(
        "One call of each, by turns in one run: medians with 95 % confidence intervals, of fewer than six "
        "samples the range, on a logarithmic scale; less is better. What a peer raises, or answers wrongly, "
        "stands in place of its time."
    )
    for report in reports:
        cards = pages.cards(_case(case) for case in report.cases)
        yield pages.section(report.name, pages.paragraph(report.about), cards, _verdicts(report))


def _case(case: Case) -> str:
    fastest = min((result.median for result in case.results if result.samples), default=None)
    remarks = {result.remark for result in case.results if result.samples}
    tells = len(remarks) > 1  # what is said of all alike tells nothing
    return pages.heading(case.name) + dots([_bar(result, fastest, tells=tells) for result in case.results])


def _bar(result: Result, fastest: float | None, *, tells: bool) -> Bar:
    if not result.samples:
        return Bar(result.contender, None, 0, 0, result.error, bad=True)
    text = duration(result.median)
    return Bar(
        result.contender,
        result.median,
        *interval(result.samples),
        text,
        best=result.median == fastest,
        remark=result.remark if tells else "",
    )


def _verdicts(report: Report) -> str:
    rows = [(verdict.word, verdict.text, verdict.measured) for verdict in report.verdicts()]
    return pages.folded("Targets", pages.table(["", "target", "measured"], rows, words=True)) if rows else ""
