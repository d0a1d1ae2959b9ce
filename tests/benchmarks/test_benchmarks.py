"""Every benchmark runs, at its smallest size, from the command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import markdown
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


def test_the_table_of_the_readme_is_what_its_command_makes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All but the times, and of the cases the two that a quick run has: who takes part, and who fails how."""
    file = tmp_path / "hits.json"
    command = [sys.executable, "-m", "benchmarks", "hits", "--quick", "--json", str(file)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    markdown.main([str(file)])
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    there = text[text.index("|  | int |") :].partition("\n\n")[0]
    made = [row for row in _cells(there) if row[1]]  # the others take no part in these two
    assert made == _cells(capsys.readouterr().out.strip())
    assert "python -m benchmarks hits --json hits.json && python -m benchmarks.markdown hits.json" in text


def _cells(table: str) -> list[list[str]]:
    """The first three cells of each row, without the numbers."""
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in table.splitlines()]
    return [[row[0], *(re.sub(r"^[\d.]+ (ns|µs|ms|s)$", "time", cell) for cell in row[1:])] for row in rows]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"reports": []}', '{"benchmark": "keys"}'])
def test_a_file_without_a_run_is_told_by_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit):
        markdown.main([str(tmp_path / "run.json")])
    assert "run.json is no run of 'hits'" in capsys.readouterr().err


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
