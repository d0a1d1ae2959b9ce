"""Batches that callers put together, of items that wait for company in the queue of ``one``."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mlcache import Batch, ml_cache

PATIENCE = 20
PATIENT = Batch("numbers", max_wait=600)


def wait_until(condition: Callable[[], object]) -> None:
    pause = threading.Event()
    while not condition():
        pause.wait(0.001)


def doubling(calls: list[list[int]]) -> Any:
    @ml_cache(batch=PATIENT, ignore=["calls"])
    def double(numbers: list[int]) -> list[int]:
        calls.append(numbers)
        return [number * 2 for number in numbers]

    return double


def waiting(cached: Any) -> int:
    count: int = cached._actions.singles.batcher.waiting
    return count


def test_a_batch_does_not_wait_for_the_company_that_a_single_item_waits_for() -> None:
    calls: list[list[int]] = []
    double = doubling(calls)
    with ThreadPoolExecutor(4) as threads:
        singles = [threads.submit(double.one, number) for number in (1, 2, 1)]
        wait_until(lambda: waiting(double) == 2)
        assert not any(single.done() for single in singles)
        assert threads.submit(double, [1, 3]).result(PATIENCE) == [2, 6]
        assert [single.result(PATIENCE) for single in singles] == [2, 4, 2]
    assert sorted(map(sorted, calls)) == [[1, 2], [3]]


def test_who_comes_after_a_batch_waits_for_company_again() -> None:
    calls: list[list[int]] = []
    double = doubling(calls)
    with ThreadPoolExecutor(2) as threads:
        for number in (1, 2):
            single = threads.submit(double.one, number)
            wait_until(lambda: waiting(double) == 1)
            assert threads.submit(double, [number]).result(PATIENCE) == [number * 2]
            assert single.result(PATIENCE) == number * 2
    assert calls == [[1], [2]]


async def test_nor_does_one_on_an_event_loop() -> None:
    calls: list[list[int]] = []
    double = doubling(calls)
    singles = [asyncio.create_task(double.aio.one(number)) for number in (1, 2)]
    while waiting(double) < 2:
        await asyncio.sleep(0)
    assert await asyncio.wait_for(double.aio([1, 3]), PATIENCE) == [2, 6]
    assert await asyncio.gather(*singles) == [2, 4]
    assert sorted(map(sorted, calls)) == [[1, 2], [3]]


@pytest.mark.parametrize("on_another_loop", [False, True])
async def test_nor_does_one_of_a_coroutine_function(*, on_another_loop: bool) -> None:
    calls: list[list[int]] = []

    @ml_cache(batch=PATIENT, ignore=["calls"])
    async def double(numbers: list[int]) -> list[int]:
        calls.append(numbers)
        return [number * 2 for number in numbers]

    cached: Any = double
    singles = [asyncio.create_task(cached.one(number)) for number in (1, 2)]
    for _ in range(5):
        await asyncio.sleep(0)
    asked = asyncio.to_thread(lambda: asyncio.run(cached([1, 3]))) if on_another_loop else cached([1, 3])
    assert await asyncio.wait_for(asked, PATIENCE) == [2, 6]
    assert await asyncio.gather(*singles) == [2, 4]
    assert sorted(map(sorted, calls)) == [[1, 2], [3]]
