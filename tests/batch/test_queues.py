"""Who goes first, and with whom, where many single items wait: bounds, buckets, padding and tenants."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mlcache import Batch, ml_cache
from mlcache.sizes import size_of

PATIENCE = 20
Rows = npt.NDArray[np.float64]


def wait_until(condition: Callable[[], object]) -> None:
    pause = threading.Event()
    while not condition():
        pause.wait(0.001)


class Held:
    """A coroutine function of texts, whose first call waits until all others are in the queue."""

    def __init__(self, batch: Batch) -> None:
        self.calls = calls = list[list[str]]()
        go = self._go = asyncio.Event()

        @ml_cache(batch=batch, ignore=["calls", "go"])
        async def upper(texts: list[str]) -> list[str]:
            calls.append(texts)
            await go.wait()
            return [text.upper() for text in texts]

        self.cached: Any = upper

    async def answers(self, texts: Iterable[str]) -> list[str]:
        """The answers to texts that come in this order, while one call is under way."""
        first = asyncio.create_task(self.cached.one("first"))
        while not self.calls:
            await asyncio.sleep(0)
        tasks = [asyncio.create_task(self.cached.one(text)) for text in texts]
        await asyncio.sleep(0)
        self._go.set()
        assert await first == "FIRST"
        return list(await asyncio.gather(*tasks))


def tenant_of(text: str) -> str:
    return text.split(":", maxsplit=1)[0]


async def test_a_tenant_with_a_thousand_items_does_not_hold_up_one_with_three() -> None:
    held = Held(Batch("texts", max_size=10, tenant=tenant_of))
    many, few = [f"many:{number}" for number in range(1000)], [f"few:{number}" for number in range(3)]
    answers = await held.answers(many + few)
    assert answers == [text.upper() for text in many + few]
    assert set(few) < set(held.calls[1]), "all three are in the next batch"
    assert [text for call in held.calls[1:] for text in call if text in set(many)] == many
    assert {len(call) for call in held.calls[1:-1]} == {10}


async def test_tenants_have_equal_shares_of_each_batch_while_all_have_items() -> None:
    held = Held(Batch("texts", max_size=6, tenant=tenant_of))
    lots = {"a": 40, "b": 20, "c": 20}
    texts = [f"{tenant}:{number}" for tenant, lot in lots.items() for number in range(lot)]
    await held.answers(texts)
    shares = [sorted(map(tenant_of, call)) for call in held.calls[1:]]
    assert shares[:10] == [["a", "a", "b", "b", "c", "c"]] * 10
    assert shares[10:] == [["a"] * 6] * 3 + [["a"] * 2]


async def test_without_tenants_who_came_first_goes_first() -> None:
    held = Held(Batch("texts", max_size=7))
    texts = [f"{number % 3}:{number}" for number in range(50)]
    await held.answers(texts)
    assert [text for call in held.calls[1:] for text in call] == texts


def weighty(calls: list[list[int]]) -> Any:
    """A function of numbers, each of which costs what it is: of 100 in all, or of 5 of them, in one call."""
    batch = Batch("numbers", max_size=5, cost=abs, max_cost=100, concurrency=2)

    @ml_cache(batch=batch, ignore=["calls"])
    def negative(numbers: list[int]) -> list[int]:
        calls.append(numbers)
        return [-number for number in numbers]

    return negative


async def _by_tasks(cached: Any, numbers: list[int]) -> list[int]:
    return list(await asyncio.gather(*map(cached.aio.one, numbers)))


async def _by_threads(cached: Any, numbers: list[int]) -> list[int]:
    def ask() -> list[int]:
        with ThreadPoolExecutor(16) as threads:
            return list(threads.map(cached.one, numbers))

    return await asyncio.to_thread(ask)


async def _by_a_batch(cached: Any, numbers: list[int]) -> list[int]:
    return list(await cached.aio(numbers))


@pytest.mark.parametrize("ask", [_by_tasks, _by_threads, _by_a_batch])
@pytest.mark.parametrize("seed", range(3))
async def test_no_call_gets_more_than_its_bounds(
    ask: Callable[[Any, list[int]], Awaitable[list[int]]], seed: int
) -> None:
    numbers = random.Random(seed).sample(range(1, 140), 100)
    calls: list[list[int]] = []
    assert await ask(weighty(calls), numbers) == [-number for number in numbers]
    assert sorted(number for call in calls for number in call) == sorted(numbers), "each item once"
    too_much = [call for call in calls if len(call) > 5 or (sum(call) > 100 and len(call) > 1)]
    assert too_much == []
    if ask is not _by_threads:  # which may come one after the other
        assert max(map(len, calls)) > 1, "what fits goes together"


@pytest.mark.parametrize("ask", [_by_tasks, _by_threads, _by_a_batch])
async def test_no_call_gets_more_bytes_than_asked_for(ask: Callable[..., Awaitable[list[int]]]) -> None:
    calls: list[list[int]] = []

    @ml_cache(batch=Batch("texts", max_bytes="2KiB"), ignore=["calls"])
    def lengths(texts: list[str]) -> list[int]:
        calls.append([size_of(text) for text in texts])
        return list(map(len, texts))

    chosen = random.Random(1)
    texts = [
        chr(97 + number % 26) * chosen.choice([1, 10, 700, 1500, 4000]) + str(number) for number in range(60)
    ]
    assert await ask(lengths, texts) == list(map(len, texts))
    assert [call for call in calls if sum(call) > 2048 and len(call) > 1] == []
    assert sum(map(len, calls)) == 60


@pytest.mark.parametrize("ask", [_by_tasks, _by_threads])
async def test_a_call_gets_rows_of_one_shape(ask: Callable[..., Awaitable[list[float]]]) -> None:
    shapes: list[tuple[int, ...]] = []

    @ml_cache(batch=Batch("rows", bucket="shape", max_size=8), ignore=["shapes"])
    def totals(rows: Rows) -> Rows:
        shapes.append(rows.shape)
        return np.asarray(rows.sum(axis=1))

    rows = [np.arange(number, number + 2 + number % 4, dtype=float) for number in range(64)]
    assert await ask(totals, rows) == [row.sum() for row in rows]
    assert sum(count for count, _ in shapes) == 64
    assert {width for _, width in shapes} == {2, 3, 4, 5}
    assert max(count for count, _ in shapes) <= 8


async def test_the_bucket_whose_item_waits_longest_goes_first() -> None:
    held = Held(Batch("texts", max_size=4, bucket=len))
    await held.answers(["cc", "b", "dd", "a", "eee", "ff", "gg", "hh", "c"])
    assert held.calls[1:] == [["cc", "dd", "ff", "gg"], ["b", "a", "c"], ["eee"], ["hh"]]


@pytest.mark.parametrize("ask", [_by_tasks, _by_threads])
async def test_padded_items_have_the_answers_that_they_have_alone(
    ask: Callable[..., Awaitable[list[float]]],
) -> None:
    shapes: list[tuple[int, ...]] = []

    def pad(rows: list[Rows]) -> Rows:
        width = max(map(len, rows))
        return np.stack([np.pad(row, (0, width - len(row))) for row in rows])

    @ml_cache(batch=Batch("rows", collate=pad, max_size=8), ignore=["shapes"])
    def totals(rows: Rows) -> Rows:
        shapes.append(rows.shape)
        return np.asarray(rows.sum(axis=1))

    rows = [np.arange(number, number + 1 + number % 5, dtype=float) for number in range(60)]
    assert await ask(totals, rows) == [row.sum() for row in rows]
    assert sum(count for count, _ in shapes) == 60
    assert max(count for count, _ in shapes) <= 8


def test_batches_grow_with_the_load_and_go_on_as_soon_as_a_worker_is_idle() -> None:
    calls: list[list[int]] = []
    came, go = threading.Semaphore(0), threading.Semaphore(0)

    @ml_cache(batch=Batch("numbers", concurrency=2), ignore=["calls", "came", "go"])
    def same(numbers: list[int]) -> list[int]:
        calls.append(numbers)
        came.release()
        assert go.acquire(timeout=PATIENCE)
        return numbers

    cached: Any = same
    batcher = cached._actions.singles.batcher
    with ThreadPoolExecutor(8) as threads:
        asked = []
        for number in range(2):
            asked.append(threads.submit(cached.one, number))
            assert came.acquire(timeout=PATIENCE)
        for number in range(2, 8):
            asked.append(threads.submit(cached.one, number))
            wait_until(lambda: batcher.waiting == len(asked) - 2)
        go.release()
        assert came.acquire(timeout=PATIENCE)
        assert calls == [[0], [1], list(range(2, 8))], (
            "one worker has all that waits, while the other is busy"
        )
        go.release(2)
        assert [each.result(PATIENCE) for each in asked] == list(range(8))
