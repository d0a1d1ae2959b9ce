"""``python -m benchmarks.markdown FILE [NAME]``: a run's JSON as a table for a README, one column a case."""

from __future__ import annotations

import json
import statistics
import sys
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


if __name__ == "__main__":
    print(table(chosen(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), *sys.argv[2:3])))
