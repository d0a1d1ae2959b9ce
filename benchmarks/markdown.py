"""``python -m benchmarks.markdown FILE``: the JSON of a run as a table for a README, one column a case."""

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


if __name__ == "__main__":
    print(table(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
