"""Loads that go wrong in ways that must leave nobody waiting, and nothing behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from mlcache.errors import InvalidModelError, ModelError, ModelStoreError
from mlcache.models import CachedModelRepository
from mlcache.testing.clock import FakeClock
from tests.models.samples import Store, a_store, cached


def use(models: CachedModelRepository, model_id: str) -> None:
    with models.lease(model_id):
        pass


async def use_in_task(models: CachedModelRepository, model_id: str) -> None:
    async with asyncio.timeout(10), models.lease(model_id):
        pass


@contextmanager
def no_threads() -> Iterator[None]:
    """In this block, no thread can be started, as where the system has no more of them."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        yield


async def test_a_repository_that_returns_none_is_told_apart_from_a_model() -> None:
    class Absent:
        loads = 0

        def get_model(self, _: str, /) -> Any:
            self.loads += 1
            assert self.loads < 10

    absent = Absent()
    with cached(absent) as models:
        with pytest.raises(InvalidModelError, match="returned None for model '7'"):
            use(models, "7")
        with pytest.raises(InvalidModelError, match="returned None for model '8'"):
            await use_in_task(models, "8")
        assert absent.loads == 2
        assert models.info().models == 0


class PanicError(BaseException):
    """What extensions written in Rust raise when they panic: no Exception."""


async def test_a_loader_that_panics_is_an_error_for_tasks_and_not_tried_for_ever() -> None:
    store = a_store(1)

    def panic(_: str) -> None:
        raise PanicError("index out of bounds")

    store.before_load = panic
    with cached(store) as models:
        with pytest.raises(PanicError):
            use(models, "0")
        with pytest.raises(ModelError, match="index out of bounds") as caught:
            await use_in_task(models, "0")
        assert isinstance(caught.value.__cause__, PanicError)
        assert store.loads == {"0": 2}
        store.before_load = lambda _: None
        await use_in_task(models, "0")


async def test_loads_that_wait_for_one_behind_them_do_it_themselves() -> None:
    store = a_store(3)
    all_asked = threading.Event()

    def lease_another(model_id: str) -> None:
        if model_id != "2":
            all_asked.wait(10)
            use(models, "2")

    store.before_load = lease_another
    with cached(store, loaders=2) as models:
        asking = [asyncio.create_task(use_in_task(models, each)) for each in "012"]
        while len(models._shelf.slots) < 3:
            await asyncio.sleep(0.001)
        all_asked.set()
        await asyncio.gather(*asking)
        assert store.loads == {"0": 1, "1": 1, "2": 1}


async def test_a_load_that_gets_no_thread_is_not_done_later() -> None:
    store = a_store(3)
    begun, free = threading.Event(), threading.Event()
    _hold_loads(store, begun, free)
    with cached(store, loaders=2, max_models=2) as models:
        first = asyncio.create_task(use_in_task(models, "0"))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        with no_threads(), pytest.raises(ModelError, match="no thread could be had"):
            await use_in_task(models, "1")
        free.set()
        await first
        await use_in_task(models, "2")  # by then the thread of the first has come to what was queued
        assert store.loads == {"0": 1, "2": 1}
        assert models.info().models == 2
    assert not store.alive


def _hold_loads(store: Store, begun: threading.Event, free: threading.Event) -> None:
    def hold(_: str) -> None:
        begun.set()
        free.wait(10)

    store.before_load = hold


async def test_a_model_is_closed_once_where_no_thread_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []
    free = threading.Event()
    with (
        ThreadPoolExecutor(2) as closers,
        cached(a_store(1), on_close=lambda *_: closed.append("0")) as models,
    ):
        closers.submit(free.wait, 10)
        monkeypatch.setattr("mlcache.models.leases.pool", lambda _: closers)
        with ExitStack() as without_threads:
            async with models.lease("0"):
                models.evict("0")
                without_threads.enter_context(no_threads())
        free.set()
        closers.submit(int).result(10)  # what was queued before is done
        assert closed == ["0"]


def test_a_look_that_cannot_begin_does_not_keep_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    with cached(a_store(1)) as models:
        use(models, "0")

        def fail(_: Any) -> None:
            raise MemoryError

        monkeypatch.setattr(models._freshness, "look_later", fail)
        with pytest.raises(MemoryError):
            use(models, "0")
        assert models.info().leased == 0


async def test_what_a_store_that_is_down_would_refuse_takes_no_thread() -> None:
    store = a_store(2)
    store.is_down = True
    with cached(store, retry_after="1h") as models:
        with pytest.raises(ModelStoreError):
            use(models, "0")
        before = store.describes
        with no_threads():
            for model_id in "0101":
                with pytest.raises(ModelStoreError, match="the store is down"):
                    await use_in_task(models, model_id)
        assert store.describes == before
        assert models.info().failures == 5


def test_a_store_that_describes_nothing_is_not_up_because_it_was_not_asked() -> None:
    class Down:
        asked = 0

        def get_model(self, _: str, /) -> Any:
            self.asked += 1
            if self.asked == 2:  # while the one that tries waits for an answer, nobody else does
                with pytest.raises(ModelStoreError, match="time-out"):
                    use(models, "other")
            raise ModelStoreError("time-out")

    down = Down()
    with FakeClock() as time, cached(down, retry_after="1s") as models:
        for _ in range(2):
            with pytest.raises(ModelStoreError):
                use(models, "one")
            time.advance(1)
        assert down.asked == 2
