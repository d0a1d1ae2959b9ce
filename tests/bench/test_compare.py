"""Two runs compared: what changed, what did not, and files that have nothing to compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from mlcache.bench import document as documents
from mlcache.bench.compare import Change, compare
from mlcache.bench.document import Cell
from mlcache.errors import ConfigurationError
from tests.bench.samples import cell, document, scenario


def _noisy(middle: float, seed: int) -> list[float]:
    return [float(each) for each in middle * np.random.default_rng(seed).normal(1, 0.02, 9)]


def _write(path: Path, **hits: list[float]) -> Path:
    cells = [cell(name, [0.5] * len(samples)) for name, samples in hits.items()]
    for each, samples in zip(cells, hits.values(), strict=True):
        each.samples["hit"] = samples
    documents.write(document(scenario("zipf", *cells)), path)
    return path


def _change(found: list[Change], who: str, measure: str) -> Change:
    return next(each for each in found if (each.who, each.measure) == (who, measure))


def test_what_changed_is_told_from_what_is_noise(tmp_path: Path) -> None:
    before = _write(tmp_path / "a", lru=_noisy(1e-6, 0), gdsf=_noisy(1e-6, 1), disk=_noisy(1e-4, 2))
    after = _write(tmp_path / "b", lru=_noisy(1e-6, 3), gdsf=_noisy(2e-6, 4), disk=_noisy(0.5e-4, 5))
    found = compare(before, after).changes
    assert _change(found, "lru", "hit").verdict == "same"
    worse, better = _change(found, "gdsf", "hit"), _change(found, "disk", "hit")
    assert (worse.verdict, better.verdict) == ("worse", "better")
    assert worse.low < 2.0 < worse.high
    assert worse.ratio == pytest.approx(2.0, rel=0.05)
    assert worse.p < 0.01
    assert _change(found, "gdsf", "net").verdict == "same"


def test_more_of_what_is_good_is_better(tmp_path: Path) -> None:
    files: list[Path] = []
    for name, net in (("a", 0.3), ("b", 0.6)):
        files.append(tmp_path / name)
        documents.write(document(scenario("zipf", cell("lru", _noisy(net, 7)))), files[-1])
    assert _change(compare(*files).changes, "lru", "net").verdict == "better"


def test_a_sure_change_that_is_too_small_to_matter_is_none(tmp_path: Path) -> None:
    before = _write(tmp_path / "a", lru=[1.0 + number / 1e6 for number in range(9)])
    after = _write(tmp_path / "b", lru=[1.01 + number / 1e6 for number in range(9)])
    change = _change(compare(before, after).changes, "lru", "hit")
    assert change.p < 0.01
    assert change.verdict == "same"


def test_two_samples_are_too_few_to_be_sure_of_anything(tmp_path: Path) -> None:
    before, after = _write(tmp_path / "a", lru=[1.0, 1.1]), _write(tmp_path / "b", lru=[9.0, 9.1])
    assert _change(compare(before, after).changes, "lru", "hit").verdict == "too few samples"


@pytest.mark.parametrize(("count", "verdict"), [(3, "too few samples"), (4, "worse")])
def test_four_samples_each_are_the_fewest_that_tell(tmp_path: Path, count: int, verdict: str) -> None:
    before = _benchmark(tmp_path / "a", *(1.0 + number / 10 for number in range(count)))
    after = _benchmark(tmp_path / "b", *(9.0 + number / 10 for number in range(count)))
    assert compare(before, after).changes[0].verdict == verdict


def test_what_fails_now_got_worse_and_the_error_is_told(tmp_path: Path) -> None:
    before = _write(tmp_path / "a", lru=[1.0], disk=[1.0])
    documents.write(document(scenario("zipf", Cell("disk", error="OSError: no room"))), tmp_path / "b")
    (change,) = compare(before, tmp_path / "b").changes
    assert (change.who, change.verdict, change.error) == ("disk", "worse", "OSError: no room")


def test_a_contender_that_fails_now_got_worse(tmp_path: Path) -> None:
    before, after = _benchmark(tmp_path / "a", 1.0), tmp_path / "b"
    results = [{"contender": "mlcache", "samples": [], "error": "OSError: no room"}]
    report = {"benchmark": "hits", "cases": [{"name": "int", "results": results}]}
    after.write_text(json.dumps(report), encoding="utf-8")
    (change,) = compare(before, after).changes
    assert (change.verdict, change.error) == ("worse", "OSError: no room")


def test_what_only_one_run_has_is_told(tmp_path: Path) -> None:
    before = _write(tmp_path / "a", lru=[1.0], disk=[1.0])
    after = _write(tmp_path / "b", lru=[1.0], gdsf=[1.0])
    found = compare(before, after)
    assert {who for _, who, _ in found.only_before} == {"disk"}
    assert {who for _, who, _ in found.only_after} == {"gdsf"}


def test_another_machine_and_its_speed_are_told(tmp_path: Path) -> None:
    slow = document(scenario("zipf", cell("lru", [0.5])))
    slow.machine["cores"], slow.yardstick = "1 core", [0.02, 0.022]
    documents.write(slow, tmp_path / "b")
    before = _write(tmp_path / "a", lru=[1.0])
    remarks = compare(before, tmp_path / "b").remarks
    assert remarks[0] == "cores: 2 cores before, 1 core after"
    assert remarks[1].startswith("the machine took 2.00 times as long")


def _benchmark(path: Path, *samples: float, pace: str = "full") -> Path:
    results = [{"contender": "mlcache", "samples": samples}, {"contender": "broken", "samples": []}]
    cases = [{"name": "int", "results": results}]
    report: dict[str, Any] = {"benchmark": "hits", "pace": pace, "cases": cases}
    path.write_text(json.dumps({"reports": [report]}), encoding="utf-8")
    return path


def test_runs_of_the_benchmarks_are_compared_too(tmp_path: Path) -> None:
    before = _benchmark(tmp_path / "a", *_noisy(1e-6, 0))
    after = _benchmark(tmp_path / "b", *_noisy(3e-6, 1))
    (change,) = compare(before, after).changes
    assert (change.scenario, change.who, change.measure) == ("hits: int", "mlcache", "time")
    assert change.verdict == "worse"


def _with(path: Path, **changed: Any) -> Path:
    """A run of two scenarios, of which the second is measured as it is said."""
    second = msgspec.structs.replace(scenario("scan", cell("lru", _noisy(0.3, 2))), **changed)
    documents.write(document(scenario("zipf", cell("lru", _noisy(0.3, 1))), second), path)
    return path


def test_other_calls_are_not_compared_and_that_is_told(tmp_path: Path) -> None:
    before = _with(tmp_path / "a", work="one")
    found = compare(before, _with(tmp_path / "b", work="other"))
    assert {change.scenario for change in found.changes} == {"zipf, text, 1 caller"}
    assert list(found.refused) == ["scan, text, 1 caller"]
    assert "other calls were made" in found.refused["scan, text, 1 caller"]
    fewer = compare(before, _with(tmp_path / "c", calls=150))
    assert fewer.refused["scan, text, 1 caller"] == ("300 calls for 100 keys before, 150 for 100 after")


def test_runs_that_measured_nothing_alike_are_refused(tmp_path: Path) -> None:
    files = [tmp_path / "a", tmp_path / "b"]
    for file, work in zip(files, ("one", "other"), strict=True):
        only = msgspec.structs.replace(scenario("zipf", cell("lru", [0.3] * 9)), work=work)
        documents.write(document(only), file)
    with pytest.raises(ConfigurationError, match=r"nothing in common .*zipf, text, 1 caller: other calls"):
        compare(*files)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"calls": 290}, "calls: 300 before, 290 after, in scan, text, 1 caller"),
        ({"bound": 2 * 10**5}, "memory: 97.7 KiB before, 195 KiB after, in scan, text, 1 caller"),
        ({"bytes": 2 * 10**6}, "answers: 977 KiB before, 1.91 MiB after, in scan, text, 1 caller"),
        ({"cost": 0.04}, "an answer costs: 20 ms before, 40 ms after, in scan, text, 1 caller"),
    ],
)
def test_settings_that_differ_are_told(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    found = compare(_with(tmp_path / "a"), _with(tmp_path / "b", **changed))
    assert said in found.remarks
    assert found.refused == {}
    assert not any(" before, " in each for each in compare(tmp_path / "a", tmp_path / "a").remarks)


def test_versions_that_differ_are_told(tmp_path: Path) -> None:
    newer = document(scenario("zipf", cell("lru", [0.5])))
    newer.packages = {"numpy": "2.4.0", "pandas": "3.0.0"}
    documents.write(newer, tmp_path / "b")
    remarks = compare(_write(tmp_path / "a", lru=[1.0]), tmp_path / "b").remarks
    assert remarks[:2] == ["numpy: 2.3.0 before, 2.4.0 after", "pandas: none before, 3.0.0 after"]


def test_a_setting_that_differs_everywhere_is_told_once(tmp_path: Path) -> None:
    for name, bound in (("a", 100_000), ("b", 200_000)):
        scenarios = [scenario(each, cell("lru", [0.5])) for each in ("zipf", "scan", "mixed")]
        same = [msgspec.structs.replace(each, bound=bound) for each in scenarios]
        documents.write(document(*same), tmp_path / name)
    remarks = compare(tmp_path / "a", tmp_path / "b").remarks
    assert remarks[0] == "memory: 97.7 KiB before, 195 KiB after, in zipf, text, 1 caller and 2 more"


def test_a_quick_run_is_not_compared_with_another_and_a_brief_one_is_told(tmp_path: Path) -> None:
    full, quick, brief = [
        _benchmark(tmp_path / pace, *_noisy(1e-6, 0), pace=pace) for pace in ("full", "quick", "brief")
    ]
    with pytest.raises(ConfigurationError, match="one run is full and the other quick"):
        compare(full, quick)
    assert "pace: full before, brief after" in compare(full, brief).remarks


def test_runs_of_two_programs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="`mlcache bench` and the other of `python -m benchmarks`"):
        compare(_write(tmp_path / "a", lru=[1.0]), _benchmark(tmp_path / "b", 1.0))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("[" * 100_000, id="deep"),
        *("[]", "{}", '{"scenarios": 7}', '{"cases": 7}', '{"reports": {}}'),
        '{"benchmark": "hits", "cases": [{"name": "int"}]}',
        '{"benchmark": "hits", "cases": [{"name": "int", "results": [{"contender": "x", "samples": [""]}]}]}',
    ],
)
def test_a_file_that_is_no_run_is_told(tmp_path: Path, text: str) -> None:
    file = tmp_path / "b"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="b is no"):
        compare(_write(tmp_path / "a", lru=[1.0]), file)


def test_a_file_that_is_not_there_and_runs_with_nothing_in_common_are_told(tmp_path: Path) -> None:
    before = _write(tmp_path / "a", lru=[1.0])
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        compare(before, tmp_path / "none")
    with pytest.raises(ConfigurationError, match="nothing in common"):
        compare(before, _write(tmp_path / "b", disk=[1.0]))
