"""``mlcache compare``: what changed between two runs, beyond the noise."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from mlcache.bench.compare import Change, Comparison


def compare(
    before: Annotated[Path, typer.Argument(metavar="A.json", help="What --json wrote first.")],
    after: Annotated[Path, typer.Argument(metavar="B.json", help="What --json wrote later.")],
    *,
    everything: Annotated[bool, typer.Option("--all", help="Show what did not change, too.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 where something got worse, or that cannot be told.")
    ] = False,
) -> None:
    """Tell what changed between two runs of a benchmark, with ratios and how sure they are."""
    from rich.console import Console

    from mlcache.bench.compare import compare as compare_runs

    found = compare_runs(before, after)
    _show(found, Console(), everything=everything)
    unsure = any(change.verdict in ("worse", "too few samples") for change in found.changes)
    if strict and (unsure or found.refused):
        raise typer.Exit(1)


def _show(found: Comparison, console: Console, *, everything: bool) -> None:
    for remark in found.remarks:
        console.print(remark, markup=False)
    for scenario, why in found.refused.items():
        console.print(f"not compared: {scenario}: {why}", markup=False)
    shown = [change for change in found.changes if everything or change.verdict != "same"]
    if shown:
        console.print(_table(shown))
    counts = Counter(change.verdict for change in found.changes)
    console.print(
        f"{counts['better']} better, {counts['worse']} worse, {counts['same']} the same within the noise, "
        f"{counts['too few samples']} with too few samples to tell; "
        f"only before: {len(found.only_before)}, only after: {len(found.only_after)}"
    )


def _table(changes: list[Change]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    head = ("scenario", "", "measure", "before", "after", "ratio", "p", "")
    table = Table(*head, box=SIMPLE_HEAD)
    colours = {"better": "green", "worse": "red", "same": "dim", "too few samples": "yellow"}
    for change in changes:
        colour = colours[change.verdict]
        table.add_row(*map(escape, _row(change)), f"[{colour}]{change.verdict}[/]")
    return table


def _row(change: Change) -> list[str]:
    from mlcache.bench.measures import MEASURES
    from mlcache.bench.words import number, seconds

    if change.error:
        return [change.scenario, change.who, change.error, *[""] * 4]
    known = MEASURES.get(change.measure)
    values = [
        number(change.measure, value) if known else seconds(value) for value in (change.before, change.after)
    ]
    of_shares = known is not None and known.unit == "share"
    times = "" if of_shares or math.isnan(change.ratio) else _times(change)
    title = known.title if known else change.measure
    return [change.scenario, change.who, title, *values, times, f"{change.p:.3f}"]


def _times(change: Change) -> str:
    return f"{change.ratio:.2f} ({change.low:.2f} to {change.high:.2f})"
