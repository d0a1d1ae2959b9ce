"""Batches and single items that cannot be computed, or that nobody waits for any more."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, cast
from unittest import mock

import pytest

from mlcache import ml_cache
from mlcache.batch.steps import Ship
from mlcache.call import Call
from mlcache.computing import Shipped
from mlcache.drive import AWAITED
from mlcache.entry import Key
from mlcache.flight import Flight

LRU = "lru?max_bytes=8MiB"

no_threads = mock.patch.object(threading.Thread, "start", side_effect=RuntimeError("can't start new thread"))


def wait_until(condition: Callable[[], object]) -> None:
    pause = threading.Event()
    while not condition():
        pause.wait(0.001)


def test_items_fail_where_no_thread_goes_on_with_them() -> None:
    began, go = threading.Event(), threading.Event()

    @ml_cache(backend=LRU, batch="numbers", ignore=["began", "go"])
    def double(numbers: list[int]) -> list[int]:
        began.set()
        assert go.wait(20)
        return [number * 2 for number in numbers]

    actions: Any = double._actions
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(double.one, 1)
        assert began.wait(20)
        others = [threads.submit(double.one, number) for number in (2, 3)]
        wait_until(lambda: actions.singles.batcher.waiting == 2)
        with no_threads:  # the first would hand over to one
            go.set()
            assert first.result(20) == 2
            for other in others:
                with pytest.raises(RuntimeError, match="new thread"):
                    other.result(20)
    assert double.one(2) == 4


async def test_an_item_that_a_batch_asks_for_fails_where_no_thread_computes_it() -> None:
    @ml_cache(backend=LRU, batch="numbers")
    def depth(numbers: list[int]) -> list[int]:
        async def below() -> list[int]:
            return list(await asyncio.gather(*(depth.aio.one(number - 1) for number in numbers)))

        if 0 in numbers:
            return [0 for _ in numbers]
        with no_threads:
            return asyncio.run(below())

    for _ in range(2):
        with pytest.raises(RuntimeError, match="new thread"):
            await asyncio.wait_for(depth.aio.one(1), 20)


async def test_who_gives_up_takes_back_what_an_engine_was_given() -> None:
    began, go, answer = threading.Event(), threading.Event(), Future[int]()

    class Parts:
        def ship(self, _: object) -> Shipped:
            began.set()
            assert go.wait(20)
            return Shipped(answer)

    key = Key("double", b"1" * 16)
    step, parts = Ship(Call(key, (), lambda _: 2), Flight(key)), cast("Any", Parts())
    given = asyncio.create_task(AWAITED[Ship](step, parts))
    await asyncio.to_thread(began.wait, 20)
    given.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given
    go.set()
    await asyncio.to_thread(wait_until, answer.cancelled)


async def test_closed_event_loops_are_forgotten_while_others_begin() -> None:
    @ml_cache(backend=LRU, batch="numbers")
    def same(numbers: list[int]) -> list[int]:
        return numbers

    class Loop:
        def is_closed(self) -> bool:
            desks[another] = None  # as another thread may at any time
            return True

    singles: Any = same._actions.singles  # type: ignore[attr-defined]
    desks: weakref.WeakKeyDictionary[Any, Any] = singles._of_loops
    closed, another = Loop(), Loop()
    desks[closed] = None
    assert await same.aio.one(1) == 1
    assert closed not in desks
    assert another in desks
