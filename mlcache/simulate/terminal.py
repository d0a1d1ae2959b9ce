"""A study in the terminal: a table for each measure, the words, and a bar that says how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlcache.simulate.study import Study
from mlcache.simulate.words import AMOUNTS, sentences, share, size
from mlcache.units import show_size

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

TITLES = {
    "share_saved": "Computing time saved",
    "hit_rate": "Hit rate: calls answered",
    "byte_hit_rate": "Byte hit rate: bytes answered",
}


@contextmanager
def bar(total: int, console: Console) -> Iterator[Callable[[], object]]:
    """A bar of so many replays; each call of what it gives is one."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = BarColumn(), MofNCompleteColumn(), "replays", TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)


def show(study: Study, console: Console) -> None:
    """Print it all."""
    lasting = "for ever" if study.ttl is None else f"for {study.ttl:g} s"
    console.print(
        f"{study.calls:,} calls for {study.keys:,} keys, whose values take {show_size(study.working_set)}; "
        f"without a cache, all calls take {study.seconds:,.1f} s to compute; answers serve {lasting}\n",
        highlight=False,
    )
    for measure in AMOUNTS:
        console.print(_table(study, measure))
    for sentence in sentences(study):
        console.print(sentence, highlight=False)


def _table(study: Study, measure: str) -> Table:
    """Sizes downwards, policies across; the best of the stores stands out."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=TITLES[measure], title_justify="left", box=SIMPLE_HEAD)
    table.add_column("size of the store")
    for policy in dict.fromkeys(point.policy for point in study.points):
        table.add_column(policy, justify="right")
    for fraction in dict.fromkeys(point.fraction for point in study.points):
        best = study.best(fraction, measure)
        points = study.at(fraction)
        cells = (
            f"[bold]{share(getattr(point.score, measure))}[/]"
            if point is best
            else share(getattr(point.score, measure))
            for point in points
        )
        table.add_row(size(points[0]), *cells)
    return table
