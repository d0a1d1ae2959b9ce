"""Single items: each under its own key, computed in batches with others."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Optional
from unittest import mock

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from mlcache import (
    Batch,
    BatchTimeoutError,
    ConfigurationError,
    Expiry,
    RecursiveCallError,
    clock,
    disabled,
    ml_cache,
)
from mlcache.batch import parts
from mlcache.batch.seats import Seat
from mlcache.batch.singles import Singles
from mlcache.flight import Flight
from mlcache.testing import FakeClock

LRU = "lru?max_bytes=8MiB"


class Gate:
    """Holds up a function until it is opened, and tells when somebody has come."""

    def __init__(self) -> None:
        self.came = threading.Event()
        self._open = threading.Event()

    def __ml_cache_key__(self) -> str:
        return "gate"

    def open(self) -> None:
        self._open.set()

    def pass_through(self) -> None:
        self.came.set()
        assert self._open.wait(20)


def waiting(cached: Any) -> int:
    count: int = cached._actions.singles.batcher.waiting
    return count


def wait_until(condition: Callable[[], object]) -> None:
    pause = threading.Event()
    while not condition():
        pause.wait(0.002)


def held_up(gate: Gate, calls: list[Any], **options: Any) -> Any:
    """A function of texts, whose first batch waits at the gate."""

    @ml_cache(backend=LRU, batch=Batch("texts", **options))
    def upper(texts: list[str], mark: str = "") -> list[str]:
        calls.append(list(texts))
        gate.pass_through()
        if "bad" in texts:
            raise ValueError("a bad text")
        return [text.upper() + mark for text in texts]

    return upper


def test_a_single_item_and_batches_share_answers() -> None:
    calls: list[list[str]] = []

    @ml_cache(backend=LRU, batch="texts")
    def upper(texts: list[str], mark: str = "") -> list[str]:
        calls.append(list(texts))
        return [text.upper() + mark for text in texts]

    assert upper.one("a") == "A"
    assert upper(["a", "b"]) == ["A", "B"]
    assert upper.one("b") == "B"
    assert upper.one("b", "!") == upper.one("b", mark="!") == "B!"
    assert calls == [["a"], ["b"], ["b"]]
    assert upper.cache_info().hits == 3


def test_a_lone_item_is_computed_in_the_thread_that_asks() -> None:
    @ml_cache(backend=LRU, batch="texts")
    def where(texts: list[str]) -> list[str]:
        return [threading.current_thread().name for _ in texts]

    assert where.one("a") == threading.current_thread().name


def test_items_gather_while_a_batch_is_computed() -> None:
    gate, calls = Gate(), list[Any]()
    upper = held_up(gate, calls, max_size=3)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(upper.one, "a")
        assert gate.came.wait(20)
        others = [pool.submit(upper.one, text) for text in ("b", "c", "d", "e", "b")]
        wait_until(lambda: waiting(upper) == 4)  # who asks for "b" twice follows himself
        gate.open()
        assert [future.result(20) for future in (first, *others)] == ["A", "B", "C", "D", "E", "B"]
    assert [len(call) for call in calls] == [1, 3, 1]


def test_as_many_batches_run_as_were_asked_for() -> None:
    both = threading.Barrier(2, timeout=20)

    @ml_cache(backend=LRU, batch=Batch("texts", concurrency=2), ignore=["both"])
    def upper(texts: list[str]) -> list[str]:
        both.wait()
        return [text.upper() for text in texts]

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(upper.one, ["a", "b"])) == ["A", "B"]


def test_a_bad_item_fails_alone() -> None:
    gate, calls = Gate(), list[Any]()
    upper = held_up(gate, calls)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(upper.one, "first")
        assert gate.came.wait(20)
        others = {text: pool.submit(upper.one, text) for text in ("a", "bad", "b")}
        wait_until(lambda: waiting(upper) == 3)
        gate.open()
        assert first.result(20) == "FIRST"
        assert (others["a"].result(20), others["b"].result(20)) == ("A", "B")
        with pytest.raises(ValueError, match="a bad text"):
            others["bad"].result(20)
    assert [len(call) for call in calls] == [1, 3, 1, 1, 1]


async def test_a_bad_item_keeps_no_other_from_being_renewed() -> None:
    bad: list[str] = []

    @ml_cache(backend=LRU, batch="texts", ttl=Expiry(10, stale_if_error="1h"), ignore=["bad"])
    async def at(texts: list[str]) -> list[tuple[str, float]]:
        await asyncio.sleep(0)
        if {*bad} & {*texts}:
            raise ValueError("a bad text")
        return [(text, clock.now()) for text in texts]

    with FakeClock() as time:
        texts, began = ["a", "b", "c"], clock.now()
        await at(texts)
        time.advance(60)
        bad.append("b")
        answers = await asyncio.gather(*map(at.one, texts))
    assert [(text, made - began) for text, made in answers] == [("a", 60), ("b", 0), ("c", 60)]


def test_without_isolation_a_batch_fails_together() -> None:
    gate, calls = Gate(), list[Any]()
    upper = held_up(gate, calls, isolate=False)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(upper.one, "first")
        assert gate.came.wait(20)
        others = [pool.submit(upper.one, text) for text in ("a", "bad")]
        wait_until(lambda: waiting(upper) == 2)
        gate.open()
        assert first.result(20) == "FIRST"
        for future in others:
            with pytest.raises(ValueError, match="a bad text"):
                future.result(20)
    assert len(calls) == 2


def test_an_item_does_not_wait_longer_than_asked() -> None:
    gate, calls = Gate(), list[Any]()
    upper = held_up(gate, calls, timeout="20ms")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(upper.one, "first")
        assert gate.came.wait(20)
        with pytest.raises(BatchTimeoutError, match=r"within 0\.02 s"):
            upper.one("late")
        assert not waiting(upper)
        gate.open()
        assert first.result(20) == "FIRST"
    assert calls == [["first"]]


def test_who_asked_later_for_an_item_that_is_too_late_has_his_own_time() -> None:
    gate, calls = Gate(), list[Any]()
    upper = held_up(gate, calls, timeout="1h")
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(upper.one, "first")
        assert gate.came.wait(20)
        late = pool.submit(upper.one, "x")
        wait_until(lambda: waiting(upper))
        (rider,) = upper._actions.singles.batcher._queue.clear()
        batch = pool.submit(upper, ["x"])
        wait_until(lambda: rider.flight.waiters > 1)
        rider.leave(late=True)
        with pytest.raises(BatchTimeoutError, match="within 3600 s"):
            late.result(20)
        gate.open()
        assert batch.result(20) == ["X"]
        assert first.result(20) == "FIRST"


def test_who_has_to_ask_again_does_not_begin_to_wait_anew() -> None:
    with FakeClock() as fake:
        upper = held_up(Gate(), [], timeout="10s")
        actions: Any = upper._actions
        order = actions.order_of_one("x", (), {})
        begun = clock.ticks()
        fake.advance(4)
        rider = actions.singles.seated("x", order, Seat(0, Flight(order.keys[0])), begun)
        assert rider.remaining == pytest.approx(6)
        fake.advance(7)
        assert rider.remaining == 0


async def test_on_an_event_loop_plain_functions_are_batched_without_a_thread_each() -> None:
    gate, calls = Gate(), list[Any]()
    upper = held_up(gate, calls, max_size=64)
    tasks = [asyncio.create_task(upper.aio.one(f"text {number}")) for number in range(200)]
    while not gate.came.is_set():
        await asyncio.sleep(0.001)
    assert waiting(upper) == 136
    gate.open()
    assert await asyncio.gather(*tasks) == [f"TEXT {number}" for number in range(200)]
    assert [len(call) for call in calls] == [64, 64, 64, 8]


async def test_workers_that_are_idle_share_what_comes_at_the_same_moment() -> None:
    calls: list[list[int]] = []
    all_of_them = threading.Barrier(3, timeout=20)

    @ml_cache(backend=LRU, batch=Batch("numbers", concurrency=3), ignore=["all_of_them"])
    def double(numbers: list[int]) -> list[int]:
        calls.append(numbers)
        all_of_them.wait()
        return [number * 2 for number in numbers]

    found = await asyncio.gather(*(double.aio.one(number) for number in range(30)))
    assert found == [number * 2 for number in range(30)]
    assert [len(call) for call in calls] == [10, 10, 10]


async def test_a_loop_may_be_blocked_by_who_waits_for_an_item_of_the_same_turn() -> None:
    @ml_cache(backend=LRU, batch="numbers")
    def double(numbers: list[int]) -> list[int]:
        return [number * 2 for number in numbers]

    async def block() -> Any:
        return double.one(1)

    found = await asyncio.gather(double.aio.one(1), block(), double.aio.one(2))
    assert list(found) == [2, 2, 4]


async def test_a_batch_may_ask_for_single_items_on_a_loop_of_its_own() -> None:
    @ml_cache(backend=LRU, batch="numbers")
    def depth(numbers: list[int]) -> list[int]:
        return [asyncio.run(depth.aio.one(number - 1)) + 1 if number else 0 for number in numbers]

    assert await depth.aio.one(3) == 3


async def test_a_cancelled_item_leaves_before_its_batch_and_hurts_nobody() -> None:
    gate, calls = Gate(), list[Any]()
    upper = held_up(gate, calls)
    first = asyncio.create_task(upper.aio.one("first"))
    while not gate.came.is_set():
        await asyncio.sleep(0.001)
    tasks = {text: asyncio.create_task(upper.aio.one(text)) for text in ("a", "b", "c")}
    again = asyncio.create_task(upper.aio.one("c"))
    while waiting(upper) < 3:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)
    tasks["b"].cancel()
    tasks["c"].cancel()  # for which somebody else waits as well
    await asyncio.wait([tasks["b"], tasks["c"]])
    gate.open()
    assert (await first, await tasks["a"], await again) == ("FIRST", "A", "C")
    assert calls[0] == ["first"]
    assert sorted(calls[1]) == ["a", "c"]
    assert len(calls) == 2


async def test_coroutine_functions_are_batched_by_tasks() -> None:
    calls: list[int] = []
    go = asyncio.Event()

    @ml_cache(backend=LRU, batch=Batch("numbers", max_size=16), ignore=["go"])
    async def double(numbers: list[int]) -> list[int]:
        calls.append(len(numbers))
        await go.wait()
        return [number * 2 for number in numbers]

    tasks = [asyncio.create_task(double.one(number)) for number in range(40)]
    while len(calls) < 1:
        await asyncio.sleep(0)
    go.set()
    assert await asyncio.gather(*tasks) == [number * 2 for number in range(40)]
    assert sum(calls) == 40
    assert len(calls) <= 5
    assert await double.one(3) == 6


async def test_an_item_of_a_coroutine_function_does_not_wait_longer_than_asked() -> None:
    began, go = asyncio.Event(), asyncio.Event()

    @ml_cache(backend=LRU, batch=Batch("numbers", timeout="20ms"), ignore=["began", "go"])
    async def double(numbers: list[int]) -> list[int]:
        began.set()
        await go.wait()
        return [number * 2 for number in numbers]

    first = asyncio.create_task(double.one(1))
    await began.wait()
    with pytest.raises(BatchTimeoutError):
        await double.one(2)
    go.set()
    assert await first == 2


def test_loops_that_come_one_after_the_other_each_have_their_batches() -> None:
    @ml_cache(backend=LRU, batch="numbers")
    async def double(numbers: list[int]) -> list[int]:
        await asyncio.sleep(0)
        return [number * 2 for number in numbers]

    for number in range(3):
        assert asyncio.run(double.one(number)) == number * 2
    singles: Any = double._actions.singles  # type: ignore[attr-defined]
    assert len(singles._of_loops) == 1  # those that are closed are let go


def test_a_batch_that_asks_for_its_own_item_is_told_so_and_may_ask_for_others() -> None:
    @ml_cache(backend=LRU, batch="numbers")
    def depth(numbers: list[int]) -> list[int]:
        return [
            depth.one(number - 1) + 1 if number > 0 else number and depth.one(number) for number in numbers
        ]

    assert depth.one(3) == 3
    with pytest.raises(RecursiveCallError, match="an item of the batch that it computes"):
        depth.one(-1)


def test_buckets_keep_apart_what_does_not_fit_together() -> None:
    gate, calls = Gate(), list[Any]()

    @ml_cache(backend=LRU, batch=Batch("rows", bucket="shape", collate=np.stack))
    def total(rows: Any) -> Any:
        calls.append(rows.shape)
        gate.pass_through()
        return rows.sum(axis=1)

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(total.one, np.ones(1))
        assert gate.came.wait(20)
        rows = [np.full(size, fill) for fill in (1.0, 2.0) for size in (2, 3)]
        others = [pool.submit(total.one, row) for row in rows]
        wait_until(lambda: waiting(total) == 4)
        gate.open()
        assert first.result(20) == 1
        assert [future.result(20) for future in others] == [2.0, 3.0, 4.0, 6.0]
    assert sorted(calls) == [(1, 1), (2, 2), (2, 3)]


def test_padding_goes_into_collate() -> None:
    gate, calls = Gate(), list[Any]()

    def pad(rows: list[list[int]]) -> Any:
        longest = max(map(len, rows))
        return np.array([row + [0] * (longest - len(row)) for row in rows])

    @ml_cache(backend=LRU, batch=Batch("rows", collate=pad))
    def total(rows: Any) -> Any:
        calls.append(rows.shape)
        gate.pass_through()
        return rows.sum(axis=1)

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(total.one, [5])
        assert gate.came.wait(20)
        others = [pool.submit(total.one, row) for row in ([1, 2], [1, 2, 3], [4])]
        wait_until(lambda: waiting(total) == 3)
        gate.open()
        assert [future.result(20) for future in (first, *others)] == [5, 3, 6, 4]
    assert calls == [(1, 1), (3, 3)]
    assert total(np.array([[1, 2]])).tolist() == [3]
    assert len(calls) == 2


def test_batches_are_bound_by_bytes_and_by_cost() -> None:
    gate, calls = Gate(), list[Any]()
    upper = held_up(gate, calls, cost=len, max_cost=6)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(upper.one, "first")
        assert gate.came.wait(20)
        others = [pool.submit(upper.one, text) for text in ("aaaa", "bbb", "cc", "ddddddddd")]
        wait_until(lambda: waiting(upper) == 4)
        gate.open()
        assert [future.result(20) for future in (first, *others)][1:] == ["AAAA", "BBB", "CC", "D" * 9]
    assert all(sum(map(len, call)) <= 6 or len(call) == 1 for call in calls)
    assert max(map(len, calls)) > 1


def test_annotations_say_what_single_items_become() -> None:
    seen: Counter[str] = Counter()

    def tell(items: Any) -> Any:
        seen[type(items).__name__] += 1
        return [str(item) for item in items] if not isinstance(items, pd.DataFrame) else ["row"] * len(items)

    @ml_cache(backend=LRU, batch="x", name="arrays")
    def of_arrays(x: npt.NDArray[np.float64]) -> list[str]:
        return tell(x)  # type: ignore[no-any-return]

    @ml_cache(backend=LRU, batch="x", name="arrays or none")
    def of_arrays_or_none(x: Optional[npt.NDArray[np.float64]] = None) -> list[str]:  # noqa: UP045 - as some write it
        return tell(x)  # type: ignore[no-any-return]

    @ml_cache(backend=LRU, batch="x", name="noted arrays")
    def of_noted_arrays(x: Annotated[None | npt.NDArray[np.float64], "rows"]) -> list[str]:  # noqa: RUF036 - as above
        return tell(x)  # type: ignore[no-any-return]

    @ml_cache(backend=LRU, batch="x", name="tuples")
    def of_tuples(x: tuple[str, ...]) -> list[str]:
        return tell(x)  # type: ignore[no-any-return]

    @ml_cache(backend=LRU, batch="x", name="series")
    def of_series(x: pd.Series[Any]) -> list[str]:
        return tell(x)  # type: ignore[no-any-return]

    @ml_cache(backend=LRU, batch="x", name="frames")
    def of_frames(x: pd.DataFrame) -> list[str]:
        return tell(x)  # type: ignore[no-any-return]

    @ml_cache(backend=LRU, batch="x", name="lists")
    def of_anything(x):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - no annotation is what is tested
        return tell(x)

    assert of_arrays.one(np.arange(2.0)) == "[0. 1.]"
    assert of_arrays.one(1.5) == "1.5"
    assert of_arrays_or_none.one(1.5) == of_noted_arrays.one(1.5) == "1.5"
    assert of_tuples.one("a") == of_series.one("a") == of_anything.one("a") == "a"
    assert of_frames.one(pd.DataFrame({"a": [1]})) == "row"
    assert seen == {"ndarray": 4, "tuple": 1, "Series": 1, "DataFrame": 1, "list": 1}


def test_answers_of_any_form_are_taken_apart_for_one() -> None:
    @ml_cache(backend=LRU, batch="x", name="arrays")
    def to_rows(x: list[int]) -> Any:
        return np.outer(x, [1, 2])

    @ml_cache(backend=LRU, batch="x", name="frames")
    def to_frame(x: list[int]) -> Any:
        return pd.DataFrame({"double": [2 * each for each in x]})

    @ml_cache(backend=LRU, batch="x", name="dicts")
    def to_dict(x: list[int]) -> Any:
        return {each: -each for each in x}

    for _ in range(2):
        np.testing.assert_array_equal(to_rows.one(3), [3, 6])
        pd.testing.assert_frame_equal(to_frame.one(3), pd.DataFrame({"double": [6]}))
        assert to_dict.one(3) == -3


def test_methods_have_their_own_single_items() -> None:
    class Model:
        def __init__(self, factor: int) -> None:
            self.factor = factor

        def __ml_cache_key__(self) -> int:
            return self.factor

        @ml_cache(backend=LRU, batch="numbers")
        def scale(self, numbers: list[int]) -> list[int]:
            return [number * self.factor for number in numbers]

    assert (Model(2).scale.one(4), Model(3).scale.one(4)) == (8, 12)
    assert Model(2).scale([4, 5]) == [8, 10]


def test_where_caching_is_off_each_item_is_computed_by_itself() -> None:
    calls: list[list[int]] = []

    @ml_cache(backend=LRU, batch="numbers")
    def double(numbers: list[int]) -> list[int]:
        calls.append(numbers)
        return [number * 2 for number in numbers]

    with disabled():
        assert double.one(1) == double.one(1) == 2
    assert calls == [[1], [1]]


def test_a_function_of_one_thing_has_no_single_items() -> None:
    @ml_cache(backend=LRU)
    def double(number: int) -> int:
        return number * 2

    with pytest.raises(ConfigurationError, match="not decorated with batch"):
        double.one(1)


def first_of(frame: pd.DataFrame) -> list[int]:
    rows: list[int] = frame["a"].tolist()
    return rows


@pytest.mark.parametrize("rows", [[], [1, 2], [1, 1]])
@pytest.mark.parametrize("off", [False, True])
def test_one_refuses_what_is_not_a_single_item(rows: list[int], *, off: bool) -> None:
    cached = ml_cache(backend=LRU, batch="frame")(first_of)
    many = pd.DataFrame({"a": np.array(rows, np.int64)})
    message = f"collate made {len(rows)} items.*iloc"
    if off:
        with disabled(), pytest.raises(ConfigurationError, match=message):
            cached.one(many)
    else:
        with pytest.raises(ConfigurationError, match=message):
            cached.one(many)
    assert cached(pd.DataFrame({"a": [1, 2]})) == [1, 2]  # no flight is left behind
    assert cached.one(pd.DataFrame({"a": [2]})) == 2


def test_threads_that_begin_together_share_one_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    @ml_cache(backend=LRU, batch="numbers")
    def double(numbers: list[int]) -> list[int]:
        return [number * 2 for number in numbers]

    made = list[Singles]()

    def make(*args: Any) -> Singles:
        made.append(Singles(*args))
        return made[-1]

    monkeypatch.setattr(parts, "Singles", make)
    actions: Any = double._actions
    make_anew = type(actions).singles.func  # what a second thread calls that found nothing just before
    assert make_anew(actions) is make_anew(actions) is actions.singles
    assert len(made) == 1


async def test_items_fail_where_no_thread_can_be_started_for_them() -> None:
    @ml_cache(backend=LRU, batch="numbers")
    def double(numbers: list[int]) -> list[int]:
        return [number * 2 for number in numbers]

    assert await double.aio.one(0) == 0
    actions: Any = double._actions
    while actions.singles.batcher._busy:
        await asyncio.sleep(0)
    tasks = [asyncio.create_task(double.aio.one(number)) for number in (1, 2)]
    with mock.patch.object(threading.Thread, "start", side_effect=RuntimeError("can't start new thread")):
        await asyncio.wait(tasks, timeout=20)
    for task in tasks:
        with pytest.raises(RuntimeError, match="new thread"):
            await asyncio.wait_for(task, 1)
    assert await double.aio.one(1) == 2
