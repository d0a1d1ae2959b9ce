"""``mlcache simulate`` on a recorded trace and on known patterns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from mlcache import ml_cache
from mlcache.cli.app import app
from mlcache.errors import ConfigurationError
from mlcache.trace.format import RECORD, write_trace
from mlcache.trace.recorder import Recorder


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """What was recorded of a function that keeps all its values but those of zero."""

    @ml_cache(backend="lru?max_bytes=1MiB", when=bool)
    def same(number: int) -> int:
        return number

    with Recorder(tmp_path / "calls.trace") as recorder:
        for number in [0, 1, 2, 3] * 5:
            same(number)
    assert recorder.path is not None
    return recorder.path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["simulate", "--jobs", "1", *map(str, arguments)], env={"COLUMNS": "200"})


def test_a_recorded_trace_is_replayed(trace: Path, tmp_path: Path) -> None:
    done = run(trace, "--size", "50%", "--size", "1", "--json", tmp_path / "out.json")
    assert done.exit_code == 0, done.output
    assert "15 calls for 3 keys" in done.output
    assert "5 calls are left out: most values of their keys are not kept" in done.output
    figures: dict[str, Any] = json.loads((tmp_path / "out.json").read_bytes())
    assert [point["fraction"] for point in figures["points"]] == [0.5] * 6 + [1.0] * 6
    assert figures["points"][6]["policy"] == "lru"
    assert figures["points"][6]["score"]["hit_rate"] == 12 / 15


def test_several_traces_are_of_one_service(trace: Path) -> None:
    assert "30 calls for 3 keys" in run(trace, trace, "--size", "50%").output


def test_what_a_sample_says_is_of_the_whole(tmp_path: Path) -> None:
    digests = np.random.default_rng(0).integers(2**64, size=2_000, dtype=np.uint64)
    write_trace(tmp_path / "t", np.array([(key, 1.0, 0.5, 100.0) for key in digests], dtype=RECORD))
    figures: list[dict[str, Any]] = []
    for sample in (1, 0.25):
        file = tmp_path / f"{sample}.json"
        done = run(tmp_path / "t", "-s", "50%", "-p", "bound", "--sample", sample, "--json", file)
        figures.append(json.loads(file.read_bytes()))
    assert done.output.startswith("a sample of 25 % of the keys is replayed")
    whole, part = figures
    for what in ("calls", "keys", "working_set", "seconds"):
        assert part[what] == pytest.approx(whole[what], rel=0.1)
    assert part["points"][0]["max_bytes"] == pytest.approx(whole["points"][0]["max_bytes"], rel=0.1)
    assert (whole["sample"], part["sample"]) == (1.0, 0.25)


def test_a_known_pattern_is_replayed_with_the_policies_and_the_lifetime_asked_for() -> None:
    done = run("-w", "scan", "-s", "10%", "-p", "lru", "-p", "bound", "--ttl", "1h")
    assert done.exit_code == 0, done.output
    assert "300,000 calls for 20,000 keys" in done.output
    assert "serve for 3600 s" in done.output
    assert "gdsf" not in done.output


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "give the files of a trace"),
        (["/proc/self/mem"], "/proc/self/mem cannot be read: Input/output error"),
        (["missing.trace"], "there is no trace missing.trace"),
        (["-w", "scan", "-s", "much"], "--size is 'much'"),
        (["-w", "scan", "-s", "150%"], "size 1.5 is no share"),
        (["--sample", "0.1", "-w", "scan"], "--sample is for traces"),
        (["some.trace", "--zipf", "0.7"], "--zipf is for --workload"),
        (["some.trace", "--seed", "1"], "--seed is for --workload"),
        (["some.trace", "-w", "scan"], "either traces or --workload"),
        (["-w", "scam"], "there is no workload 'scam'"),
        (["-w", "scan", "-p", "mru"], "there is no policy 'mru'"),
        (["-w", "scan", "--ttl", "soon"], "--ttl is 'soon'"),
        (["-w", "scan", "--json", "missing/out.json"], "--json missing/out.json cannot be written: No such"),
        (["-w", "scan", "--json", "."], "--json . cannot be written: Is a directory"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: list[str], part: str) -> None:
    done = run(*arguments)
    assert isinstance(done.exception, ConfigurationError)
    assert part in str(done.exception)


def test_no_jobs_are_refused() -> None:
    done = CliRunner().invoke(app, ["simulate", "-w", "scan", "--jobs", "0"])
    assert done.exit_code == 2
    assert "--jobs" in done.output


def test_what_is_in_the_json_file_is_left_there_until_there_is_more(tmp_path: Path) -> None:
    for name, before in (("old", b"precious"), ("new", None)):
        file = tmp_path / name
        if before is not None:
            file.write_bytes(before)
        assert run("-w", "scan", "-p", "mru", "--json", file).exception is not None
        assert (file.read_bytes() if file.exists() else None) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file that is always full")
def test_a_disk_that_is_full_at_the_end_is_told(trace: Path) -> None:
    done = run(trace, "-s", "50%", "-p", "lru", "--json", "/dev/full")
    assert isinstance(done.exception, ConfigurationError)
    assert "--json /dev/full cannot be written: No space left" in str(done.exception)
    assert "15 calls for 3 keys" in done.output
