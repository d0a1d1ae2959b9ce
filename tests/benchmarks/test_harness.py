"""The harness: turns, ratios, and contenders that fail."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.harness import QUICK, Call, Case, Contender, Plan, Result, WrongAnswerError, measure
from benchmarks.markdown import chosen, table
from benchmarks.report import AtMost, Report, Within, duration


def _fine(_: ExitStack) -> Call:
    return Call(abs, -1)


def _broken(_: ExitStack) -> Call:
    raise TypeError("unhashable type\nand more lines")


def _wrong(_: ExitStack) -> Call:
    raise WrongAnswerError("WRONG: answers 1 where 2 is right")


def test_a_contender_that_fails_is_shown_and_the_others_are_measured() -> None:
    contenders = [Contender("fine", _fine), Contender("broken", _broken), Contender("wrong", _wrong)]
    case = measure("work", contenders, QUICK)
    assert [result.error for result in case.results] == [
        "",
        "TypeError: unhashable type",
        "WRONG: answers 1 where 2 is right",
    ]
    assert [len(result.samples) for result in case.results] == [1, 0, 0]
    text = Report("name", "about", [case]).text()
    assert "TypeError: unhashable type" in text
    assert "WRONG: answers 1" in text


def test_contenders_take_turns_in_both_directions() -> None:
    turns: list[str] = []
    contenders = [Contender(name, lambda _, name=name: Call(turns.append, name)) for name in "ab"]  # type: ignore[misc]
    measure("work", contenders, Plan(repeats=2, sample_seconds=0.0, case_seconds=60.0))
    assert turns[:4] == ["a", "a", "b", "b"]  # the warm-up
    assert turns[4:] == ["a", "b", "b", "a"]


def test_what_a_contender_opens_is_closed_after_the_last_sample() -> None:
    events: list[str] = []

    def make(stack: ExitStack) -> Call:
        stack.callback(events.append, "closed")
        return Call(events.append, "called")

    measure("work", [Contender("opens", make)], QUICK)
    assert events[-1] == "closed"
    assert events.count("closed") == 1


def test_a_ratio_is_the_median_over_pairs_of_samples() -> None:
    noisy = Result("noisy", [2.0, 20.0, 200.0])
    steady = Result("steady", [1.0, 10.0, 100.0])
    assert noisy.times(steady) == 2.0


def test_targets_are_judged_by_what_was_measured() -> None:
    gone = Result("gone", error="ImportError: no")
    case = Case("work", [Result("mine", [1.0]), Result("its", [2.0]), gone])
    assert AtMost("work", "mine", 0.5, "its").judge([case]).met
    assert not AtMost("work", "its", 1.9, "mine").judge([case]).met
    assert not AtMost("work", "mine", 9.0, "gone").judge([case]).met
    assert AtMost("work", "mine", 0.5, "its").judge([case]).checked
    slow = Within("work", "its", 1.5).judge([case])
    assert (slow.met, slow.checked) == (False, False)


def test_the_json_has_the_raw_samples_the_verdicts_and_the_machine(tmp_path: Path) -> None:
    case = Case("work", [Result("mine", [1.0, 3.0]), Result("gone", error="ImportError: no")])
    file = tmp_path / "report.json"
    Report("name", "about", [case], [AtMost("work", "mine", 1.0, "mine")]).write_json(file)
    document = json.loads(file.read_text(encoding="utf-8"))
    assert document["cases"][0]["results"] == [
        {"contender": "mine", "samples": [1.0, 3.0], "error": "", "remark": ""},
        {"contender": "gone", "samples": [], "error": "ImportError: no", "remark": ""},
    ]
    assert document["targets"][0]["met"] is True
    assert document["machine"]["python"]
    assert document["packages"]["numpy"]


def test_a_remark_stands_beside_the_time() -> None:
    case = measure("work", [Contender("odd", lambda _: Call(abs, -1, "but strangely"))], QUICK)
    assert Report("name", "about", [case]).text().endswith("but strangely")


def test_the_table_for_a_readme_has_a_column_for_each_case() -> None:
    cases = [
        {"name": "small", "results": [{"contender": "mine", "samples": [1e-6, 3e-6, 2e-6], "error": ""}]},
        {"name": "big", "results": [{"contender": "its", "samples": [], "error": "TypeError: unhashable"}]},
    ]
    assert table({"cases": cases}).splitlines() == [
        "|  | small | big |",
        "| --- | ---: | ---: |",
        "| mine | 2 µs |  |",
        "| its |  | TypeError |",
    ]


def test_durations_are_told_in_the_unit_that_suits_them() -> None:
    assert [duration(seconds) for seconds in (2.0, 0.25, 3.14159e-3, 4.2e-5, 6.1e-8)] == [
        "2 s",
        "250 ms",
        "3.14 ms",
        "42 µs",
        "61 ns",
    ]


def test_one_run_of_several_is_chosen_for_a_table() -> None:
    reports = [{"benchmark": "hits", "cases": []}, {"benchmark": "answers", "cases": []}]
    assert chosen({"reports": reports})["benchmark"] == "hits"
    assert chosen({"reports": reports}, "answers")["benchmark"] == "answers"
    assert chosen(reports[1])["benchmark"] == "answers"
    with pytest.raises(ValueError, match="no run of 'keys'"):
        chosen({"reports": reports}, "keys")
