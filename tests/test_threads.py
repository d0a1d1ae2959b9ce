"""Threads for event loops."""

from __future__ import annotations

import asyncio
import threading
from concurrent import futures
from concurrent.futures import Future
from typing import Any

import pytest

from mlcache import threads


def test_all_who_come_first_share_one_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    threads.close()
    made: list[Any] = []
    both = threading.Barrier(2)

    class Slow(futures.ThreadPoolExecutor):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.append(self)
            try:
                both.wait(0.2)  # where two are made at once, they meet here
            except threading.BrokenBarrierError:
                both.reset()

    monkeypatch.setattr(futures, "ThreadPoolExecutor", Slow)
    got: list[Any] = []
    askers = [threading.Thread(target=lambda: got.append(threads.pool("store"))) for _ in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert got == made * 4
    threads.close()


async def test_the_end_of_a_future_is_awaited_whatever_it_ends_with() -> None:
    ends: list[Future[int]] = [Future() for _ in range(3)]
    waiting = [asyncio.create_task(threads.finished(future)) for future in ends]
    await asyncio.sleep(0)
    ends[0].set_result(1)
    ends[1].set_exception(StopIteration(1))
    ends[2].cancel()
    assert await asyncio.gather(*waiting) == [None] * 3
    await threads.finished(ends[0])


async def test_a_future_is_cancelled_with_who_awaits_its_end() -> None:
    future: Future[int] = Future()
    waiting = asyncio.create_task(threads.finished(future))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert future.cancelled()


def test_a_future_that_ends_after_its_event_loop_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    future: Future[int] = Future()

    async def give_up() -> None:
        waiting = asyncio.create_task(threads.finished(future))
        future.set_running_or_notify_cancel()
        await asyncio.sleep(0)
        waiting.cancel()

    asyncio.run(give_up())
    future.set_result(1)  # a callback that fails is only logged
    assert caplog.messages == []
