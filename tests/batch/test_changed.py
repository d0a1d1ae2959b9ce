"""Items that are changed after their keys were made: what is computed of them is kept under no key."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mlcache import Batch, Expiry, ml_cache
from mlcache.testing import FakeClock

LRU = "lru?max_bytes=8MiB"
Rows = npt.NDArray[np.float64]


def wait_until(condition: Callable[[], object]) -> None:
    pause = threading.Event()
    while not condition():
        pause.wait(0.001)


class Sums:
    """A function whose renewals wait, for items that are rows, or arrays in a list."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.calls = 0

        @ml_cache(backend=LRU, batch="rows", ttl=Expiry(10, stale=60), version="1", ignore=["self"])
        def sums(rows: Any) -> list[float]:
            assert self.go.wait(20)
            self.calls += 1
            return [float(row.sum()) for row in rows]

        self.cached: Any = sums

    def settle(self) -> None:
        self.go.set()
        wait_until(lambda: not self.cached._actions.cache.flights)


@pytest.mark.parametrize("change", [True, False])
@pytest.mark.parametrize("how", ["batch", "one"])
def test_what_is_renewed_is_kept_unless_it_was_changed_meanwhile(how: str, *, change: bool) -> None:
    with FakeClock() as clock:
        sums = Sums()
        sums.go.set()
        items = [np.array([1.0]), np.array([2.0])]
        assert sums.cached(items) == [1.0, 2.0]
        clock.advance(11)
        sums.go.clear()
        found = sums.cached(items) if how == "batch" else [sums.cached.one(item) for item in items]
        assert found == [1.0, 2.0]
        if change:
            items[0][0] = 7.0  # as who reads into the same buffer again
        sums.settle()
        kept = [sums.cached.peek([np.array([number])]) for number in (1.0, 2.0)]
        assert [each.value for each in kept] == [[1.0], [2.0]]
        assert [each.status for each in kept] == ["stale" if change else "hit", "hit"]


async def test_who_waits_for_the_item_of_another_who_has_left_gets_none_of_what_became_of_it() -> None:
    sums = Sums()
    one = sums.cached.aio.one
    first = asyncio.create_task(one(np.array([0.0])))
    buffer = np.array([1.0])
    left = asyncio.create_task(one(buffer))
    await asyncio.sleep(0)
    other = asyncio.create_task(one(np.array([1.0])))
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.sleep(0)
    buffer[0] = 9.0
    sums.go.set()
    assert await first == 0.0
    assert await other == 1.0
    with pytest.raises(asyncio.CancelledError):
        await left


async def test_what_a_failing_function_has_changed_is_not_tried_again() -> None:
    @ml_cache(backend=LRU, batch=Batch("rows"), version="1")
    def centred(rows: list[Rows]) -> list[float]:
        for row in rows:
            if row[0] > 50:
                raise ValueError("a bad row")
            np.subtract(row, 1, out=row)
        return [float(row[0]) for row in rows]

    one = centred.aio.one
    rows = [np.array([number]) for number in (5.0, 99.0, 6.0)]
    found = await asyncio.gather(*map(one, rows), return_exceptions=True)
    assert [str(each) for each in found] == ["a bad row", "a bad row", "5.0"]
    assert centred.peek([np.array([5.0])]) is None
    assert await one(np.array([5.0])) == 4.0


@pytest.mark.parametrize("container", [list, np.array, tuple])
async def test_tasks_keep_what_they_renew(container: Any) -> None:
    with FakeClock() as clock:

        @ml_cache(backend=LRU, batch="rows", ttl=Expiry(10, stale=60), version="1")
        async def doubled(rows: Any) -> list[float]:
            return [float(row) * 2 for row in rows]

        assert await doubled(container([1.0, 2.0])) == [2.0, 4.0]
        clock.advance(11)
        assert await doubled(container([1.0, 2.0])) == [2.0, 4.0]
        while doubled._actions.cache.flights:
            await asyncio.sleep(0)
        if container is list:
            clock.advance(11)
            assert await doubled.one(1.0) == 2.0
            while doubled._actions.cache.flights:
                await asyncio.sleep(0)
        assert (await doubled.call_with_info(container([1.0]))).status == "hit"
