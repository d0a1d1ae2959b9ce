"""The targets: read from ``targets.toml``, the one place where they stand."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Case
from benchmarks.report import AddsAtMost, AtMost, NotHeld, Says, Target, Within

FILE = Path(__file__).with_name("targets.toml")


def targets(benchmark: str, cases: Sequence[Case], file: Path = FILE) -> list[Target]:
    """The targets of a benchmark, to be held against what was measured.

    Args:
        benchmark: its name.
        cases: what was measured; targets of other cases, and of who took no part, say so.
        file: where they stand.

    Raises:
        ValueError: an entry is of no known kind.
    """
    tables = tomllib.loads(file.read_text(encoding="utf-8")).get(benchmark, [])
    return [target for table in tables for target in _targets(table, cases)]


def _targets(table: dict[str, Any], cases: Sequence[Case]) -> Iterator[Target]:
    """The targets that one entry stands for."""
    took_part = {(case.name, result.contender) for case in cases for result in case.results}
    measured = {case.name for case in cases}
    for case in table.get("cases") or [table["case"]]:
        for contender in table.get("contenders") or [table["contender"]]:
            target = _target(case, contender, table)
            named = [contender, *([table["of"]] if "of" in table else [])]
            absent = [name for name in named if (case, name) not in took_part]
            if case not in measured:
                yield NotHeld(target, "this case was not measured")
            elif absent:
                yield NotHeld(target, f"{absent[0]} took no part")
            else:
                yield target


def _target(case: str, contender: str, table: dict[str, Any]) -> Target:
    if "at_most" in table:
        return AtMost(case, contender, table["at_most"], table["of"])
    if "says" in table:
        return Says(case, contender, table["says"])
    if "within_seconds" in table:
        return Within(case, contender, table["within_seconds"])
    if "adds_at_most_seconds" in table:
        return AddsAtMost(case, contender, table["adds_at_most_seconds"], table["of"])
    raise ValueError(f"{FILE.name}: {table} is of no known kind: see the head of the file")
