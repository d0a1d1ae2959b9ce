"""The queue of single requests of one event loop, and the tasks that compute them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mlcache.offload.loopbatch import LoopBatcher
from mlcache.offload.tickets import Rules
from tests.offload.requests import Request, names


async def test_tasks_gather_while_a_batch_is_awaited() -> None:
    batches: list[str] = []
    go = asyncio.Event()

    async def compute(batch: list[Any]) -> None:
        batches.append(names(batch))
        await go.wait()
        for request in batch:
            request.done.set()

    batcher = LoopBatcher(compute, Rules(max_size=2))
    requests = [Request(name) for name in "abcd"]
    assert batcher.add(requests[0])
    await asyncio.sleep(0)
    assert [batcher.add(request) for request in requests[1:]] == [False] * 3
    go.set()
    while not all(request.done.is_set() for request in requests):
        await asyncio.sleep(0)
    assert batches == ["a", "bc", "d"]


async def test_news_reach_every_task_that_waits_for_company() -> None:
    batches: list[str] = []

    async def compute(batch: list[Any]) -> None:
        batches.append(names(batch))
        await asyncio.sleep(0)

    batcher = LoopBatcher(compute, Rules(max_size=2, max_wait=60.0, slots=2))
    tasks: list[Any] = []
    for name in "abcd":
        batcher.add(Request(name, bucket=name in "ad"))
        tasks.append(batcher.task)
        await asyncio.sleep(0)
    await asyncio.wait_for(asyncio.gather(*tasks), 20)
    assert sorted(batches) == ["ad", "bc"]


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_task_that_is_cancelled_before_it_begins_gives_its_slot_back(*, wanted: bool) -> None:
    batches: list[str] = []

    async def compute(batch: list[Any]) -> None:
        batches.append(names(batch))

    batcher = LoopBatcher(compute, Rules())
    first = Request("a")
    batcher.add(first)
    first.wanted = wanted
    assert batcher.task is not None
    batcher.task.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert batches == ["a"] * wanted
    batcher.add(Request("b"))
    await asyncio.wait_for(batcher.task, 20)
    assert batches[wanted:] == ["b"]


async def test_a_full_batch_ends_the_wait_of_a_task() -> None:
    batches: list[str] = []

    async def compute(batch: list[Any]) -> None:
        batches.append(names(batch))

    batcher = LoopBatcher(compute, Rules(max_size=2, max_wait=60.0))
    batcher.add(Request("a"))
    await asyncio.sleep(0)
    batcher.add(Request("b"))
    assert batcher.task is not None
    await asyncio.wait_for(batcher.task, 20)
    assert batches == ["ab"]
