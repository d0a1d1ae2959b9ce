"""Batches that ask for single items themselves, while others wait for the same, and options that raise."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mlcache import Batch, BatchTimeoutError, ConfigurationError, ml_cache

LRU = "lru?max_bytes=8MiB"


def waiting(cached: Any) -> int:
    count: int = cached._actions.singles.batcher.waiting
    return count


@pytest.mark.parametrize("how", ["one", "batch"])
def test_a_batch_may_ask_for_an_item_that_waits_for_its_slot(how: str) -> None:
    began, go = threading.Event(), threading.Event()

    @ml_cache(backend=LRU, batch="numbers", ignore=["began", "go"])
    def depth(numbers: list[int]) -> list[int]:
        if 3 in numbers:
            began.set()
            assert go.wait(20)
        less = [number - 1 for number in numbers if number]
        below = (depth(less) if how == "batch" else [depth.one(each) for each in less]) if less else []
        return [below.pop(0) + 1 if number else 0 for number in numbers]

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(depth.one, 3)
        assert began.wait(20)
        second = threads.submit(depth.one, 2)  # waits for the slot of the first
        while not waiting(depth):
            threading.Event().wait(0.001)
        go.set()  # which now asks for the second
        assert (first.result(20), second.result(20)) == (3, 2)


def test_a_time_limit_ends_the_wait_of_a_batch_for_its_own_slot() -> None:
    @ml_cache(backend=LRU, batch=Batch("numbers", timeout=0.05))
    def depth(numbers: list[int]) -> list[int]:
        less = [number - 1 for number in numbers if number]
        with ThreadPoolExecutor(1) as threads:  # that do not know that they run for a batch
            below = list(threads.map(depth.one, less))
        return [below.pop(0) + 1 if number else 0 for number in numbers]

    with pytest.raises(BatchTimeoutError, match="no batch began"):
        depth.one(2)


@pytest.mark.parametrize("first", ["batch", "item"])
def test_a_batch_may_wait_for_somebody_who_waits_for_its_slot(first: str) -> None:
    began, may_ask, may_wait = threading.Event(), threading.Event(), threading.Event()

    @ml_cache(backend=LRU, version="1", ignore=["may_ask", "batched"])
    def between(number: int) -> Any:
        assert may_ask.wait(20)
        return batched.one(number)

    @ml_cache(backend=LRU, batch="numbers", version="1", ignore=["began", "may_wait", "between"])
    def batched(numbers: list[int]) -> list[int]:
        if 0 not in numbers:
            return [-number for number in numbers]
        began.set()
        assert may_wait.wait(20)
        return [between(5) for _ in numbers]

    def wait_until(condition: Any) -> None:
        while not condition():
            threading.Event().wait(0.001)

    flights = between._actions.cache.flights._flights
    with ThreadPoolExecutor(2) as threads:
        leader = threads.submit(between, 5)
        wait_until(lambda: flights)
        batch = threads.submit(batched.one, 0)  # has the slot
        wait_until(began.is_set)
        if first == "batch":
            may_wait.set()
            wait_until(lambda: any(flight.waiters for flight in list(flights.values())))
            may_ask.set()
        else:
            may_ask.set()
            wait_until(lambda: waiting(batched))
            may_wait.set()
        assert (leader.result(20), batch.result(20)) == (-5, -5)


async def test_a_batch_of_a_coroutine_function_may_do_so_too() -> None:
    began, go = asyncio.Event(), asyncio.Event()

    @ml_cache(backend=LRU, batch="numbers", ignore=["began", "go"])
    async def depth(numbers: list[int]) -> list[int]:
        if 3 in numbers:
            began.set()
            await go.wait()
        return [await depth.one(number - 1) + 1 if number else 0 for number in numbers]

    first = asyncio.create_task(depth.one(3))
    await began.wait()
    second = asyncio.create_task(depth.one(2))
    for _ in range(5):
        await asyncio.sleep(0)
    go.set()
    assert list(await asyncio.wait_for(asyncio.gather(first, second), 20)) == [3, 2]


def fail(_: object) -> Any:
    raise KeyError("no bucket for this")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"bucket": fail}, KeyError),
        ({"tenant": fail}, KeyError),
        ({"cost": fail, "max_cost": 3}, KeyError),
        ({"bucket": lambda _: []}, ConfigurationError),
        ({"tenant": lambda _: {}}, ConfigurationError),
    ],
)
def test_an_option_that_raises_fails_its_item_and_nobody_waits_for_it(
    options: dict[str, Any], error: type[Exception]
) -> None:
    @ml_cache(backend=LRU, batch=Batch("numbers", **options))
    def same(numbers: list[int]) -> list[int]:
        return numbers

    with ThreadPoolExecutor(1) as threads:
        for _ in range(2):
            with pytest.raises(error):
                threads.submit(same.one, 1).result(20)
            with pytest.raises(error):
                asyncio.run(asyncio.wait_for(same.aio.one(1), 20))
    if "cost" not in options:  # which a batch needs, too
        assert same([1]) == [1]
