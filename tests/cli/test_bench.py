"""``mlcache bench`` and ``mlcache compare`` at the command line, at the smallest size."""

from __future__ import annotations

import sys
from multiprocessing import resource_tracker
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from mlcache.bench import document, policies
from mlcache.cli.app import app
from mlcache.errors import ConfigurationError, TraceError

resource_tracker.ensure_running()  # Python starts it once, and keeps it
TWICE = ["--repetitions", "2"]
SMALL = ["--keys", "6", "--length", "18", *TWICE]


def run(*arguments: str) -> str:
    done = CliRunner(env={"COLUMNS": "160"}).invoke(app, list(arguments))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_service.py").write_text("def f(a, b=2):\n    return [a * b] * 10\n", encoding="utf-8")
    calls = tmp_path / "calls.jsonl"
    calls.write_text("[1]\n[1, 2]\n[3]\n" * 5, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return calls


@pytest.fixture
def _small_traffic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Policies are simulated on every known pattern, with a tenth of the calls."""
    small = {
        name: (pattern, msgspec.structs.replace(shape, keys=200, calls=3000))
        for name, (pattern, shape) in policies.PATTERNS.items()
    }
    monkeypatch.setattr(policies, "PATTERNS", small)


@pytest.mark.usefixtures("_small_traffic")
def test_everything_is_measured_where_nothing_is_said(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    output = run("bench", *SMALL, "-b", "lru", "-b", "disk", "--json", str(file))
    found = document.read(file)
    assert [curves.pattern for curves in found.policies] == list(policies.PATTERNS)
    assert {each.workload for each in found.scenarios} == {
        *("uniform", "zipf", "shifting", "scan", "bursts", "mixed", "stampede")
    }
    assert {each.payload for each in found.scenarios} == {"text", "image", "embedding", "frame", "batch"}
    assert {each.callers.partition(" ")[2] for each in found.scenarios} == {
        *("caller", "threads", "tasks", "processes")
    }
    assert [cell.error for each in found.scenarios for cell in each.cells if cell.error] == []
    assert all(len(cell.samples["net"]) == 2 for each in found.scenarios for cell in each.cells)
    assert "Which fits" in output


def test_a_chosen_scenario_ends_in_a_report(tmp_path: Path) -> None:
    html = tmp_path / "report.html"
    chosen = ("-w", "scan", "-p", "text", "--callers", "threads:2", "-b", "gdsf")
    run("bench", *SMALL, *chosen, "--html", str(html))
    assert "scan, text, 2 threads" in html.read_text(encoding="utf-8")


def test_an_own_function_is_measured_with_its_calls(own: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    crowds = ("--callers", "1", "--callers", "tasks:2", "--callers", "processes:2")
    run("bench", "my_service:f", "--calls", str(own), *crowds, "-b", "disk", *TWICE, "--json", str(file))
    found = document.read(file)
    assert [(each.workload, each.payload, each.keys) for each in found.scenarios] == [("calls", "f", 2)] * 3
    assert [each.cells[0].error for each in found.scenarios] == ["", "", ""]
    assert found.scenarios[0].cells[0].median("hit_rate") == 1.0


def test_a_recorded_trace_is_replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    from mlcache.trace import reading
    from mlcache.trace.workload import Workload

    trace = Workload(
        keys=np.arange(12) % 4, times=np.arange(12.0), costs=np.full(4, 0.5), sizes=np.full(4, 300)
    )
    recorded = reading.Recorded(workload=trace, unknown=0, not_kept=0, sample=1.0)
    monkeypatch.setattr(reading, "load", lambda *_, **__: recorded)
    (tmp_path / "some.trace").touch()
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "run.json"
    run("bench", "--trace", "some.trace", "-b", "lru", "--memory", "9", *TWICE, "--json", str(file))
    (scenario,) = document.read(file).scenarios
    assert (scenario.workload, scenario.keys, scenario.calls, scenario.cost) == ("trace", 4, 8, 0.5)
    assert scenario.cells[0].median("hit_rate") == 1.0


def test_small_answers_fit_the_memory_that_is_given_by_default(own: Path, tmp_path: Path) -> None:
    (tmp_path / "my_service.py").write_text("def small(a, b=2):\n    return a\n", encoding="utf-8")
    sys.modules.pop("my_service", None)
    file = tmp_path / "run.json"
    run("bench", "my_service:small", "--calls", str(own), "-b", "lru", *TWICE, "--json", str(file))
    (scenario,) = document.read(file).scenarios
    assert scenario.cells[0].median("hit_rate") == 1.0


def test_the_waits_of_many_callers_are_not_shortened(own: Path, tmp_path: Path) -> None:
    (tmp_path / "my_service.py").write_text(
        "import time\ndef slow(a, b=2):\n    time.sleep(0.02)\n    return a\n", encoding="utf-8"
    )
    sys.modules.pop("my_service", None)
    file = tmp_path / "run.json"
    crowds = ("--callers", "1", "--callers", "threads:2")
    run("bench", "my_service:slow", "--calls", str(own), *crowds, "-b", "lru", *TWICE, "--json", str(file))
    one, many = document.read(file).scenarios
    assert one.scale < 0.1
    assert many.scale == 1.0


def test_a_backend_that_cannot_be_opened_is_told_beside_the_others(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    run("bench", *SMALL, "-w", "zipf", "-b", "lru", "-b", "redis://127.0.0.1:1", "--json", str(file))
    ours, gone = document.read(file).scenarios[0].cells
    assert ours.samples
    assert not gone.samples
    assert "redis" in gone.error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-w", "nonsense"], "there is no workload 'nonsense'"),
        (["-w", "zipf", "-p", "nonsense"], "there is no payload 'nonsense'"),
        (["--callers", "nonsense"], "callers are 'nonsense'"),
        (["-b", "nonsense"], "there is no backend 'nonsense'"),
        (["os.path:join"], "needs both"),
        (["--json", "/no/such/folder/run.json"], "run.json cannot be written: No such"),
        (["--json", "/dev"], "--json /dev cannot be written: Is a directory"),
        (["--html", "/proc/report.html"], "--html /proc/report.html cannot be written"),
        (["--json", "/dev/null", "--html", "/dev/../dev/null"], "--json and --html name the same file"),
        (["builtins:max", "--calls", "calls"], "its parameters cannot be known"),
        (["os.path:join", "--calls", "/proc/self/mem"], "/proc/self/mem cannot be read"),
        (["os.path:join", "--calls", "calls", "-w", "zipf"], "--workload has no say in measuring your own"),
        (["os.path:join", "--calls", "calls", "--length", "9"], "--length has no say in measuring your own"),
        (["os.path:join", "--calls", "calls", "--trace", "x"], "--trace is not for your own function"),
        (["--trace", "x", "-w", "zipf"], "--workload has no say in measuring a trace"),
        (["--trace", "x", "--keys", "9"], "--keys has no say in measuring a trace"),
        (["--trace", "x", "--trace", "x"], "--trace x is given twice"),
        (["--seconds", "9"], "--seconds has no say in measuring known workloads"),
        (["-b", "lru", "-b", "disk", "-b", "lru"], "--backend lru is given twice"),
        (["-b", "lru, disk", "-b", "lru,disk"], "--backend lru,disk is given twice"),
        (["-w", "zipf", "-w", "zipf"], "--workload zipf is given twice"),
        (["-p", "text", "-p", "text"], "--payload text is given twice"),
        (["--callers", "1", "--callers", "1"], "--callers 1 is given twice"),
        (["--trace", "/no/such.trace"], "there is no trace /no/such.trace"),
        (["--trace", "/proc/self/mem"], "/proc/self/mem cannot be read: Input/output error"),
        (["--trace", "calls"], "calls is no trace"),
    ],
)
def test_a_mistake_is_told_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    (tmp_path / "calls").write_text("[[1, 2]]\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ConfigurationError, TraceError), match=said):
        run("bench", *arguments)


def test_the_attempt_to_write_leaves_nothing_behind_and_what_was_there_alone(tmp_path: Path) -> None:
    new, old = tmp_path / "new.json", tmp_path / "old.html"
    old.write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigurationError):
        run("bench", "-w", "nonsense", "--json", str(new), "--html", str(old))
    assert not new.exists()
    assert old.read_text(encoding="utf-8") == "mine"


def test_two_runs_are_compared(tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in ("a.json", "b.json")]
    for file in files:
        run("bench", *SMALL, "-w", "zipf", "-b", "lru", "--json", file)
    output = run("compare", *files, "--all")
    assert "0 better, 0 worse" in output
    assert "the machine took" in output


def test_strict_ends_in_failure_where_a_place_fails_now_or_there_are_too_few_samples(tmp_path: Path) -> None:
    fine, broken = tmp_path / "a.json", tmp_path / "b.json"
    run("bench", *SMALL, "-w", "zipf", "-b", "lru", "--json", str(fine))
    found = document.read(fine)
    found.scenarios[0].cells[0] = document.Cell("lru", error="OSError: no room")
    document.write(found, broken)
    for after, said in ((broken, "OSError: no room"), (fine, "too few samples")):
        done = CliRunner(env={"COLUMNS": "160"}).invoke(app, ["compare", str(fine), str(after), "--strict"])
        assert done.exit_code == 1
        assert said in done.output


def test_strict_ends_in_failure_where_the_calls_were_others(tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in ("a.json", "b.json")]
    for file, exponent in zip(files, ("0.9", "1.2"), strict=True):
        patterns = ("-w", "zipf", "-w", "scan", "--zipf", exponent)
        run("bench", *SMALL, *patterns, "--repetitions", "4", "-b", "lru", "--json", file)
    arguments = ["compare", *files, "--strict"]
    done = CliRunner(env={"COLUMNS": "160"}).invoke(app, arguments)
    assert done.exit_code == 1
    assert "not compared: zipf, embedding, 1 caller: other calls were made" in done.output
    assert "not compared: scan" not in done.output


def test_strict_ends_in_failure_where_something_got_worse(tmp_path: Path) -> None:
    import json

    for name, factor in (("a", 1), ("b", 3)):
        samples = [factor * (1 + number / 100) for number in range(9)]
        case = {"name": "int", "results": [{"contender": "mlcache", "samples": samples}]}
        (tmp_path / name).write_text(json.dumps({"benchmark": "hits", "cases": [case]}), encoding="utf-8")
    arguments = ["compare", str(tmp_path / "a"), str(tmp_path / "b")]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert CliRunner().invoke(app, [*arguments, "--strict"]).exit_code == 1
