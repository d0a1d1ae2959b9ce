"""Calls taken back, let in and closed upon: nobody waits for ever, nothing stays behind."""

from __future__ import annotations

import concurrent.futures
import gc
import queue
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mlcache import Pool
from mlcache.errors import CallTimeoutError, OffloadError, PoolClosedError, PoolFullError, WorkerDied
from mlcache.offload import intake
from mlcache.offload.arena import store as arena_store
from mlcache.offload.desk import Desk
from mlcache.offload.engine import CallOptions
from mlcache.offload.intake import take_in
from mlcache.offload.item import CallFuture, Item
from mlcache.offload.plan import Plan
from tests.offload import tasks
from tests.offload.helpers import until


def plan(**options: Any) -> Plan:
    pool = Pool(1, **options)
    return pool._plan


def submit(desk: Desk, asked: Plan, value: Any, *, wait: bool = False) -> Any:
    return take_in(asked, desk, CallOptions(), (tasks.echo, (value,), {}), wait=wait)


def test_who_waits_for_several_calls_hears_of_those_taken_back() -> None:
    with Pool(1, timeout=1) as pool:
        pool.submit(tasks.pid).result(20)
        hanging = pool.submit(tasks.hang)
        waiting = [pool.submit(tasks.echo, number) for number in range(3)]
        assert waiting[1].cancel()
        done, _ = concurrent.futures.wait([hanging, waiting[1]], 20, concurrent.futures.FIRST_COMPLETED)
        assert done == {waiting[1]}
        assert isinstance(hanging.exception(20), CallTimeoutError)
        assert [waiting[0].result(20), waiting[2].result(20)] == [0, 2]


def test_a_finalizer_that_takes_a_call_back_waits_for_no_lock() -> None:
    """It may come in the middle of anything, while its thread or another one holds any lock."""
    asked = plan()
    desk = Desk(asked, lambda: None)
    future = submit(desk, asked, np.ones(10_000))
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with desk.lock, desk.arena._lock:
            held.set()
            done.wait(20)

    holding = threading.Thread(target=hold)
    holding.start()
    held.wait(20)
    assert future.cancel()
    done.set()
    holding.join()
    desk.fail_late()
    assert not len(desk.queue)
    assert desk.meter.counts["cancelled"] == 1
    desk.arena.close()


def test_a_call_taken_back_makes_room_at_once() -> None:
    asked = plan(max_queue=1)
    desk = Desk(asked, lambda: None)
    first = submit(desk, asked, 1)
    with pytest.raises(PoolFullError):
        submit(desk, asked, 2)
    first.cancel()
    assert not submit(desk, asked, 3).done()


def interrupt_who_waits(monkeypatch: pytest.MonkeyPatch, interrupt: Callable[[], None]) -> None:
    """Have this thread, and no other, interrupted as it waits for room."""
    here = threading.get_ident()

    class Interrupted(queue.SimpleQueue[bool]):
        def get(self, block: bool = True, timeout: float | None = None) -> bool:  # noqa: FBT001, FBT002 - as there
            if threading.get_ident() == here:
                interrupt()
            return super().get(block, timeout)

    monkeypatch.setattr(intake, "SimpleQueue", Interrupted)


def test_who_waits_for_room_and_is_interrupted_passes_the_news_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = plan(max_queue=1)
    desk = Desk(asked, lambda: None)
    first = submit(desk, asked, 1)
    results: list[Any] = []

    def interrupt() -> None:
        waiting.start()
        until(lambda: len(desk.lobby) == 2)
        first.cancel()
        desk.fail_late()  # the news go to this thread
        raise KeyboardInterrupt

    waiting = threading.Thread(target=lambda: results.append(submit(desk, asked, 3, wait=True)))
    interrupt_who_waits(monkeypatch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        submit(desk, asked, 2, wait=True)
    waiting.join(20)
    assert len(results) == len(desk.queue) == 1
    assert not len(desk.lobby)


def test_who_is_interrupted_before_there_is_room_waits_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    asked = plan(max_queue=1)
    desk = Desk(asked, lambda: None)
    first = submit(desk, asked, 1)
    interrupt_who_waits(monkeypatch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        submit(desk, asked, 2, wait=True)
    assert not len(desk.lobby)
    first.cancel()
    assert not submit(desk, asked, 3).done()


def test_what_comes_when_the_desk_has_just_closed_leaves_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = plan()
    desk = Desk(asked, lambda: None)
    admit = desk.admit

    def close_after(item: Item) -> bool:
        admitted = admit(item)
        desk.close()
        desk.arena.close()
        return admitted

    monkeypatch.setattr(desk, "admit", close_after)
    with pytest.raises(PoolClosedError):
        submit(desk, asked, np.ones(100_000))
    assert desk.arena.held == 0


def test_a_pool_closed_while_it_waits_to_replace_a_worker_ends() -> None:
    pool = Pool(1)
    futures = [pool.submit(tasks.kill_myself) for _ in range(5)]
    closing = threading.Thread(target=pool.close)
    closing.start()
    closing.join(20)
    assert not closing.is_alive()
    assert all(isinstance(future.exception(0), WorkerDied) for future in futures)


def test_late_calls_are_answered_though_the_pool_ends_first() -> None:
    asked = plan()
    desk = Desk(asked, lambda: None)
    future = submit(desk, asked, 1)
    item = desk.queue.pop()
    assert item is not None
    desk._late.append(item)
    desk.fail_waiting(PoolClosedError("closed"))
    assert isinstance(future.exception(0), PoolClosedError)


def test_a_pool_whose_workers_are_always_too_large_computes_one_call_in_each() -> None:
    with Pool(1, max_memory=1) as pool:
        assert len({pool.submit(tasks.pid).result(20) for _ in range(3)}) == 3
        assert pool.metrics().restarts <= 3


def test_calls_of_any_number_of_buffers_fit_into_a_message() -> None:
    arrays = [np.full(140, number) for number in range(60_000)]
    with Pool(1) as pool:
        assert pool.submit(len, arrays).result(60) == len(arrays)
        back = pool.submit(tasks.echo, arrays[:20_000]).result(60)
        assert [array[0] for array in back] == [*range(20_000)]
        assert pool.metrics().restarts == 0


def test_a_worker_that_takes_no_call_is_replaced_and_the_call_goes_to_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlcache.offload.wire import Call, Line

    refused: list[Any] = []
    send = Line.send

    def send_once_badly(line: Line, message: Any, files: Any = ()) -> None:
        if isinstance(message, Call) and not refused:
            refused.append(message)
            raise BlockingIOError
        send(line, message, files)

    with Pool(1) as pool:
        worker = pool.submit(tasks.pid).result(20)
        monkeypatch.setattr(Line, "send", send_once_badly)
        assert pool.submit(tasks.pid).result(20) != worker
        assert len(refused) == 1
        assert pool.metrics().died == 0


def test_a_call_that_cannot_be_packed_keeps_no_arguments_alive() -> None:
    class Tracked(np.ndarray[Any, Any]):
        pass

    with Pool(1) as pool:
        large = np.ones(50_000).view(Tracked)
        seen = weakref.ref(large)
        gc.collect()
        gc.disable()
        try:
            future = pool.submit(tasks.echo, large, tasks.CannotBePickled())
            assert isinstance(future.exception(20), ValueError)
            del large, future
            assert seen() is None
        finally:
            gc.enable()


def test_a_call_that_is_refused_for_a_reload_passes_its_place_on() -> None:
    asked = plan(max_queue=1, start_method="fork")
    desk = Desk(asked, lambda: None)
    item = Item("refused", CallOptions())
    item.size = 1
    assert desk.admit(item)  # the one place there is
    told = threading.Event()
    assert not desk.admit(Item("waits", CallOptions()), told.set)
    desk.edition = -1
    with pytest.raises(OffloadError, match="reloaded"):
        desk.submit(item)
    assert told.is_set()


def test_a_call_that_was_not_admitted_takes_the_place_of_nobody_who_was() -> None:
    desk = Desk(plan(max_queue=1), lambda: None)
    admitted, other = Item("admitted", CallOptions()), Item("other", CallOptions())
    assert desk.admit(admitted)
    assert not desk.submit(other, admitted=False)
    for item in (admitted, other):
        item.future = CallFuture(lambda: None)
    assert desk.submit(admitted)
    assert not desk.submit(other, admitted=False)
    assert len(desk.queue) == 1
    assert desk.queue.pop() is admitted
    assert desk.submit(other, admitted=False)
    assert desk.queue.pop() is other


def enqueue(desk: Desk, asked: Plan, value: Any, **options: Any) -> Any:
    call = (tasks.echo, (value,), dict[str, Any]())
    return take_in(asked, desk, CallOptions(**options), call, wait=True, later=asked)


def test_calls_come_in_as_there_is_room_by_priority_and_in_order() -> None:
    asked = plan(max_queue=1)
    desk = Desk(asked, lambda: None)
    first = submit(desk, asked, 0)
    calls = [enqueue(desk, asked, number, priority=priority) for number, priority in enumerate((0, 0, 5))]
    order = []
    for _ in calls:
        first.cancel()
        desk.fail_late()
        until(lambda: len(desk.queue))
        (item,) = desk.queue._waiting.values()
        first = item.future
        order.append(calls.index(first))
    assert order == [2, 0, 1]
    assert not len(desk.lobby)


def test_a_call_that_waits_for_room_can_be_taken_back_and_be_late() -> None:
    asked = plan(max_queue=1)
    desk = Desk(asked, lambda: None)
    submit(desk, asked, 0)
    back, late, stays = (
        enqueue(desk, asked, 1),
        enqueue(desk, asked, 2, deadline=1e-9),
        enqueue(desk, asked, 3),
    )
    assert back.cancel()
    desk.fail_late()
    assert concurrent.futures.wait([back], 0).done == {back}
    assert isinstance(late.exception(0), CallTimeoutError)
    assert len(desk.lobby) == 1
    desk.close()
    assert isinstance(stays.exception(0), PoolClosedError)


def test_a_large_call_that_waits_for_room_is_not_overtaken() -> None:
    asked = plan(max_queue_bytes=2000)
    desk = Desk(asked, lambda: None)
    first = submit(desk, asked, b"1" * 1000)
    large = enqueue(desk, asked, b"2" * 1500)
    with pytest.raises(PoolFullError):
        submit(desk, asked, b"3")
    first.cancel()
    desk.fail_late()
    until(lambda: len(desk.queue))
    assert not large.done()
    assert not submit(desk, asked, b"4").done()


def test_a_call_whose_arguments_find_no_memory_fails_and_passes_its_place_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = plan(max_queue=1)
    desk = Desk(asked, lambda: None)
    first = submit(desk, asked, 0)
    bad, good = enqueue(desk, asked, 1), enqueue(desk, asked, 2)
    stored: list[Any] = []

    def store(parts: Any, arena: Any) -> Any:
        stored.append(parts)
        if len(stored) == 1:
            raise OSError("no memory")
        return arena_store(parts, arena)

    monkeypatch.setattr(intake, "store", store)
    first.cancel()
    desk.fail_late()
    assert isinstance(bad.exception(20), OSError)
    until(lambda: len(desk.queue))
    assert not good.done()


def test_a_call_comes_in_though_no_thread_takes_anything_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the main thread has ended, and others go on."""

    def refuse(*_: object) -> None:
        raise RuntimeError("cannot schedule new futures after shutdown")

    asked = plan(max_queue=1)
    desk = Desk(asked, lambda: None)
    first = submit(desk, asked, 0)
    enqueue(desk, asked, 1)
    monkeypatch.setattr(intake, "start", refuse)
    first.cancel()
    desk.fail_late()
    until(lambda: len(desk.queue))
