"""``python -m benchmarks.markdown FILE [NAME]``: a run's JSON as a table for a README, one column a case."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import duration


def table(document: dict[str, Any]) -> str:
    """The medians of one run, and how each contender failed that has none."""
    cases = document["cases"]
    names = dict.fromkeys(result["contender"] for case in cases for result in case["results"])
    head = ["", *(case["name"] for case in cases)]
    rows = [[name, *(_cell(case, name) for case in cases)] for name in names]
    lines = [head, ["---", *["---:"] * len(cases)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(case: dict[str, Any], name: str) -> str:
    for result in case["results"]:
        if result["contender"] == name:
            samples = result["samples"]
            return duration(statistics.median(samples)) if samples else result["error"].partition(":")[0]
    return ""


def chosen(document: dict[str, Any], name: str = "hits") -> dict[str, Any]:
    """The run of one benchmark, which the document may hold beside others."""
    for report in document.get("reports", [document]):
        if report["benchmark"] == name or "reports" not in document:
            return dict(report)
    raise ValueError(f"there is no run of {name!r} in this file")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table that the command line asks for."""
    parser = argparse.ArgumentParser("python -m benchmarks.markdown", description="A run as a table.")
    parser.add_argument("file", type=Path, metavar="FILE", help="what --json of the benchmarks wrote")
    parser.add_argument("name", nargs="?", default="hits", metavar="NAME", help="the benchmark: hits")
    options = parser.parse_args(arguments)
    try:
        print(table(chosen(json.loads(options.file.read_bytes()), options.name)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        parser.error(f"{options.file} is no run of {options.name!r}: {error}")


if __name__ == "__main__":
    main()
