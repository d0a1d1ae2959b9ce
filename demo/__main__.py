"""Runs the model with and without the cache, prints what each took, and checks every answer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from tempfile import TemporaryDirectory

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from demo import model, steps


def main() -> int:
    """Run it all; the exit status is 0 when every cached answer was the uncached one."""
    console, proof = Console(), steps.Proof()
    console.print("Training a classifier of handwritten digits: 300 trees ...")
    model.classifier()
    with TemporaryDirectory(prefix="mlcache-demo-") as folder:
        console.print(_table(_chapters(folder, proof)))
    if proof.wrong:
        console.print(f"[bold red]WRONG[/]: not the model's own answer in: {'; '.join(proof.wrong)}")
        return 1
    console.print(f"[bold green]RIGHT[/]: {proof.compared} cached answers, each equal to the uncached one")
    return 0


def _chapters(folder: str, proof: steps.Proof) -> Iterator[Iterator[steps.Step]]:
    yield steps.arrays(folder, proof)
    yield steps.frames(proof)
    yield steps.threads(proof)
    yield steps.tasks(proof)
    yield steps.traffic(proof)


def _table(chapters: Iterator[Iterator[steps.Step]]) -> Table:
    table = Table("", "time", "model ran", "", title="The classifier behind @ml_cache", box=SIMPLE_HEAD)
    for column in table.columns[1:3]:
        column.justify = "right"
    for chapter in chapters:
        for step in chapter:
            table.add_row(step.what, f"{step.seconds * 1e3:,.2f} ms", f"{step.runs} ×", step.note)
        table.add_section()
    return table


if __name__ == "__main__":
    sys.exit(main())
