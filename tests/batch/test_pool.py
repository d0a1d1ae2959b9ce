"""Batches that are computed by worker processes."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlcache import Batch, CallTimeoutError, Pool, PoolClosedError, WorkerDied, hook, ml_cache
from mlcache.events import Raised
from tests.batch import steps

LRU = "lru?max_bytes=8MiB"


def test_batches_and_single_items_are_computed_in_workers() -> None:
    with Pool(2) as pool:
        cached = ml_cache(backend=LRU, batch=Batch("numbers", max_size=8), offload=pool)(steps.where)
        found = cached(list(range(20)))
        assert [number for number, _ in found] == list(range(20))
        assert os.getpid() not in {process for _, process in found}
        with ThreadPoolExecutor(16) as threads:
            singles = list(threads.map(cached.one, range(10, 40)))
        assert [number for number, _ in singles] == list(range(10, 40))
        assert singles[:10] == found[10:]


async def test_an_event_loop_awaits_batches_of_workers() -> None:
    with Pool(2) as pool:
        cached = ml_cache(backend=LRU, batch=Batch("numbers", max_size=16), offload=pool)(steps.where)
        found = await asyncio.gather(*(cached.aio.one(number) for number in range(100)))
        assert [number for number, _ in found] == list(range(100))
        assert await cached.aio(list(range(100))) == found
        assert cached.cache_info().misses == 100


@pytest.mark.parametrize("how", ["warm", "aio"])
def test_calls_that_are_warmed_are_computed_by_all_workers(how: str, tmp_path: Path) -> None:
    calls = [([number, number + 1], str(tmp_path)) for number in range(0, 8, 2)]
    with Pool(2) as pool:
        cached = ml_cache(backend=LRU, batch=Batch("numbers", max_size=2), offload=pool)(steps.meet)
        computed = cached.warm(calls) if how == "warm" else asyncio.run(cached.aio.warm(calls))
        assert computed == cached.cache_info().misses == 8
        assert cached.warm(calls) == 0


@pytest.mark.parametrize("how", ["warm", "aio"])
def test_where_a_call_that_is_warmed_fails_no_other_begins(how: str) -> None:
    calls = ([number] for number in chain((1, -1), count(2)))
    with Pool(2) as pool:
        cached = ml_cache(backend=LRU, batch="numbers", offload=pool)(steps.careful)
        with pytest.raises(ValueError, match="below zero"):
            cached.warm(calls) if how == "warm" else asyncio.run(cached.aio.warm(calls))
        assert cached.peek([1]) is not None


@pytest.mark.parametrize("tiers", [LRU, "disk"])
@pytest.mark.parametrize("how", ["call", "aio", "warm"])
def test_chunks_of_one_call_are_computed_by_all_workers(tiers: str, how: str, tmp_path: Path) -> None:
    folder = tmp_path / "begun"
    folder.mkdir()
    backend = tiers if tiers == LRU else f"disk://{tmp_path}/kept"
    with Pool(2) as pool:
        cached = ml_cache(backend=backend, batch=Batch("numbers", max_size=2), offload=pool)(steps.meet)
        numbers = list(range(7))
        if how == "call":
            assert cached(numbers, str(folder)) == numbers
        elif how == "aio":
            assert asyncio.run(cached.aio(numbers, str(folder))) == numbers
        else:
            assert cached.warm([(numbers, str(folder))]) == len(numbers)
        assert cached.cache_info().misses == len(numbers)
        assert cached(numbers[::-1], str(folder)) == numbers[::-1]


@pytest.mark.parametrize("bad", [0, 2])
def test_what_has_begun_beside_a_chunk_that_fails_is_kept(bad: int, tmp_path: Path) -> None:
    with Pool(2) as pool:
        batch = Batch("numbers", max_size=2)
        cached = ml_cache(backend=LRU, batch=batch, offload=pool)(steps.meet_badly)
        numbers = [-1 if number == bad else number for number in range(20)]
        with pytest.raises(ValueError, match="no numbers below zero"):
            cached(numbers, str(tmp_path))
        assert cached.peek([3 - bad], str(tmp_path))  # of the chunk beside it
        assert cached.peek([19], str(tmp_path)) is None  # nothing began after that
        assert cached([19, 3], str(tmp_path)) == [19, 3]


def test_a_worker_gets_its_resources_and_the_caller_knows_nothing_of_them() -> None:
    with Pool(1, resources={"model": steps.load}) as pool:
        cached: Any = ml_cache(backend=LRU, batch="rows", offload=pool, version="1")(steps.scale)
        np.testing.assert_array_equal(cached(np.array([1.0, 2.0])), [3.0, 6.0])
        assert cached.one(2.0) == 6.0


def test_a_bad_item_in_a_worker_fails_alone() -> None:
    with Pool(1) as pool:
        cached = ml_cache(backend=LRU, batch=Batch("numbers", max_wait="50ms"), offload=pool)(steps.careful)
        with ThreadPoolExecutor(4) as threads:
            futures = [threads.submit(cached.one, number) for number in (1, -1, 2)]
            assert [futures[0].result(30), futures[2].result(30)] == [1, 2]
            with pytest.raises(ValueError, match="no numbers below zero"):
                futures[1].result(30)


async def test_steps_of_a_pipeline_have_pools_of_their_own() -> None:
    with Pool(1) as first, Pool(2) as second:
        prepare = ml_cache(backend=LRU, batch=Batch("texts"), offload=first)(steps.prepare)
        predict = ml_cache(backend=LRU, batch=Batch("rows", max_size=8), offload=second)(steps.predict)

        async def answer(text: str) -> float:
            return float(await predict.aio.one(await prepare.aio.one(text)))

        texts = [f"text {number % 20}" for number in range(60)]
        assert await asyncio.gather(*map(answer, texts)) == [float(sum(text.encode())) for text in texts]
        assert (prepare.cache_info().misses, predict.cache_info().misses) == (20, 20)


async def ask(cached: Any, numbers: list[int]) -> dict[int, Any]:
    """By number, the answer or the error of single items that are asked for at once."""
    found = await asyncio.gather(*map(cached.aio.one, numbers), return_exceptions=True)
    return dict(zip(numbers, found, strict=True))


async def test_an_item_that_kills_its_worker_fails_alone() -> None:
    died: list[Any] = []
    with Pool(1) as pool, hook(lambda event: died.append(event) if isinstance(event, Raised) else None):
        cached: Any = ml_cache(backend=LRU, batch="numbers", offload=pool)(steps.deadly)
        found = await ask(cached, [1, 2, -1, 3])
        assert isinstance(found.pop(-1), WorkerDied)
        assert found == {1: 1, 2: 2, 3: 3}
        assert await cached.aio([4, 1]) == [4, 1]
        assert cached.cache_info().currsize == 4
        with pytest.raises(WorkerDied):
            cached([5, -1])
        assert cached([5, 6]) == [5, 6]
    assert {event.key for event in died} == {cached.cache_key([number])[0] for number in (5, -1)}


async def test_an_item_that_hangs_in_its_worker_fails_alone() -> None:
    with Pool(1, timeout="500ms") as pool:
        cached = ml_cache(backend=LRU, batch="numbers", offload=pool)(steps.endless)
        found = await ask(cached, [1, 2, -1])
        assert isinstance(found.pop(-1), CallTimeoutError)
        assert found == {1: 1, 2: 2}


def test_a_batch_that_a_killed_worker_computed_fails_once_and_is_not_kept() -> None:
    with Pool(1) as pool, ThreadPoolExecutor(2) as threads:
        cached = ml_cache(backend=LRU, batch=Batch("numbers", max_size=2), offload=pool)(steps.deadly)
        with pytest.raises(WorkerDied):
            cached([1, 2, 3, -1, 4])
        assert cached.cache_info().currsize == 2  # what came before
        assert list(threads.map(cached, [[1, 2, 3], [3, 4]])) == [[1, 2, 3], [3, 4]]


async def test_nobody_waits_for_ever_where_the_pool_is_closed() -> None:
    pool = Pool(1)
    cached = ml_cache(backend=LRU, batch=Batch("numbers", max_size=1), offload=pool)(steps.endless)
    riders = [asyncio.create_task(cached.aio.one(number)) for number in (-1, 1, 2)]
    batch = asyncio.create_task(cached.aio([3, 1]))
    while not pool.metrics().submitted:
        await asyncio.sleep(0.001)
    await asyncio.to_thread(pool.close, 0.1)
    found = await asyncio.gather(*riders, batch, return_exceptions=True)
    assert all(isinstance(each, PoolClosedError) for each in found), found
