"""The report for a terminal: tables, the advice in words, and a bar that says how far a run is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlcache.bench.advice import Loss, fits, losses, room
from mlcache.bench.document import Cell, Document, Scenario
from mlcache.bench.measures import MEASURES
from mlcache.bench.policies import Curves, in_words
from mlcache.bench.statistics import interval
from mlcache.bench.words import number, seconds, size

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from mlcache.bench.runner import Progress

SHOWN = ("net", "hit", "hit_p99", "miss", "hit_rate", "rate")


def show(document: Document, console: Console) -> None:
    """Print it all."""
    for part in _parts(document):
        console.print(part)


@contextmanager
def bar(total: int, console: Console) -> Iterator[Progress]:
    """A bar of so many steps; each call of what it gives is one."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda what: progress.update(task, advance=1, description=what)


def _parts(document: Document) -> Iterator[RenderableType]:
    yield ", ".join(document.machine.values())
    for scenario in document.scenarios:
        yield _table(scenario)
    yield _advice(document)
    yield f"  {room(document)}\n"
    lost = losses(document)
    if lost:
        yield _losses(lost)
    if document.policies:
        yield _policies(document.policies)


def _table(scenario: Scenario) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    about = (
        f"{scenario.calls:,} calls for {scenario.keys} keys, {seconds(scenario.cost)} each to compute, "
        f"{size(scenario.bytes)} of answers, {size(scenario.bound)} of memory"
    ) + (f"; {scenario.remark}" if scenario.remark else "")
    shown = [*SHOWN, *(["runs"] if scenario.workload == "stampede" else [])]
    table = Table("", *(MEASURES[name].title for name in shown), box=SIMPLE_HEAD, title_justify="left")
    table.title = f"[bold]{escape(scenario.name)}[/]\n[dim]{about}[/]"
    for column in table.columns[1:]:
        column.justify = "right"
    for cell in scenario.cells:
        table.add_row(escape(cell.backend), *([escape(cell.error)] if cell.error else _row(cell, shown)))
    remarks = [f"{cell.backend}: {said}" for cell in scenario.cells for said in cell.remarks]
    table.caption = escape("\n".join(remarks))
    table.caption_justify = "left"
    return table


def _row(cell: Cell, shown: list[str]) -> list[str]:
    return [number(name, cell.median(name)) + (_interval(cell) if name == "net" else "") for name in shown]


def _interval(cell: Cell) -> str:
    """The confidence interval of the time saved, to stand below it."""
    samples = cell.samples.get("net", [])
    low, high = interval(samples) if samples else (0.0, 0.0)
    return f"\n{100 * low:.0f} to {100 * high:.0f}" if len(samples) > 1 else ""


def _advice(document: Document) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table("need", "fits", "why", box=SIMPLE_HEAD, title="[bold]Which fits[/]", title_justify="left")
    for fit in fits(document):
        table.add_row(fit.need, f"[bold]{escape(fit.backend or 'none')}[/]", escape(fit.why))
    return table


def _policies(policies: list[Curves]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table("", "", box=SIMPLE_HEAD, show_header=False, title_justify="left")
    table.title = "[bold]Memory policies by size, simulated[/]"
    for curves in policies:
        table.add_row(curves.pattern, in_words(curves))
    return table


def _losses(lost: dict[str, list[Loss]]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table("", "scenario", "", box=SIMPLE_HEAD, title_justify="left")
    table.title = "[bold]Where each does not win[/]"
    for backend, some in lost.items():
        for position, loss in enumerate(some):
            table.add_row("" if position else escape(backend), escape(loss.scenario), escape(loss.why))
        table.add_section()
    return table
