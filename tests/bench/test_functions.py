"""The user's own function and calls: what is read, what is refused, and that each runs once."""

from __future__ import annotations

import inspect
import pickle
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlcache import clock
from mlcache.bench.functions import known, load, read_calls
from mlcache.decorator import ml_cache
from mlcache.errors import ConfigurationError, UnhashableArgumentError


def test_a_function_is_found_by_its_path() -> None:
    assert load("os.path:join")("a", "b") == "a/b"
    assert load("collections:Counter.most_common") is Counter.most_common


def test_a_module_of_the_working_directory_is_found_and_a_cache_is_taken_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "of_the_user.py").write_text(
        "from mlcache import ml_cache\n@ml_cache\ndef f(x):\n    return x + 1\n", encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["/nowhere"])
    found = load("of_the_user:f")
    assert type(found).__name__ == "function"
    assert found(1) == 2


@pytest.mark.parametrize("path", ["", "os", "os:", ":f", "os:nonsense", "no_such_module_here:f", "os:sep"])
def test_a_path_to_nothing_is_told(path: str) -> None:
    with pytest.raises(ConfigurationError):
        load(path)


def test_a_module_that_raises_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raises_on_import.py").write_text("1 / 0\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigurationError, match="its module raised ZeroDivisionError: division by zero"):
        load("raises_on_import:f")


def test_a_module_or_a_function_that_ends_python_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "exits_on_import.py").write_text("raise SystemExit(3)\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigurationError, match="its module raised SystemExit: 3"):
        load("exits_on_import:f")
    with pytest.raises(ConfigurationError, match="raised SystemExit"):
        known(sys.exit, [((1,), {})], seconds=60)


def test_a_function_that_does_not_tell_its_parameters_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="its parameters cannot be known: "):
        known(max, [(([1, 2],), {})], seconds=60)


def test_lines_are_calls(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    lines = '[1, "a"]', "", '{"args": [2], "kwargs": {"b": [3]}}', '{"kwargs": {"a": 4}}'
    file.write_text("\n".join(lines), encoding="utf-8")
    assert read_calls(file) == [((1, "a"), {}), ((2,), {"b": [3]}), ((), {"a": 4})]


def test_arrays_are_calls(tmp_path: Path) -> None:
    file = tmp_path / "calls.npz"
    np.savez(file, x=np.arange(6).reshape(3, 2), y=np.array([1.0, 2.0, 3.0]))
    calls = read_calls(file)
    assert len(calls) == 3
    assert calls[1][1]["x"].tolist() == [2, 3]
    assert calls[1][1]["y"] == 2.0


def _touch(path: str) -> None:
    Path(path).touch()


class Dangerous:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return _touch, (self.path,)


@pytest.mark.parametrize("name", ["calls.pkl", "calls.jsonl"])
def test_a_pickle_is_refused_unread_and_the_reason_told(tmp_path: Path, name: str) -> None:
    file, ran = tmp_path / name, tmp_path / "ran"
    file.write_bytes(pickle.dumps(Dangerous(ran)))
    with pytest.raises(ConfigurationError, match="to read one is to run whatever is in it"):
        read_calls(file)
    assert not ran.exists()


def test_pickles_among_arrays_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "calls.npz"
    np.savez(file, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ConfigurationError, match="cannot be read as arrays"):
        read_calls(file)


def _whole(path: Path) -> bytes:
    np.savez_compressed(path, x=np.arange(3000))
    return path.read_bytes()


@pytest.mark.parametrize("damage", ["cut off", "changed", "no archive", "a text in it", "one array alone"])
def test_a_damaged_archive_of_arrays_is_told(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "calls.npz"
    whole = _whole(file)
    if damage == "cut off":
        file.write_bytes(whole[: len(whole) // 2])
    elif damage == "changed":
        file.write_bytes(whole[:200] + bytes(50) + whole[250:])
    elif damage == "no archive":
        file.write_bytes(b"PK\x03\x04 and nothing else")
    elif damage == "a text in it":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("x.npy", "no array")
    else:
        with file.open("wb") as opened:
            np.save(opened, np.arange(3))
    with pytest.raises(ConfigurationError, match=r"calls\.npz(:| cannot be read as arrays)"):
        read_calls(file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no calls"),
        pytest.param("[" * 100_000, "line 1 is no JSON", id="deep"),
        ("{", "line 1 is no JSON"),
        ('[1]\n{"arguments": [1]}', "line 2: give"),
        ("7", "line 1: give"),
        ('{"args": 7}', "has to be a list"),
        ('{"kwargs": [7]}', "an object"),
    ],
)
def test_lines_that_are_no_calls_are_told(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "calls.jsonl"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=said):
        read_calls(file)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        read_calls(tmp_path / "none")


def test_each_distinct_call_is_computed_once_after_a_warm_up() -> None:
    ran: Counter[tuple[int, int]] = Counter()

    def function(a: int, b: int = 2) -> int:
        ran[a, b] += 1
        return a * b

    work = known(function, [((1,), {}), ((1, 2), {}), ((), {"a": 3}), ((1,), {"b": 2})], seconds=60)
    assert ran == {(1, 2): 2, (3, 2): 1}
    assert work.answers == [2, 6]
    assert work.order(0).tolist() == [0, 0, 1, 0]
    assert (work.costs > 0).all()
    assert (work.sizes > 0).all()


def test_computing_ends_with_the_time_that_is_given() -> None:
    work = known(abs, [((number,), {}) for number in range(50)], seconds=0)
    assert len(work.calls) == 1
    assert work.order(0).tolist() == [0]


def test_calls_after_the_first_that_was_not_computed_are_left_off_and_that_is_told() -> None:
    work = known(abs, [((number,), {}) for number in (0, 0, 1, 0, 0, 0)], seconds=0)
    assert work.order(0).tolist() == [0, 0]
    assert work.remark == "the first 2 of 6 calls"


def test_a_coroutine_function_is_computed_too() -> None:
    async def function(a: int) -> int:
        return a + 1

    assert known(function, [((1,), {})], seconds=60).answers == [2]


@pytest.mark.parametrize("suspends", [False, True])
def test_a_cost_is_that_of_the_call_or_of_its_await_alone(
    monkeypatch: pytest.MonkeyPatch, *, suspends: bool
) -> None:
    """By a clock that only the function and the harness around it put on."""
    now = [0.0]
    monkeypatch.setattr(clock, "ticks", lambda: now[0])

    def plain(a: int) -> int:
        now[0] += 2.0
        return a

    async def coroutine(a: int) -> int:
        return plain(a)

    def late(*arguments: Any) -> bool:
        now[0] += 100.0
        return isawaitable(*arguments)

    isawaitable = inspect.isawaitable
    monkeypatch.setattr(inspect, "isawaitable", late)
    assert known(coroutine if suspends else plain, [((1,), {})], seconds=60).costs.tolist() == [2.0]


def test_a_function_that_raises_is_told() -> None:
    with pytest.raises(ConfigurationError, match="raised ZeroDivisionError: "):
        known(lambda a: 1 / a, [((0,), {})], seconds=60)


def test_an_argument_without_a_key_is_told() -> None:
    with pytest.raises(UnhashableArgumentError):
        known(lambda a: a, [((iter([]),), {})], seconds=60)


def test_a_cached_function_can_be_given() -> None:
    assert known(ml_cache(lambda a: a + 1).__wrapped__, [((1,), {})], seconds=60).answers == [2]
