"""A cached function of many items: what it refuses, keeps, counts, and can be asked beside being called."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
import weakref
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlcache import (
    Batch,
    BatchAnswerError,
    ConfigurationError,
    Expiry,
    UnhashableArgumentError,
    disabled,
    ml_cache,
)
from mlcache.batch import order
from mlcache.crew import crew
from mlcache.testing import FakeClock

LRU = "lru?max_bytes=8MiB"


class Upper:
    """A function of many texts that notes what it was given."""

    def __init__(self, **options: Any) -> None:
        calls: list[Any] = []
        batch = options.pop("batch", "texts")

        @ml_cache(backend=LRU, batch=batch, **options)
        def upper(texts: list[str], mark: str = "") -> list[str]:
            calls.append(list(texts))
            return [text.upper() + mark for text in texts]

        self.calls = calls
        self.cached = upper


@pytest.fixture
def upper() -> Upper:
    return Upper()


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    with FakeClock() as clock:
        yield clock


# What is asked for when decorating


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_size": 0}, "max_size is 0"),
        ({"max_size": True}, "max_size is True"),
        ({"max_wait": -1}, "max_wait is -1"),
        ({"max_bytes": "much"}, "max_bytes is 'much'"),
        ({"timeout": 0}, "timeout is 0"),
        ({"concurrency": 1.5}, "concurrency is 1.5"),
        ({"axis": "rows"}, "axis is 'rows'"),
        ({"bucket": "size"}, "bucket is 'size': give 'shape', a function"),
        ({"timeout": "1s", "max_wait": 2}, "timeout is '1s' and max_wait 2: .* longer than max_wait"),
        ({"collate": 3}, "collate is 3"),
        ({"tenant": "me"}, "tenant is 'me'"),
        ({"isolate": 1}, "isolate is 1"),
        ({"progress": "yes"}, "progress is 'yes'"),
        ({"cost": len}, "cost and max_cost go together"),
        ({"cost": len, "max_cost": 0}, "max_cost is 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Batch("texts", **options)


@pytest.mark.parametrize("batch", ["", "two words", 3, Batch])
def test_what_is_no_name_of_a_parameter_is_refused(batch: Any) -> None:
    with pytest.raises(ConfigurationError):
        ml_cache(batch=batch)


def test_the_items_must_be_a_parameter_of_their_own_and_count() -> None:
    def function(texts: list[str], *more: str, **rest: str) -> list[str]:
        return [*texts, *more, *rest]

    with pytest.raises(ConfigurationError, match="batch names 'items', which is no parameter"):
        ml_cache(batch="items")(function)
    for name in ("more", "rest"):
        with pytest.raises(ConfigurationError, match="collects arguments"):
            ml_cache(batch=name)(function)
    with pytest.raises(ConfigurationError, match="is in ignore"):
        ml_cache(batch="texts", ignore="texts")(function)


@pytest.mark.parametrize("nothing", [0, 0.0, "0", "0ms", timedelta(0)])
def test_single_items_may_wait_for_no_company(nothing: Any) -> None:
    assert Batch("x", max_wait=nothing).max_wait == 0


def test_options_are_shown_as_they_were_given() -> None:
    assert repr(Batch("x")) == "Batch('x')"
    assert repr(Batch("x", isolate=False, progress=False)) == "Batch('x', isolate=False, progress=False)"
    assert repr(Batch("x", max_size=8, progress=True)) == "Batch('x', max_size=8, progress=True)"


def test_it_says_how_it_was_set_up(upper: Upper) -> None:
    given = Batch("texts", max_size=4, bucket="shape", cost=len, max_cost=9)
    assert repr(given).startswith("Batch('texts', max_size=4")
    assert upper.cached.cache_parameters()["batch"] == "Batch('texts')"


# Items


@pytest.mark.parametrize("items", ["abc", {"a"}, {"a": 1}, iter("ab"), 3, None, pd.Index(["a"])])
def test_what_is_no_container_of_items_is_refused(items: Any, upper: Upper) -> None:
    with pytest.raises(ConfigurationError, match="give a list, a tuple, a numpy array"):
        upper.cached(items)
    assert not upper.calls


def test_an_array_without_the_axis_is_refused() -> None:
    @ml_cache(backend=LRU, batch=Batch("rows", axis=1))
    def total(rows: Any) -> Any:
        return rows.sum(axis=0)

    with pytest.raises(
        ConfigurationError, match="the items lie along axis 1, and the array has 1 dimensions"
    ):
        total(np.arange(3))
    with pytest.raises(ConfigurationError, match="the array has 0 dimensions"):
        ml_cache(backend=LRU, batch="rows")(lambda rows: rows)(np.array(3))


def test_an_item_without_a_stable_key_is_named(upper: Upper) -> None:
    with pytest.raises(UnhashableArgumentError, match=r"made from texts\[1\] of type"):
        upper.cached(["a", object()])  # type: ignore[list-item]


def test_other_arguments_belong_to_the_key_of_each_item(upper: Upper) -> None:
    assert upper.cached(["a", "b"], "!") == ["A!", "B!"]
    assert upper.cached(["a", "b"]) == ["A", "B"]
    assert upper.cached(["b"], mark="!") == ["B!"]
    assert upper.calls == [["a", "b"], ["a", "b"]]


def test_something_may_stand_for_an_item_in_its_key() -> None:
    upper = Upper(key={"texts": str.lower})
    assert upper.cached(["a", "A", "b"]) == ["A", "A", "B"]
    assert upper.calls == [["a", "b"]]


def test_kinds_of_containers_are_apart() -> None:
    calls: list[str] = []

    @ml_cache(backend=LRU, batch="x")
    def same(x: Any) -> Any:
        calls.append(type(x).__name__)
        return x

    containers = [[1, 2], (1, 2), np.array([1, 2]), np.array([1, 2], np.int8), pd.Series([1, 2])]
    for each in (*containers, *containers):
        found = same(each)
        assert type(found) is type(each)
        assert getattr(found, "dtype", None) == getattr(each, "dtype", None)
    assert len(calls) == len(containers)


def test_an_empty_batch_is_the_functions_own_affair(upper: Upper) -> None:
    assert upper.cached([]) == []
    assert upper.cached([]) == []
    assert upper.calls == [[], []]
    assert upper.cached.cache_info().currsize == 0


def test_tensors_are_items_and_answers() -> None:
    torch = pytest.importorskip("torch")
    calls: list[Any] = []

    @ml_cache(backend=LRU, batch=Batch("x", max_size=2))
    def double(x: Any) -> Any:
        calls.append(tuple(x.shape))
        return x * 2

    x = torch.arange(6.0).reshape(3, 2)
    for given in (x, x[[2, 0, 0]]):
        found = double(given)
        assert found.dtype == given.dtype
        assert torch.equal(found, given * 2)
    assert calls == [(2, 2), (1, 2)]


# Answers


@pytest.mark.parametrize(
    "wrong",
    [
        ["only one"], ("a", "b", "c"), np.zeros(3), np.array(3), {"a": 1}, {"a": 1, "c": 2}, pd.Series([1]),
        pd.DataFrame({"x": [1, 2, 3]}), "ab", 3, None, iter("ab"), np.ma.zeros(2),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_wrong_number_of_answers_is_an_error_and_nothing_is_kept(wrong: Any) -> None:
    calls: list[int] = []

    @ml_cache(backend=LRU, batch="texts", ignore=["wrong"])
    def answers(texts: list[str]) -> Any:
        calls.append(len(texts))
        return wrong

    for _ in range(2):
        with pytest.raises(BatchAnswerError, match="the function returned"):
            answers(["a", "b"])
    assert calls == [2, 2]
    assert answers.cache_info().currsize == 0


def test_a_tuple_is_refused_as_it_may_be_several_outputs() -> None:
    @ml_cache(backend=LRU, batch="numbers")
    def scores_and_labels(numbers: Any) -> Any:
        return [number * 0.5 for number in numbers], ["odd", "even"]

    with pytest.raises(BatchAnswerError, match=r"a tuple, which may be .* several outputs: make it a list"):
        scores_and_labels([1, 2])
    assert scores_and_labels.cache_info().currsize == 0


def test_a_dict_needs_items_that_can_be_keys() -> None:
    @ml_cache(backend=LRU, batch="rows")
    def by_row(rows: list[list[int]]) -> Any:
        return {tuple(row): sum(row) for row in rows}

    with pytest.raises(BatchAnswerError, match="cannot be the keys"):
        by_row([[1], [2]])


def test_items_that_are_one_key_of_a_dict_have_their_own_answers() -> None:
    calls: list[Any] = []

    @ml_cache(backend=LRU, batch="items", ignore=["calls"])
    def kinds(items: Any) -> Any:
        calls.append(list(items))
        return {item: type(item).__name__ for item in items}

    assert kinds([1, True, 2, 2]) == {1: "bool", 2: "int"}  # as the last of equal keys is the one that counts
    assert (kinds([1]), kinds([True]), kinds([2])) == ({1: "int"}, {True: "bool"}, {2: "int"})
    assert calls == [[1, True, 2], [1, 2], [True]]
    with pytest.raises(BatchAnswerError, match=r"put\(\) was given a dict, and some of the items"):
        kinds.put({3: "int"}, [3, 3.0])
    kinds.put({3: "three", 4: "four"}, [3, 4, 3])
    assert kinds([4, 3]) == {4: "four", 3: "three"}


def test_nan_may_be_a_key_of_a_dict() -> None:
    @ml_cache(backend=LRU, batch="numbers")
    def signs(numbers: Any) -> Any:
        return {number: str(number) for number in numbers}

    values = np.array([np.nan, -0.0, 1.0])
    assert [*signs(values).values()] == [*signs(values).values()] == ["nan", "-0.0", "1.0"]
    assert signs(np.array([0.0])) == {0.0: "0.0"}


@pytest.mark.parametrize("way", ["call", "info", "one", "warm"])
def test_a_kept_stop_iteration_comes_out_as_itself(way: str) -> None:
    @ml_cache(backend=LRU, batch="texts", ttl=Expiry(60, errors={StopIteration: 60}))
    def ended(texts: list[str]) -> list[str]:
        raise StopIteration(*texts)

    ways: dict[str, Any] = {
        "call": lambda: ended(["a"]),
        "info": lambda: ended.call_with_info(["a"]),
        "one": lambda: ended.one("a"),
        "warm": lambda: ended.warm([["a"]]),
    }
    for _ in range(2):
        with pytest.raises(StopIteration, match="a"):
            ways[way]()


def test_answers_of_different_forms_are_computed_anew_in_one_call() -> None:
    calls: list[int] = []

    @ml_cache(backend=LRU, batch="texts")
    def padded(texts: list[str]) -> Any:
        calls.append(len(texts))
        longest = max(map(len, texts))
        return np.array([[ord(letter) for letter in text.ljust(longest)] for text in texts])

    assert padded(["a"]).shape == (1, 1)
    assert padded(["abc"]).shape == (1, 3)
    assert padded(["a", "abc"]).shape == (2, 3)
    assert padded(["abc", "a"]).shape == (2, 3)
    assert calls == [1, 1, 2]


def test_answers_that_never_fit_together_are_told_of() -> None:
    @ml_cache(backend=LRU, batch=Batch("texts", max_size=1))
    def padded(texts: list[str]) -> Any:
        return np.array([[ord(letter) for letter in text] for text in texts])

    with pytest.raises(BatchAnswerError, match="do not fit together"):
        padded(["a", "abc"])


def test_what_one_caller_does_with_an_answer_reaches_nobody() -> None:
    @ml_cache(backend=LRU, batch="numbers")
    def lists(numbers: list[int]) -> list[list[int]]:
        return [[number] for number in numbers]

    first = lists([1, 1, 2])
    first[0].append(9)
    assert first[1] == [1]
    assert lists([1, 2]) == [[1], [2]]


@pytest.mark.parametrize(("returns", "writable"), [("readonly", False), ("copy", True), ("reference", True)])
def test_arrays_can_be_written_where_those_of_other_functions_can(returns: Any, writable: bool) -> None:  # noqa: FBT001 - a parameter of the test
    @ml_cache(backend=LRU, batch="rows", returns=returns)
    def double(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return rows * 2

    @ml_cache(backend=LRU, batch="numbers", returns=returns)
    def each(numbers: list[int]) -> list[np.ndarray[Any, Any]]:
        return [np.full(3, number) for number in numbers]

    @ml_cache(backend=LRU, batch="rows", returns=returns)
    def framed(rows: pd.DataFrame) -> pd.DataFrame:
        return rows * 2

    rows = np.arange(6.0).reshape(3, 2)
    for _ in range(2):
        for answer in (double(rows), double(rows[:1]), double.one(rows[0]), each([1])[0]):
            assert answer.flags.writeable == writable
        frame = framed(pd.DataFrame(rows))
        frame.iloc[0, 0] = 7.0
        assert framed(pd.DataFrame(rows)).iloc[0, 0] == 0.0


def test_a_row_does_not_hold_on_to_the_rows_of_others() -> None:
    @ml_cache(backend=LRU, batch="numbers", returns="copy")
    def rows(numbers: list[int]) -> Any:
        return np.zeros((len(numbers), 100))

    rows(list(range(1000)))
    used = rows.cache_info().bytes
    assert used < 1000 * 100 * 8 * 2.2
    found = rows([3])
    found[0, 0] = 1.0
    assert rows([3])[0, 0] == 0.0


def test_nor_does_one_that_is_kept_without_a_copy() -> None:
    returned: list[weakref.ref[Any]] = []

    @ml_cache(backend=LRU, batch="numbers", returns="reference", ignore=["returned"])
    def rows(numbers: list[int]) -> Any:
        made = np.zeros((len(numbers), 100))
        returned.append(weakref.ref(made))
        return made

    rows([1, 2, 3])
    gc.collect()
    assert [each() for each in returned] == [None]
    assert rows.cache_info().currsize == 3


ROWS = [
    np.arange(12, dtype=">i2").reshape(3, 4),
    np.asfortranarray(np.arange(24.0).reshape(3, 2, 4)),
    np.arange(12.0).reshape(4, 3).T[:, ::2],
    np.array([True, False, True]),
    np.array(["a", "bcd", ""]),
    np.array([(1, 2.5), (3, 4.5), (5, 6.5)], [("a", "i4"), ("b", "f8")]),
    np.array(["2026-01-01", "NaT", "2026-01-03"], "M8[D]"),
    np.array([[1, "x"], [2, "y"], [3, "z"]], object),
    np.zeros((3, 0)),
    np.arange(3 * 5000.0).reshape(3, 5000),
]


@pytest.mark.parametrize("number", range(len(ROWS)))
def test_rows_of_any_kind_come_back_as_they_were(number: int) -> None:
    expected = ROWS[number]

    @ml_cache(backend=LRU, batch="numbers", version="1", ignore=["expected"])
    def rows(numbers: list[int]) -> Any:
        return expected[numbers]

    for numbers in ([2, 0], [0, 1, 2]):
        found = rows(numbers)
        assert (found.dtype, found.shape) == (expected.dtype, (len(numbers), *expected.shape[1:]))
        np.testing.assert_array_equal(found, expected[numbers])
    one = rows.one(1)
    assert type(one) is type(expected[1])
    np.testing.assert_array_equal(one, expected[1])


# Terms


def test_terms_are_those_of_each_item(clock: FakeClock) -> None:
    upper = Upper(ttl=lambda text: 10 if text == "A" else 1000, when=lambda text: text != "C")
    assert upper.cached(["a", "b", "c"]) == ["A", "B", "C"]
    assert upper.cached.cache_info().not_kept == 1
    clock.advance(20)
    assert upper.cached(["a", "b", "c"]) == ["A", "B", "C"]
    assert upper.calls == [["a", "b", "c"], ["a", "c"]]


def test_stale_items_are_served_and_renewed_together(clock: FakeClock) -> None:
    upper = Upper(ttl=Expiry(10, stale=100))
    upper.cached(["a", "b"])
    clock.advance(5)
    upper.cached(["c"])
    clock.advance(6)
    assert upper.cached.call_with_info(["a", "b", "c"]).status == "stale"
    pause = threading.Event()
    while crew().busy:
        pause.wait(0.001)
    assert upper.calls == [["a", "b"], ["c"], ["a", "b"]]
    assert upper.cached.call_with_info(["a", "b", "c"]).status == "hit"


def test_old_answers_are_served_where_computing_them_anew_fails(clock: FakeClock) -> None:
    broken: list[bool] = []

    @ml_cache(backend=LRU, batch="texts", ttl=Expiry(10, stale_if_error=100))
    def upper(texts: list[str]) -> list[str]:
        if broken:
            raise ValueError("broken")
        return [text.upper() for text in texts]

    upper(["a", "b"])
    broken.append(True)
    clock.advance(11)
    assert upper(["a", "b"]) == ["A", "B"]
    with pytest.raises(ValueError, match="broken"):
        upper(["a", "c"])


def test_a_refresh_that_fails_leaves_the_answer_of_an_item(clock: FakeClock) -> None:
    broken: list[bool] = []

    @ml_cache(backend=LRU, batch="texts", ttl=Expiry(10, errors=60), ignore=["broken"])
    def upper(texts: list[str]) -> list[str]:
        if broken:
            raise ValueError("broken")
        return [text.upper() for text in texts]

    upper(["a"])
    broken.append(True)
    with pytest.raises(ValueError, match="broken"):
        upper.refresh(["a"])
    assert upper(["a"]) == ["A"]
    clock.advance(11)
    with pytest.raises(ValueError, match="broken"):
        upper(["a"])


def test_an_error_is_kept_for_the_item_that_it_is_surely_about(clock: FakeClock) -> None:
    calls: list[list[str]] = []

    @ml_cache(backend=LRU, batch="texts", ttl=Expiry(errors=10))
    def upper(texts: list[str]) -> list[str]:
        calls.append(texts)
        if "bad" in texts:
            raise ValueError("bad")
        return [text.upper() for text in texts]

    for batch in (["a", "bad"], ["bad"], ["bad"], ["b", "bad"]):
        with pytest.raises(ValueError, match="bad"):
            upper(batch)
    assert calls == [["a", "bad"], ["bad"], ["b"]]
    assert upper.peek(["bad"]) is None
    clock.advance(11)
    with pytest.raises(ValueError, match="bad"):
        upper(["bad"])
    assert len(calls) == 4


class Unsteady:
    """A function of many texts that can be broken, and what it was given."""

    def __init__(self, expiry: Expiry, backend: str = LRU) -> None:
        self.calls = calls = list[list[str]]()
        self.error = errors = list[Exception]()

        @ml_cache(backend=backend, batch="texts", ttl=expiry, ignore=["calls", "errors"])
        def upper(texts: list[str]) -> list[str]:
            calls.append(list(texts))
            if errors:
                raise errors[0]
            return [text.upper() for text in texts]

        self.cached = upper


@pytest.mark.parametrize("way", ["call", "aio", "one", "refresh"])
def test_what_failed_is_not_tried_again_where_old_answers_do(way: str, clock: FakeClock) -> None:
    unsteady = Unsteady(Expiry(60, stale_if_error="1h", errors=10))
    upper, calls = unsteady.cached, unsteady.calls
    ways: dict[str, Any] = {
        "call": lambda: upper(["a", "b"]),
        "aio": lambda: asyncio.run(upper.aio(["a", "b"])),
        "one": lambda: [upper.one(text) for text in ("a", "b")],
        "refresh": lambda: upper(["a", "b"]),
    }
    upper(["a", "b"])
    clock.advance(61)
    unsteady.error.append(ValueError("down"))
    if way == "refresh":
        with pytest.raises(ValueError, match="down"):
            upper.refresh(["a", "b"])
    for _ in range(3):
        assert ways[way]() == ["A", "B"]
    assert sum(map(len, calls)) == 4, "each was tried once"
    clock.advance(10)
    assert ways[way]() == ["A", "B"]
    assert sum(map(len, calls)) == 6, "the kept error is over"
    unsteady.error.clear()
    clock.advance(10)
    assert ways[way]() == ["A", "B"]
    assert upper.call_with_info(["a", "b"]).status == "hit"


def test_a_renewal_that_fails_is_not_tried_again_with_each_call(clock: FakeClock) -> None:
    unsteady = Unsteady(Expiry(60, stale="1h", errors=10))
    unsteady.cached(["a", "b"])
    clock.advance(61)
    unsteady.error.append(ValueError("down"))
    pause = threading.Event()
    for _ in range(3):
        assert unsteady.cached(["a", "b"]) == ["A", "B"]
        while crew().busy:
            pause.wait(0.001)
    assert len(unsteady.calls) == 2


def test_an_error_keeps_nobody_from_trying_a_batch_with_other_items(clock: FakeClock) -> None:
    unsteady = Unsteady(Expiry(60, stale_if_error="1h", errors=10))
    unsteady.cached(["a"])
    clock.advance(61)
    unsteady.error.append(ValueError("down"))
    with pytest.raises(ValueError, match="down"):
        unsteady.cached(["a", "new"])
    unsteady.error.clear()
    assert unsteady.cached(["a", "new"]) == ["A", "NEW"]
    assert unsteady.calls == [["a"], ["a", "new"], ["a", "new"]]


def test_who_wants_a_fresher_answer_gets_a_try_though_a_batch_has_failed(clock: FakeClock) -> None:
    unsteady = Unsteady(Expiry(60, stale_if_error="1h", errors=10))
    unsteady.cached(["a", "b"])
    clock.advance(61)
    unsteady.error.append(ValueError("down"))
    assert unsteady.cached(["a", "b"]) == ["A", "B"]
    unsteady.error.clear()
    assert unsteady.cached.fresh(max_age=100)(["a", "b"]) == ["A", "B"]
    assert len(unsteady.calls) == 2
    assert unsteady.cached.fresh(max_age=5)(["a", "b"]) == ["A", "B"]
    assert len(unsteady.calls) == 3


def test_a_caller_may_want_fresher_answers(clock: FakeClock) -> None:
    upper = Upper()
    upper.cached(["a"])
    clock.advance(50)
    upper.cached(["b"])
    clock.advance(50)
    assert upper.cached.fresh(max_age=60)(["a", "b"]) == ["A", "B"]
    assert upper.calls == [["a"], ["b"], ["a"]]


def test_who_wants_fresher_answers_gets_no_older_one_if_computing_fails(clock: FakeClock) -> None:
    broken: list[bool] = []

    @ml_cache(backend=LRU, batch="texts", ttl=Expiry(10, stale_if_error="1h"), ignore=["broken"])
    def upper(texts: list[str]) -> list[str]:
        if broken:
            raise ValueError("broken")
        return [text.upper() for text in texts]

    upper(["a", "b"])
    broken.append(True)
    clock.advance(60)
    with pytest.raises(ValueError, match="broken"):
        upper.fresh(max_age=30)(["a", "b"])
    assert upper.fresh(max_age=90)(["a", "b"]) == upper(["a", "b"]) == ["A", "B"]


def test_who_wants_a_fresher_answer_finds_that_of_another_process(clock: FakeClock, tmp_path: Path) -> None:
    calls: list[list[str]] = []

    def cached(backend: str) -> Any:
        @ml_cache(backend=backend, batch="texts", name="upper", version="1", ignore=["calls"])
        def upper(texts: list[str]) -> list[str]:
            calls.append(texts)
            return [text.upper() for text in texts]

        return upper

    here, there = cached(f"{LRU}, disk://{tmp_path}"), cached(f"disk://{tmp_path}")
    here(["a", "b"])
    clock.advance(60)
    there.refresh(["a"])
    assert here.fresh(max_age=30)(["a", "b"]) == ["A", "B"]
    assert calls == [["a", "b"], ["a"], ["b"]]


# What can be asked beside


def test_a_call_tells_how_it_came_about(upper: Upper, clock: FakeClock) -> None:
    assert upper.cached.call_with_info(["a"]).status == "miss"
    clock.advance(5)
    result = upper.cached.call_with_info(["a", "b"])
    assert (result.value, result.status, result.tier, result.age) == (["A", "B"], "miss", None, 5)
    result = upper.cached.call_with_info(["a", "b"])
    assert (result.status, result.tier, result.age, result.kept) == ("hit", "lru", 5, True)


def test_peek_tells_what_is_there_if_all_is(upper: Upper) -> None:
    upper.cached(["a", "b"])
    found = upper.cached.peek(["b", "a"])
    assert found is not None
    assert found.value == ["B", "A"]
    assert upper.cached.peek(["a", "c"]) is None
    assert upper.cached.peek([]) is None
    assert upper.calls == [["a", "b"]]


def test_answers_can_be_put_forgotten_and_refreshed(upper: Upper) -> None:
    upper.cached.put(["one", "two"], ["a", "b"])
    assert upper.cached(["b", "a", "b"]) == ["two", "one", "two"]
    assert upper.cached.one("a") == "one"
    assert upper.cached.invalidate(["a", "never there"])
    assert not upper.cached.invalidate(["a"])
    assert upper.cached(["a", "b"]) == ["A", "two"]
    assert upper.cached.refresh(["a", "b"]) == ["A", "B"]
    assert upper.cached.refresh([]) == []
    assert upper.calls == [["a"], ["a", "b"], []]
    with pytest.raises(BatchAnswerError, match=r"put\(\) was given 1 answer for 2 items"):
        upper.cached.put(["one"], ["a", "b"])


def test_many_batches_can_be_warmed(upper: Upper) -> None:
    assert upper.cached.warm([["a", "b"], (["b", "c"],), {"texts": ["a"], "mark": "!"}]) == 4
    assert upper.cached.warm([["a", "b", "c"]]) == 0
    assert upper.calls == [["a", "b"], ["c"], ["a"]]


def test_each_item_has_a_key(upper: Upper) -> None:
    keys: Any = upper.cached.cache_key(["a", "b", "a"])
    assert keys[0] == keys[2] != keys[1]
    marked: Any = upper.cached.cache_key(["a"], "!")
    assert marked != keys[:1]


def test_it_can_be_explained(upper: Upper) -> None:
    upper.cached(["a"])
    text = str(upper.cached.explain(["a", "b", "b"]))
    assert "list of 3 items, 2 of them distinct" in text
    assert "1 fresh, 1 nothing" in text
    lines = upper.cached.explain_key(["a", "b"]).lines
    assert lines[-2].startswith("texts[0]: ")
    assert upper.cached.cache_key(["a"])[0].digest.hex() in lines[-2]  # type: ignore[index]


@pytest.mark.usefixtures("clock")
def test_what_is_put_together_does_not_end_together() -> None:
    upper = Upper(ttl=Expiry(100, jitter=0.5))
    upper.cached.put(["A", "B", "C"], ["a", "b", "c"])
    kept = [upper.cached.peek([text]) for text in "abc"]
    assert len({each.expires_at for each in kept if each is not None}) == 3


def test_an_explanation_counts_what_is_no_answer(clock: FakeClock) -> None:
    def fail(xs: list[int]) -> list[int]:  # noqa: ARG001
        raise ValueError("no")

    cached = ml_cache(backend=LRU, batch="xs", ttl=Expiry("1m", errors="10s"))(fail)
    with pytest.raises(ValueError, match="no"):
        cached([1])
    assert cached.explain([1, 2]).tiers == {"lru": "1 fresh exception, 1 nothing"}
    with FakeClock(clock.now() - 60):
        assert cached.explain([1]).tiers == {"lru": "1 from the future"}


def test_a_tier_that_has_all_items_has_the_name_that_tells_it_from_others_of_its_kind() -> None:
    @ml_cache(backend="lru?max_items=2, lru?max_items=99", batch="xs")
    def same(xs: list[int]) -> list[int]:
        return xs

    same([1, 2])
    same([3, 4])
    assert same.call_with_info([1, 2]).tier == "lru 2" == list(same.explain([1]).tiers)[1]


def test_an_item_without_a_key_is_not_said_to_be_left_out_of_it() -> None:
    def same(xs: list[object]) -> list[object]:
        return xs

    with pytest.raises(UnhashableArgumentError, match=r"xs\[1\] .* Two ways out: say what .*key=") as raised:
        ml_cache(backend=LRU, batch="xs")(same)([1, object()])
    assert "ignore" not in str(raised.value)


def test_all_its_terms_are_explained() -> None:
    upper = Upper(ttl=Expiry("1h", early=1, jitter=0.2, errors=60))
    text = str(upper.cached.explain(["a"]))
    assert "ttl 1h, Exception kept for 1m, early 1, jitter 0.2" in text


def test_what_was_kept_under_another_version_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert order.BATCH_VERSION > 1  # under which rows may have been kept for other items
    now = Upper().cached.cache_key(["a"])
    monkeypatch.setattr(order, "BATCH_VERSION", 1)
    assert Upper().cached.cache_key(["a"]) != now


def test_arrays_of_different_kinds_have_keys_of_their_own() -> None:
    @ml_cache(backend=LRU, batch="rows")
    def same(rows: Any) -> Any:
        return list(rows)

    fields = [("a", "f4"), ("b", "f4")]
    kinds = [
        np.zeros((1, 2)), np.zeros((1, 2), ">f8"), np.zeros((1, 2), "f4"), np.zeros((1, 1)), np.zeros(1),
        np.zeros((1, 2), "M8[s]"), np.zeros((1, 2), "M8[ms]"), np.zeros(1, fields), [0.0], (0.0,),
    ]  # fmt: skip
    keys_of: Any = same.cache_key  # one of each item
    for _ in range(2):  # from the second time on, what they have in common is known
        keys = [keys_of(each)[0] for each in kinds]
        assert len(set(keys)) == len(kinds)


def test_counts_are_of_items(upper: Upper) -> None:
    upper.cached(["a", "b", "a"])
    upper.cached(["a", "b", "c"])
    info = upper.cached.cache_info()
    assert (info.hits, info.misses, info.currsize) == (2, 3, 3)
    upper.cached.cache_clear()
    assert upper.cached.cache_info()[:2] == (0, 0)


def test_where_caching_is_off_the_function_is_called_as_it_is(upper: Upper) -> None:
    with disabled():
        assert upper.cached(["a", "a"]) == ["A", "A"]
        assert upper.cached.refresh(["a"]) == ["A"]
    assert upper.cached.uncached(["a", "a"]) == ["A", "A"]
    assert upper.calls == [["a", "a"], ["a"], ["a", "a"]]
    assert upper.cached.cache_info().currsize == 0


def test_calls_are_split_by_size_bytes_and_cost() -> None:
    by_size, by_cost = (
        Upper(batch=Batch("texts", max_size=2)),
        Upper(batch=Batch("texts", cost=len, max_cost=4)),
    )
    texts = ["a", "bb", "ccc", "dddddd", "e", "a"]
    assert by_size.cached(texts) == by_cost.cached(texts) == [text.upper() for text in texts]
    assert by_size.calls == [["a", "bb"], ["ccc", "dddddd"], ["e"]]
    assert by_cost.calls == [["a", "bb"], ["ccc"], ["dddddd"], ["e"]]


async def test_all_of_it_can_be_awaited() -> None:
    upper = Upper()
    aio = upper.cached.aio
    assert await aio(["a", "b"]) == ["A", "B"]
    assert (await aio.call_with_info(["a"])).status == "hit"
    await aio.put(["x"], ["c"])
    peeked = await aio.peek(["c"])
    assert peeked is not None
    assert peeked.value == ["x"]
    assert await aio.invalidate(["c"])
    assert await aio.refresh(["c"]) == ["C"]
    assert await aio.warm([["a", "d"]]) == 1
    assert list(await asyncio.gather(aio(["a", "e"]), aio(["e", "a"]))) == [["A", "E"], ["E", "A"]]
    assert len(await aio.cache_key(["a", "b"])) == 2  # type: ignore[arg-type]
    assert upper.calls == [["a", "b"], ["c"], ["d"], ["e"]]


def test_rows_survive_in_every_store(backend: str) -> None:
    """Frames, arrays and texts come back from bytes as they were, for a process that starts anew."""
    moments = pd.date_range("2026-01-01", periods=3, tz="UTC")
    forms: dict[str, Any] = {
        "frame": pd.DataFrame({"a": [1.5, 2, 3], "b": ["x", "y", None], "c": [1, 2, 3]}),
        "zones": pd.DataFrame({"when": moments, "kind": pd.Categorical(["a", "b", "a"])}),
        "series": pd.Series([1, None, 3], dtype="Int64", name="n"),
        "array": np.arange(6, dtype=np.float32).reshape(3, 2),
        "texts": np.array(["a", "bb", "ccc"]),
        "tuple": ("a", 1, None),
    }
    for name, answer in forms.items():
        made = [_kept(backend, name, answer) for _ in range(2)]
        for cached in made:
            found = cached((1, 2, 3) if name == "tuple" else [1, 2, 3])
            if isinstance(answer, pd.DataFrame):
                pd.testing.assert_frame_equal(found, answer)
            elif isinstance(answer, pd.Series):
                pd.testing.assert_series_equal(found, answer)
            else:
                np.testing.assert_array_equal(found, answer)
        assert made[0].cache_info().misses == 3
        assert "lru?" in backend or made[1].cache_info()[:2] == (3, 0)
        for cached in made:
            cached._actions.cache.store.close()


def _kept(backend: str, name: str, answer: Any) -> Any:
    @ml_cache(backend=backend, batch="numbers", version="1", name=name)
    def function(numbers: list[int]) -> Any:
        _ = numbers
        return answer

    return function


# Rows of frames


def test_batches_without_rows_are_answered_by_the_function() -> None:
    frame = pd.DataFrame({"a": [3, 1, 2], "t": ["x", "y", "z"]})

    @ml_cache(backend=LRU, batch="items")
    def doubled(items: Any) -> Any:
        return items * 2

    none = frame[frame["a"] > 9]
    pd.testing.assert_frame_equal(doubled(none), none * 2)
    pd.testing.assert_series_equal(doubled(none["a"]), none["a"] * 2)
    assert doubled.peek(none) is None
    doubled.put(none * 2, none)
    assert not doubled.invalidate(none)


def sorted_rows(frame: pd.DataFrame) -> Any:
    return frame.assign(b=frame["a"] * 10).sort_values("a")


def sorted_series(frame: pd.DataFrame) -> Any:
    return frame["a"].sort_values() * 10


@pytest.mark.parametrize("function", [sorted_rows, sorted_series])
@pytest.mark.parametrize(
    "index",
    [
        None,
        ["p", "q", "r"],
        [7, 3, 5],
        [2, 0, 1],
        pd.MultiIndex.from_tuples([("p", 1), ("p", 2), ("q", 1)]),
        pd.interval_range(0, 3),
    ],
    ids=str,
)
def test_answers_in_another_order_are_told_by_their_labels(function: Any, index: Any) -> None:
    frame = pd.DataFrame({"a": [3, 1, 2]}, index=index)
    cached = ml_cache(backend=LRU, batch="frame")(function)
    expected = function(frame).loc[frame.index]
    for _ in range(2):
        assert cached(frame).to_numpy().tolist() == expected.to_numpy().tolist()
    for place in range(3):
        row = frame.iloc[[place]]
        assert cached(row).to_numpy().tolist() == function(row).to_numpy().tolist()
    assert cached.cache_info().misses == 3
    cached.put(function(frame), frame)
    assert cached(frame).to_numpy().tolist() == expected.to_numpy().tolist()


def joined_by_number(frame: pd.DataFrame) -> Any:
    tens = frame.copy()
    tens["tens"] = pd.Series(frame["a"].to_numpy() * 10)  # as what a model predicts
    return tens


def looked_up_by_number(frame: pd.DataFrame) -> list[int]:
    return [int(frame["a"].loc[number]) for number in range(len(frame))]


@pytest.mark.parametrize("max_size", [None, 2])
def test_a_frame_that_pandas_numbered_is_numbered_from_0_in_each_call(max_size: int | None) -> None:
    frame = pd.DataFrame({"a": [3, 1, 2, 5]})
    options = Batch("frame", max_size=max_size)
    joined = ml_cache(backend=LRU, batch=options)(joined_by_number)
    looked_up = ml_cache(backend=LRU, batch=options)(looked_up_by_number)
    joined(frame.iloc[[2]])  # so that what is missing then does not lie side by side
    for _ in range(2):
        pd.testing.assert_frame_equal(joined(frame), joined_by_number(frame))
        assert looked_up(frame) == [3, 1, 2, 5]


def follows(frame: pd.DataFrame) -> Any:
    return frame["a"] * 10


def follows_in_an_index_of_its_own(frame: pd.DataFrame) -> Any:
    return (frame["a"] * 10).set_axis(frame.index[::-1][::-1])


def numbers_afresh(frame: pd.DataFrame) -> Any:
    return pd.Series(frame["a"].to_numpy() * 10, name="a")


@pytest.mark.parametrize("max_size", [None, 2])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
@pytest.mark.parametrize("function", [follows, follows_in_an_index_of_its_own, numbers_afresh])
def test_whether_an_index_follows_is_found_out(function: Any, order: Any, max_size: int | None) -> None:
    indexes: list[Any] = [None, ["p", "q", "r"], [0, 1, 0]]
    cached = ml_cache(backend=LRU, batch=Batch("frame", max_size=max_size))(function)
    for place in [*order, *order]:
        frame = pd.DataFrame({"a": [3, 1, 2]}, index=indexes[place])
        pd.testing.assert_series_equal(cached(frame), function(frame))


def test_an_answer_that_may_follow_or_not_fits_one_that_does() -> None:
    cached = ml_cache(backend=LRU, batch="frame")(follows_in_an_index_of_its_own)
    cached(pd.DataFrame({"a": [3]}))  # whose answer has one number, which may be either
    cached(pd.DataFrame({"a": [1]}, index=["q"]))
    both = pd.DataFrame({"a": [3, 1]}, index=["p", "q"])
    pd.testing.assert_series_equal(cached(both), follows(both))
    assert cached.cache_info().misses == 2


def by_cluster(frame: pd.DataFrame) -> Any:
    return pd.DataFrame({"score": frame["a"] * 2.0}).set_index(pd.Index(frame["a"] // 10, name="cluster"))


def by_name(frame: pd.DataFrame) -> Any:
    labels = ["even" if number % 2 == 0 else "odd" for number in frame["a"]]
    return pd.Series(frame["a"].to_numpy(), index=labels)


@pytest.mark.parametrize("max_size", [None, 1])
@pytest.mark.parametrize("function", [by_cluster, by_name])
@pytest.mark.parametrize("label", ["odd", 0, 7])
def test_a_label_of_the_function_may_be_that_of_the_item_by_chance(
    label: Any, function: Any, max_size: int | None
) -> None:
    frames = [
        pd.DataFrame({"a": [3]}, index=[label]),
        pd.DataFrame({"a": [4]}, index=["even"]),
        pd.DataFrame({"a": [3, 4, 25]}, index=[label, "q", "r"]),
        pd.DataFrame({"a": [3, 4, 71]}, index=["x", "y", "z"]),
    ]
    cached = ml_cache(backend=LRU, batch=Batch("frame", max_size=max_size))(function)
    for frame in [*frames, *frames]:
        plain = function(frame)
        (pd.testing.assert_series_equal if plain.ndim == 1 else pd.testing.assert_frame_equal)(
            cached(frame), plain
        )


@pytest.mark.parametrize("index", [["p", "q"], None, pd.Index(["p", "q"], name="old")])
def test_an_index_may_follow_under_a_name_of_its_own(index: Any) -> None:
    cached = ml_cache(backend=LRU, batch="frame")(lambda frame: frame.rename_axis("id"))
    frame = pd.DataFrame({"a": [1, 2]}, index=index)
    for _ in range(2):
        pd.testing.assert_frame_equal(cached(frame), frame.rename_axis("id"))


def test_who_renames_the_index_of_an_answer_renames_none_of_his_own() -> None:
    cached = ml_cache(backend=LRU, batch="frame")(follows)
    for frame in (pd.DataFrame({"a": [1, 2]}, index=["p", "q"]), pd.DataFrame({"a": [1, 2]})):
        cached(frame).index.name = "mine"
        assert frame.index.name is None
        assert cached(frame).index.name is None


def test_answers_are_kept_in_their_order_where_labels_do_not_say_whose_they_are() -> None:
    shuffled = pd.DataFrame({"a": [3, 1, 2], "id": [2, 3, 1]}, index=[2, 0, 1])

    @ml_cache(backend=LRU, batch="frame")
    def numbered_afresh(frame: pd.DataFrame) -> Any:
        return pd.Series(frame["a"].to_numpy() * 10)

    @ml_cache(backend=LRU, batch="frame")
    def by_id(frame: pd.DataFrame) -> Any:
        return frame.set_index("id")["a"] * 10

    @ml_cache(backend=LRU, batch="frame")
    def twice(frame: pd.DataFrame) -> Any:
        return pd.Series(frame["a"].to_numpy() * 10, index=["x", "y", "x"])

    plain = shuffled.reset_index(drop=True)
    assert numbered_afresh(shuffled).tolist() == [30, 10, 20]
    assert by_id(plain).tolist() == [30, 10, 20]
    assert twice(shuffled.set_axis(["x", "x", "y"])).tolist() == [30, 10, 20]


def test_numbers_of_chunks_get_the_type_that_holds_them_all() -> None:
    calls: list[int] = []

    @ml_cache(backend=LRU, batch=Batch("numbers", max_size=2))
    def halves(numbers: list[int]) -> Any:
        calls.append(len(numbers))
        return np.array([number // 2 if number % 2 == 0 else number / 2 for number in numbers])

    for _ in range(2):
        found = halves([2, 4, 1, 3])
        assert found.dtype == np.float64
        assert found.tolist() == [1, 2, 0.5, 1.5]
    assert calls == [2, 2]
    assert halves([2, 4]).dtype == np.int64


def test_numbers_that_no_common_type_holds_exactly_do_not_fit_together() -> None:
    @ml_cache(backend=LRU, batch=Batch("numbers", max_size=1))
    def same(numbers: list[int]) -> Any:
        return np.array(numbers)

    with pytest.raises(BatchAnswerError, match="do not fit together"):
        same([1, 2**63])
