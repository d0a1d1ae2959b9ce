"""Every benchmark runs, at its smallest size, from the command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import NAMES, main
from mlcache.bench.statistics import tells

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", NAMES)
def test_a_quick_run_measures_mlcache_and_writes_json(name: str, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    command = [sys.executable, "-m", "benchmarks", name, "--quick", "--json", str(file)]
    # In a process of its own, as some peers leave things behind until the end of theirs.
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert made.stdout.startswith(name)
    document = json.loads(file.read_text(encoding="utf-8"))
    ours = [
        result
        for case in document["cases"]
        for result in case["results"]
        if result["contender"].startswith("mlcache")
    ]
    assert ours
    assert [result["error"] for result in ours] == [""] * len(ours)
    assert all(result["samples"] for result in ours)
    assert document["targets"] == []
    assert not {"PASS", "MISS"} & set(made.stdout.split()), "one sample is no verdict"


def test_the_list_tells_what_each_measures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(NAMES)
    assert all(len(line.split()) > 3 for line in lines)


def test_the_report_of_make_bench_has_the_samples_to_say_who_wins() -> None:
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    command = next(line for line in lines if "mlcache bench" in line)
    repetitions = re.search(r"--repetitions (\d+)", command)
    assert repetitions
    assert tells(int(repetitions[1]))


@pytest.mark.parametrize("arguments", [[], ["nonsense"]])
def test_a_wrong_command_line_says_what_is_possible(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert "usage: python -m benchmarks" in capsys.readouterr().err
