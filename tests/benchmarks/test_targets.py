"""The targets: each names what there is, and a miss of a ratio is a failure."""

from __future__ import annotations

import tomllib
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks.harness import Case, Contender, Plan, Result
from benchmarks.report import AddsAtMost, AtMost, NotHeld, Report, Says, Within
from benchmarks.targets import FILE, targets

TABLES = tomllib.loads(FILE.read_text(encoding="utf-8"))


def _takes_turns(benchmark: str) -> bool:
    """Whether it is measured by the harness, which can be told to pretend."""
    return hasattr(import_module(f"benchmarks.{benchmark}"), "measure")


def _everything(benchmark: str, monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str]]:
    """All cases of a benchmark with their contenders, none of which is run."""
    module = import_module(f"benchmarks.{benchmark}")

    def pretend(name: str, contenders: list[Contender], _: Plan) -> Case:
        return Case(name, [Result(contender.name, [1.0]) for contender in contenders])

    monkeypatch.setattr(module, "measure", pretend)
    monkeypatch.setattr(module, "targets", lambda *_: [], raising=False)
    if benchmark == "offload":
        monkeypatch.setattr(module, "_of_fault", lambda name, *_: Result(name, [1.0]))
    if benchmark == "stampede":
        monkeypatch.setattr(module.Storms, "in_words", lambda _: "")
    monkeypatch.setattr(module, "has_server", lambda: True, raising=False)
    cases = module.run(quick=False).cases
    return {(case.name, result.contender) for case in cases for result in case.results}


@pytest.mark.parametrize("benchmark", [name for name in TABLES if _takes_turns(name)])
def test_every_target_names_a_case_and_contenders_that_there_are(
    benchmark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = _everything(benchmark, monkeypatch)
    cases = [Case(case, [Result(of, [1.0])]) for case, of in there]
    found = targets(benchmark, cases)
    named = {(each.case, each.contender) for each in found if hasattr(each, "case")}  # type: ignore[attr-defined]
    listed = {
        (case, contender)
        for table in TABLES[benchmark]
        for case in table.get("cases", [table.get("case")])
        for contender in table.get("contenders", [table.get("contender")])
    }
    assert named == listed
    others = {(each.case, each.of) for each in found if isinstance(each, AtMost | AddsAtMost)}
    assert others <= there


def test_each_kind_of_target_is_read(tmp_path: Path) -> None:
    file = tmp_path / "targets.toml"
    file.write_text(
        '[[work]]\ncases = ["a", "b"]\ncontender = "x"\nat_most = 2\nof = "y"\n'
        '[[work]]\ncase = "a"\ncontenders = ["x", "gone"]\nsays = "right"\n'
        '[[work]]\ncase = "a"\ncontender = "x"\nwithin_seconds = 1\n'
        '[[work]]\ncase = "a"\ncontender = "x"\nadds_at_most_seconds = 1\nof = "y"\n',
        encoding="utf-8",
    )
    cases = [Case("a", [Result("x"), Result("y")]), Case("b", [Result("x")])]
    assert targets("work", cases, file) == [
        AtMost("a", "x", 2, "y"),
        NotHeld(AtMost("b", "x", 2, "y"), "y took no part"),
        Says("a", "x", "right"),
        NotHeld(Says("a", "gone", "right"), "gone took no part"),
        Within("a", "x", 1),
        AddsAtMost("a", "x", 1, "y"),
    ]
    assert targets("other", cases, file) == []
    assert NotHeld(Within("a", "x", 1), "this case was not measured") in targets("work", [], file)


def test_a_target_of_no_known_kind_is_told(tmp_path: Path) -> None:
    file = tmp_path / "targets.toml"
    file.write_text('[[work]]\ncase = "a"\ncontender = "x"\nat_least = 2\n', encoding="utf-8")
    with pytest.raises(ValueError, match="of no known kind"):
        targets("work", [Case("a", [Result("x")])], file)


def test_what_is_held_against_nothing_is_told_and_counted() -> None:
    case = Case("work", [Result("mine", [2.0]), Result("gone", error="ImportError: no")])
    failed = AtMost("work", "mine", 3, "gone"), AddsAtMost("work", "mine", 3, "gone")
    absent = NotHeld(AtMost("work", "mine", 3, "away"), "away took no part")
    text = Report("hits", "about", [case], [*failed, absent, Within("work", "mine", 3)]).text()
    assert text.count("  SKIP  work: mine takes at most 3 times as long as") == 2
    assert "(gone failed: ImportError: no)" in text
    assert "(away took no part)" in text
    assert "MISS" not in text
    assert "3 of 4 targets held against nothing" in text
    assert "MISS" in Report("hits", "about", [case], [AtMost("work", "gone", 3, "mine")]).text()


def test_where_mlcache_itself_fails_as_the_other_it_is_a_miss() -> None:
    case = Case("work", [Result("mlcache, one", [2.0]), Result("mlcache, plain", error="TypeError: no")])
    verdict = AtMost("work", "mlcache, one", 3, "mlcache, plain").judge([case])
    assert (verdict.word, verdict.checked) == ("MISS", True)


def test_a_contender_that_took_no_part_is_named() -> None:
    case = Case("work", [Result("mine", [2.0]), Result("its", [1.0])])
    with pytest.raises(LookupError, match="'away' took no part in 'work': there are mine, its"):
        AtMost("work", "mine", 3, "away").judge([case])


def test_a_peer_that_fails_fails_no_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = Case("work", [Result("mine", [2.0]), Result("gone", error="ImportError: no")])
    report = Report("hits", "about", [case], [AtMost("work", "mine", 3, "gone")])
    monkeypatch.setattr(command, "import_module", lambda _: SimpleNamespace(run=lambda **_: report))
    assert command.main(["hits", "--check"]) == 0
    assert "0 of 0 targets met" in capsys.readouterr().out


def _pretend(monkeypatch: pytest.MonkeyPatch, *goals: Any) -> None:
    case = Case("work", [Result("mine", [2.0]), Result("its", [1.0])])
    report = Report("hits", "about", [case], goals)
    monkeypatch.setattr(command, "import_module", lambda _: SimpleNamespace(run=lambda **_: report))


def test_a_check_fails_where_a_ratio_is_missed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _pretend(monkeypatch, AtMost("work", "mine", 3, "its"))
    assert command.main(["hits", "--check"]) == 0
    _pretend(monkeypatch, AtMost("work", "mine", 3, "its"), AtMost("work", "mine", 1.5, "its"))
    assert command.main(["hits", "--check"]) == 1
    assert "1 of 2 targets met" in capsys.readouterr().out
    assert command.main(["hits"]) == 0


def test_a_time_alone_fails_no_check(monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend(monkeypatch, Within("work", "mine", 1.0), AddsAtMost("work", "mine", 0.1, "its"))
    assert command.main(["hits", "--check"]) == 0


def test_a_check_without_names_checks_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def pretend(name: str, _: str) -> Report:
        ran.append(name)
        return Report(name, "about", [])

    monkeypatch.setattr(command, "_run", pretend)
    assert command.main(["--check"]) == 0
    assert tuple(ran) == command.NAMES


def test_one_sample_of_each_is_not_checked(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["hits", "--check", "--quick"])
    assert "says nothing of targets" in capsys.readouterr().err


def test_several_benchmarks_end_in_one_file_and_one_page(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import json

    from mlcache.bench import document
    from tests.bench.samples import usual

    _pretend(monkeypatch, AtMost("work", "mine", 3, "its"))
    file, html, run = tmp_path / "all.json", tmp_path / "all.html", tmp_path / "run.json"
    document.write(usual(), run)
    command.main(["hits", "keys", "--json", str(file), "--html", str(html), "--with", str(run)])
    assert len(json.loads(file.read_text(encoding="utf-8"))["reports"]) == 2
    page = html.read_text(encoding="utf-8")
    for said in ("Which cache fits", "Beside the peers", "mine takes at most 3 times as long as its"):
        assert said in page


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["hits", "hits"], "a benchmark is named twice"),
        (["hits", "--json", "/no/such/run.json"], "--json /no/such/run.json cannot be written: No such"),
        (["hits", "--html", "/dev"], "--html /dev cannot be written: Is a directory"),
        (["hits", "--html", "x.html", "--with", "/no/such.json"], "/no/such.json cannot be read"),
        (["hits", "--with", "run.json"], "--with is for the page: give --html"),
    ],
)
def test_what_would_fail_at_the_end_is_told_before(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        command.main(arguments)
    assert said in capsys.readouterr().err


def test_the_pace_of_a_run_is_in_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import json

    from benchmarks import harness

    monkeypatch.setattr(harness, "_pace", [harness.FULL])
    _pretend(monkeypatch)
    found: list[str] = []
    for options in ([], ["--brief"], ["--quick"]):
        command.main(["hits", *options, "--json", str(tmp_path / "run.json")])
        found.append(json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["pace"])
    assert found == ["full", "brief", "quick"]


def test_be_brief_takes_fewer_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import harness

    monkeypatch.setattr(harness, "_pace", [harness.FULL])
    full = harness.plan(quick=False)
    harness.be_brief()
    assert harness.plan(quick=False).case_seconds < full.case_seconds
    assert harness.plan(quick=True) == harness.QUICK
