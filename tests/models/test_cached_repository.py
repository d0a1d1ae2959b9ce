from __future__ import annotations

import asyncio
import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from mlcache import threads
from mlcache.errors import (
    ConfigurationError,
    MlcacheWarning,
    ModelError,
    ModelStoreError,
    NoRoomError,
    UnknownModelError,
)
from mlcache.models import CachedModelRepository, CallableModel, Description, Model, ModelRepository
from mlcache.testing.clock import FakeClock
from tests.models.samples import Store, a_store, cached

ROWS = np.array([1.0, 2.0])


def use(models: CachedModelRepository, *model_ids: str) -> None:
    for model_id in model_ids:
        with models.lease(model_id) as model:
            assert (model.predict(ROWS) == ROWS + float(model_id)).all()


def in_memory(store: Store) -> set[str]:
    return {model.model_id for model in store.alive}


def test_a_model_is_loaded_once_and_then_there() -> None:
    store = a_store(2)
    with cached(store) as models:
        use(models, "0", "1", "0", "0")
        assert store.loads == {"0": 1, "1": 1}
        info = models.info()
        assert (info.hits, info.loads, info.models, info.bytes, info.leased) == (2, 2, 2, 200, 0)
    assert not store.alive


def test_it_is_a_repository_like_the_one_it_caches() -> None:
    with cached(a_store(3)) as models:
        assert isinstance(models, ModelRepository)
        with CachedModelRepository(models) as twice:
            assert np.array_equal(twice.get_model("2").predict(ROWS), ROWS + 2)


def test_what_get_model_gives_outlives_the_model() -> None:
    store = a_store(3)
    with cached(store, max_models=1) as models:
        first = models.get_model("0")
        assert isinstance(first, Model)
        use(models, "1", "2")
        assert in_memory(store) == {"2"}
        assert np.array_equal(first.predict(ROWS), ROWS)
        assert store.loads["0"] == 2
        with pytest.raises(UnknownModelError):
            models.get_model("9")


@pytest.mark.parametrize(("policy", "goes"), [("lru", "0"), ("lfu", "1"), ("gdsf", "2")])
def test_each_policy_lets_another_one_go(policy: str, goes: str) -> None:
    store = Store({"0": 100, "1": 100, "2": 190, "3": 10})
    with FakeClock() as time, cached(store, max_bytes=400, policy=policy) as models:
        store.before_load = lambda _: time.advance(1.0)
        use(models, "0", "0", "0", "1", "2", "2", "1", "2", "2", "0", "1", "2")
        order = {"lru": "0123"}.get(policy)
        if order:
            use(models, "0", "1", "2")
        elif policy == "lfu":
            use(models, "0", "0")
        assert in_memory(store) == {"0", "1", "2"}
        store.sizes["4"], store.versions["4"] = 100, "1"
        use(models, "4")
        assert goes not in in_memory(store)


def test_gdsf_keeps_what_takes_long_to_load() -> None:
    store = a_store(5)
    with FakeClock() as time, cached(store, max_models=2, policy="gdsf") as models:
        store.before_load = lambda model_id: time.advance(60.0 if model_id == "0" else 0.1)
        use(models, "0", "1", "2", "3", "4", "1", "2")
        assert store.loads["0"] == 1
        assert "0" in in_memory(store)


def test_a_leased_model_is_neither_evicted_nor_closed() -> None:
    store = a_store(4)
    with cached(store, max_models=2) as models, models.lease("0") as model:
        use(models, "1", "2", "3", "1")
        assert (model.predict(ROWS) == ROWS).all()
        assert store.loads["0"] == 1
        assert models.evict("0")
        assert (model.predict(ROWS) == ROWS).all()
    assert not store.alive


def test_evicting_a_leased_model_closes_it_after_its_last_lease() -> None:
    store = a_store(1)
    with cached(store) as models:
        first, second = models.lease("0"), models.lease("0")
        with first as model:
            with second:
                models.evict("0")
            assert in_memory(store) == {"0"}
            assert models.info().leased == 1
            assert (model.predict(ROWS) == ROWS).all()
        assert not store.alive
        assert models.info().bytes == 0
        assert not models.evict("0")


def test_room_is_made_before_a_model_comes() -> None:
    store = Store({"0": 100, "1": 100, "2": 100, "3": 300})
    with cached(store, max_bytes=300) as models:
        use(models, "0", "1", "2")
        store.before_load = lambda _: seen.append(in_memory(store))
        seen: list[set[str]] = []
        use(models, "3")
        assert seen == [set()]
        assert store.most_bytes <= 300


def test_a_load_waits_for_room_in_use_and_then_goes_on() -> None:
    store = Store({"0": 100, "1": 100, "2": 200})
    with cached(store, max_bytes=200) as models, ThreadPoolExecutor(1) as pool:
        with models.lease("0"), models.lease("1"):
            waiting = pool.submit(use, models, "2")
            with pytest.raises(TimeoutError):
                waiting.result(0.05)
        waiting.result(10)
        assert in_memory(store) == {"2"}
        assert store.most_bytes <= 200


def test_a_load_is_refused_where_room_stays_in_use() -> None:
    store = a_store(3)
    with cached(store, max_models=2, wait="20ms") as models:
        with models.lease("0"), models.lease("1"), pytest.raises(NoRoomError, match="2 models of 200 B were"):
            use(models, "2")
        use(models, "2")
        assert models.info().failures == 1


async def test_waiting_for_a_thread_is_part_of_waiting_for_room() -> None:
    store = a_store(4)
    free = threading.Event()
    store.before_load = lambda _: free.wait(10)
    with FakeClock() as time, cached(store, max_models=1, wait="30s", loaders=1) as models:
        loading = asyncio.create_task(_hold_async(models, "0", done := asyncio.Event()))
        await _comes(lambda: bool(store.loads))
        waiting = [asyncio.create_task(_enter(models, model_id)) for model_id in "123"]
        await _comes(lambda: len(models._shelf.slots) == 4)  # they wait for the only thread
        time.advance(30)
        free.set()
        errors = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 10)
        done.set()
        await loading
    assert [type(error) for error in errors] == [NoRoomError] * 3


def test_a_model_larger_than_all_the_room_is_refused_before_it_is_loaded() -> None:
    store = Store({"0": 10 << 20, "1": 21 << 20})
    with cached(store, max_bytes=20 << 20) as models:
        use(models, "0")
        for _ in range(2):
            with pytest.raises(NoRoomError, match=r"takes 21\.0 MiB, which is more than the 20\.0 MiB"):
                use(models, "1")
        assert store.loads == {"0": 1}
        assert in_memory(store) == {"0"}


def test_a_model_is_not_refused_for_an_estimate() -> None:
    class Compact(Store):
        """Its models take a tenth in memory of what they take in the store."""

        def describe(self, model_id: str, /) -> Description:
            return Description(self.versions[model_id], 10 * self.sizes[model_id])

    store = Compact(dict.fromkeys("0123", 10))
    with cached(store, max_bytes=150) as models:
        for _ in range(2):
            for model_id in "0123":
                models.get_model(model_id)
        assert models.info().models == 4
        assert store.most_bytes == 40


def test_a_model_that_turns_out_larger_than_expected_makes_room_too() -> None:
    store = a_store(3)
    with cached(store, max_bytes=300) as models:
        use(models, "0", "1")
        store.before_load = lambda _: store.sizes.update({"2": 250})
        use(models, "2")
        assert in_memory(store) == {"2"}
        assert models.info().bytes == 250


def test_a_model_that_turns_out_too_large_is_closed_and_then_refused_unloaded() -> None:
    store = Store({"0": 500}, known_sizes=False)
    with cached(store, max_bytes=300) as models:
        for _ in range(2):
            with pytest.raises(NoRoomError):
                use(models, "0")
        assert store.loads["0"] == 1
        assert not store.alive
        assert models.info().bytes == models.info().models == 0


def test_what_grows_while_others_use_the_room_waits_with_its_true_size() -> None:
    store = Store({"0": 100, "1": 250}, known_sizes=False)
    with cached(store, max_bytes=300) as models, ThreadPoolExecutor(1) as pool:
        use(models, "0")
        with models.lease("0"):
            waiting = pool.submit(use, models, "1")
            with pytest.raises(TimeoutError):
                waiting.result(0.05)
            assert in_memory(store) == {"0"}  # the one that did not fit was closed
        waiting.result(10)
        assert store.loads["1"] == 2


def test_a_large_model_is_not_starved_by_small_ones() -> None:
    store = Store({"0": 100, "1": 100, "2": 300, "3": 100})
    with cached(store, max_bytes=300) as models, ThreadPoolExecutor(2) as pool:
        began: list[str] = []
        store.before_load = began.append
        with models.lease("0"):
            with models.lease("1"):
                large = pool.submit(use, models, "2")
                _until(lambda: len(models._shelf._queue) == 1)
                small = pool.submit(use, models, "3")
                _until(lambda: len(models._shelf._queue) == 2)
            assert began == ["0", "1"]
        large.result(10)
        small.result(10)
        assert began == ["0", "1", "2", "3"]


def _until(true: Any) -> None:
    done = threading.Event()
    for _ in range(2000):
        if true():
            return
        done.wait(0.005)
    raise AssertionError("it did not come true")


async def _comes(true: Any) -> None:
    while not true():
        await asyncio.sleep(0)


def test_many_threads_load_one_model_once_and_different_ones_in_parallel() -> None:
    store = a_store(4)
    together = threading.Barrier(4)
    store.before_load = lambda _: together.wait(10)
    with cached(store) as models, ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda number: use(models, str(number % 4)), range(32)))
        assert store.loads == dict.fromkeys("0123", 1)
        assert store.most_loading == 4
        info = models.info()
        assert info.loads == 4
        assert info.hits + info.coalesced == 28


async def test_many_tasks_load_one_model_once_and_the_loop_goes_on() -> None:
    store = a_store(4)
    free = threading.Event()
    store.before_load = lambda _: free.wait(10)
    with cached(store) as models:

        async def predict(number: int) -> Any:
            async with models.lease(str(number % 4)) as model:
                return model.predict(ROWS)

        tasks = [asyncio.create_task(predict(number)) for number in range(32)]
        await _comes(lambda: store.most_loading == 4)  # the loop runs while all four are being loaded
        free.set()
        answers = await asyncio.gather(*tasks)
        assert all((answer == ROWS + number % 4).all() for number, answer in enumerate(answers))
        assert store.loads == dict.fromkeys("0123", 1)


async def test_a_cancelled_task_takes_no_load_from_the_others() -> None:
    store = a_store(1)
    free = threading.Event()
    store.before_load = lambda _: free.wait(10)
    with cached(store) as models:

        async def predict() -> Any:
            async with models.lease("0") as model:
                return model.predict(ROWS)

        first, second = asyncio.create_task(predict()), asyncio.create_task(predict())
        await _comes(lambda: bool(store.loads))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        free.set()
        assert (await second == ROWS).all()
        assert first.cancelled()
        assert store.loads == {"0": 1}
        assert models.info().leased == 0


async def test_a_model_that_goes_with_the_lease_of_a_task_is_closed_beside_the_loop() -> None:
    store = a_store(1)
    free = threading.Event()
    closed_in: list[threading.Thread] = []

    def close_slowly(_: str, __: Any) -> None:
        closed_in.append(threading.current_thread())
        free.wait(10)

    with cached(store, on_close=close_slowly) as models:

        async def use_and_evict() -> None:
            async with models.lease("0"):
                models.evict("0")

        leasing = asyncio.create_task(use_and_evict())
        await _comes(lambda: bool(closed_in))  # the loop runs while it is being closed
        free.set()
        await leasing
        assert not store.alive
        assert models.info().bytes == 0
    assert threading.current_thread() not in closed_in


async def test_a_model_is_closed_also_if_no_thread_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    store = a_store(1)
    ended = ThreadPoolExecutor(1)
    ended.shutdown()
    with cached(store) as models:
        monkeypatch.setattr("mlcache.models.leases.pool", lambda _: ended)
        async with models.lease("0"):
            models.evict("0")
        assert not store.alive
        assert models.info().bytes == 0


async def test_a_model_is_closed_while_all_threads_for_stores_wait() -> None:
    store = a_store(1)
    free = threading.Event()
    with cached(store) as models:
        waiting = [threads.pool("store").submit(free.wait, 20) for _ in range(32)]
        try:
            async with asyncio.timeout(10), models.lease("0"):
                models.evict("0")
            assert not any(future.done() for future in waiting)
        finally:
            free.set()
        assert not store.alive


async def test_a_model_is_closed_also_if_the_task_that_used_it_last_is_cancelled_meanwhile() -> None:
    store = a_store(1)
    free, closing = threading.Event(), threading.Event()

    def close_slowly(_: str, __: Any) -> None:
        closing.set()
        free.wait(10)

    with cached(store, on_close=close_slowly) as models:

        async def use_and_evict() -> None:
            async with models.lease("0"):
                models.evict("0")

        leasing = asyncio.create_task(use_and_evict())
        await _comes(closing.is_set)
        leasing.cancel()
        await asyncio.gather(leasing, return_exceptions=True)
        assert leasing.cancelled()
        free.set()
        _until(lambda: models.info().bytes == 0)
        assert not store.alive


async def test_threads_and_tasks_wait_for_the_same_load() -> None:
    store = a_store(1)
    free = threading.Event()
    store.before_load = lambda _: free.wait(10)
    with cached(store) as models, ThreadPoolExecutor(1) as pool:
        thread = pool.submit(use, models, "0")
        await _comes(lambda: bool(store.loads))

        async def predict() -> Any:
            async with models.lease("0") as model:
                return model.predict(ROWS)

        task = asyncio.create_task(predict())
        await asyncio.sleep(0)
        free.set()
        assert (await task == ROWS).all()
        thread.result(10)
        assert store.loads == {"0": 1}


async def test_an_error_of_loading_reaches_threads_and_tasks_and_is_not_kept() -> None:
    store = a_store(1)
    free = threading.Event()

    def fail(_: str) -> None:
        free.wait(10)
        raise ZeroDivisionError("in the loader")

    store.before_load = fail
    with cached(store) as models, ThreadPoolExecutor(2) as pool:

        async def predict() -> Any:
            async with models.lease("0") as model:
                return model.predict(ROWS)

        threads = [pool.submit(use, models, "0") for _ in range(2)]
        tasks = [asyncio.create_task(predict()) for _ in range(2)]
        await asyncio.sleep(0)
        _until(lambda: models.info().coalesced == 3)
        free.set()
        errors = [*await asyncio.gather(*tasks, return_exceptions=True), *(t.exception(10) for t in threads)]
        assert all(isinstance(error, ZeroDivisionError) for error in errors)
        assert store.loads == {"0": 1}
        assert (models.info().bytes, models.info().models) == (0, 0)
        store.before_load = lambda _: None
        use(models, "0")


async def test_a_store_that_raises_what_no_future_takes_leaves_nobody_waiting() -> None:
    store = a_store(1)

    def run_dry(_: str) -> None:
        next(iter(()))

    store.before_load = run_dry
    with cached(store) as models:
        with pytest.raises(RuntimeError, match="StopIteration"):
            await asyncio.wait_for(_enter(models), 10)
        store.before_load = lambda _: None
        await asyncio.wait_for(_enter(models), 10)


async def _hold_async(models: CachedModelRepository, model_id: str, until: asyncio.Event) -> None:
    async with models.lease(model_id):
        await until.wait()


async def _enter(models: CachedModelRepository, model_id: str = "0") -> None:
    async with models.lease(model_id):
        pass


def test_an_interrupted_load_is_done_by_somebody_who_waits() -> None:
    store = a_store(1)
    free = threading.Event()

    def interrupt(_: str) -> None:
        free.wait(10)
        store.before_load = lambda _: None
        raise KeyboardInterrupt

    store.before_load = interrupt
    with cached(store) as models, ThreadPoolExecutor(2) as pool:
        first = pool.submit(use, models, "0")
        _until(lambda: bool(store.loads))
        second = pool.submit(use, models, "0")
        _until(lambda: models.info().coalesced == 1)
        free.set()
        assert isinstance(first.exception(10), KeyboardInterrupt)
        second.result(10)
        assert store.loads == {"0": 2}


def test_unknown_ids_are_remembered_for_a_moment() -> None:
    store = a_store(1)
    with FakeClock() as time, cached(store, unknown_for="5s") as models:
        for _ in range(3):
            with pytest.raises(UnknownModelError, match="'9'"):
                use(models, "9")
        assert store.describes == 1
        store.sizes["9"], store.versions["9"] = 100, "1"
        time.advance(5)
        use(models, "9")


def test_a_model_that_was_unknown_is_looked_for_again_when_told() -> None:
    store = a_store(0)
    with cached(store) as models:
        with pytest.raises(UnknownModelError):
            use(models, "9")
        store.sizes["9"], store.versions["9"] = 100, "1"
        assert not models.refresh("9")
        use(models, "9")


def test_while_the_store_is_down_loaded_models_go_on_and_nobody_waits_for_others() -> None:
    store = a_store(3)
    with FakeClock() as time, cached(store, retry_after="1s") as models:
        use(models, "0")
        store.is_down = True
        for _ in range(5):
            with pytest.raises(ModelStoreError) as caught:
                use(models, "1")
            assert caught.value.retry_after == 1.0
            use(models, "0")
        assert store.describes == 2 + 1  # before and after loading "0", and one try
        assert models.store_is_down
        time.advance(1)
        with pytest.raises(ModelStoreError):
            use(models, "2")
        store.is_down = False
        time.advance(1)
        use(models, "1", "2")
        assert not models.store_is_down


def test_an_idle_model_goes_and_one_in_use_or_pinned_stays() -> None:
    store = a_store(4)
    with FakeClock() as time, cached(store, idle="10m") as models:
        models.pin("2")
        use(models, "0", "1", "2")
        with models.lease("3"):
            time.advance(300)
            use(models, "1")
            time.advance(300)
            models.sweep()
            assert in_memory(store) == {"1", "2", "3"}
        time.advance(300)
        models.sweep()
        assert in_memory(store) == {"2", "3"}
        assert models.info().idle == 2
        models.unpin("2")
        models.sweep()
        assert in_memory(store) == {"3"}


def test_idle_models_go_by_themselves() -> None:
    store = a_store(1)
    with cached(store, idle="40ms") as models:
        use(models, "0")
        _until(lambda: models.info().idle == 1)
        assert not store.alive
        use(models, "0")
        assert store.loads["0"] == 2


def test_the_thread_for_idle_models_ends_with_its_cache() -> None:
    models = cached(a_store(1), idle="20ms")
    thread = models._sweeper._thread
    assert thread is not None
    del models
    thread.join(10)
    assert not thread.is_alive()


def test_a_pinned_model_stays_whatever_room_is_needed() -> None:
    store = a_store(4)
    with cached(store, max_models=2, wait="20ms") as models:
        models.pin("0")
        use(models, "0", "1", "2", "3")
        assert in_memory(store) == {"0", "3"}
        models.pin("3")
        with pytest.raises(NoRoomError):
            use(models, "1")


def test_warming_loads_ahead_and_counts_what_was_not_there() -> None:
    store = a_store(8)
    with cached(store) as models:
        use(models, "3")
        assert models.warm(str(number) for number in range(8)) == 7
        assert len(store.alive) == 8


def test_the_hook_sees_each_model_before_it_is_closed() -> None:
    store = a_store(3)
    seen: list[tuple[str, bool]] = []

    def on_close(model_id: str, model: Any) -> None:
        seen.append((model_id, model.is_closed))
        raise ZeroDivisionError("in the hook")

    with pytest.warns(MlcacheWarning, match="in the hook"):  # noqa: SIM117 - the line would be too long
        with cached(store, max_models=1, on_close=on_close) as models:
            use(models, "0", "1", "2")
    assert seen == [("0", False), ("1", False), ("2", False)]
    assert not store.alive


def test_a_model_that_cannot_be_closed_is_warned_of_and_its_room_is_free() -> None:
    def fail() -> None:
        raise ZeroDivisionError("while closing")

    class Two:
        def get_model(self, model_id: str, /) -> CallableModel:
            return CallableModel(abs, size=100, close=fail if model_id == "0" else None)

    with cached(Two(), max_models=1) as models:
        with models.lease("0"):
            pass
        with pytest.warns(MlcacheWarning, match="while closing"), models.lease("1"):
            pass
        assert models.info().models == 1


def test_too_little_room_is_warned_of_once() -> None:
    store = a_store(3)
    with cached(store, max_models=2) as models, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        use(models, *("012" * 40))
        assert models.info().churn > 50
    texts = [str(each.message) for each in caught if "brought back" in str(each.message)]
    assert len(texts) == 1
    assert "1.0 GiB or 2 models is too little" in texts[0]


def test_enough_room_is_not_warned_of() -> None:
    store = a_store(200)
    with cached(store, max_models=2) as models, warnings.catch_warnings():
        warnings.simplefilter("error")
        use(models, *map(str, range(200)))
        assert models.info().churn == 0
        assert models.info().evictions == 198


def test_a_closed_cache_grants_nothing_and_leases_end_well() -> None:
    store = a_store(2)
    models = cached(store)
    with models.lease("0") as model:
        use(models, "1")
        models.close()
        assert in_memory(store) == {"0"}
        assert (model.predict(ROWS) == ROWS).all()
    assert not store.alive
    with pytest.raises(ModelError, match="closed"):
        use(models, "0")


def test_a_model_that_is_loaded_while_the_cache_is_closed_does_not_stay() -> None:
    store = a_store(1)
    free, loading = threading.Event(), threading.Event()

    def wait(_: str) -> None:
        loading.set()
        free.wait(10)

    store.before_load = wait
    models = cached(store)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(models.get_model, "0")
        assert loading.wait(10)
        models.close()
        free.set()
        asking.result(10)
    assert not store.alive
    assert models.info().bytes == 0


def test_a_lease_holds_within_its_block_only() -> None:
    with cached(a_store(1)) as models:
        lease = models.lease("0")
        with pytest.raises(RuntimeError, match="within its block"):
            _ = lease.model
        with lease:
            assert lease.version == "1"
            with pytest.raises(RuntimeError, match="held already"):
                lease.__enter__()
        with pytest.raises(RuntimeError, match="within its block"):
            _ = lease.version


def test_a_loader_that_leases_its_own_model_is_an_error_and_not_a_deadlock() -> None:
    store = a_store(1)
    with cached(store) as models:
        store.before_load = lambda _: use(models, "0")
        with pytest.raises(RecursionError):
            use(models, "0")


def test_a_loader_may_lease_another_model() -> None:
    store = a_store(2)
    with cached(store) as models:
        store.before_load = lambda model_id: use(models, "1") if model_id == "0" else None
        use(models, "0")
        assert store.loads == {"0": 1, "1": 1}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_bytes": 0}, "max_bytes"),
        ({"max_models": 0}, "max_models"),
        ({"policy": "fifo"}, "lru, lfu, gdsf"),
        ({"idle": "soon"}, "idle"),
        ({"check_every": 0}, "check_every"),
        ({"loaders": 0}, "loaders"),
        ({"wait": -1}, "wait"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        cached(a_store(1), **options)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_the_models_and_none_of_the_leases_and_loads_of_other_threads() -> None:
    store = a_store(4)
    free = threading.Event()
    store.before_load = lambda model_id: free.wait(10) if model_id == "3" else None
    with cached(store, max_models=3) as models, ThreadPoolExecutor(2) as pool:
        use(models, "0")
        leased = pool.submit(_hold, models, "1", free)
        loading = pool.submit(use, models, "3")
        _until(lambda: models.info().leased == 2)
        child = os.fork()
        if child == 0:
            store.before_load = lambda _: None
            try:
                use(models, "0", "3", "2", "1")
                info = models.info()
                os._exit(0 if info.models == 3 and info.leased == 0 and info.bytes == 300 else 1)
            except BaseException:  # noqa: BLE001 - a child must not go on with the tests
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        free.set()
        leased.result(10)
        loading.result(10)


def _hold(models: CachedModelRepository, model_id: str, until: threading.Event) -> None:
    with models.lease(model_id):
        until.wait(10)


def test_closing_tells_those_who_wait_for_room() -> None:
    store = a_store(2)
    told = threading.Event()
    with ThreadPoolExecutor(1) as threads_here, cached(store, max_models=1, wait="1h") as models:
        held = models.lease("0")
        with held:
            waiting = threads_here.submit(use, models, "1")
            while not models._shelf._queue:
                told.wait(0.001)
            closing = threading.Thread(target=models.close)
            closing.start()
            assert isinstance(waiting.exception(20), ModelError)
        closing.join(20)
        with pytest.raises(ModelError, match="closed"):
            models.lease("0").__enter__()


@pytest.mark.parametrize("wrong", ["10", 2.5, True, 0, -1])
@pytest.mark.parametrize("what", ["max_models", "loaders"])
def test_numbers_are_whole_and_above_zero(what: str, wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"{what} is .*whole number above zero"):
        CachedModelRepository(a_store(1), **{what: wrong})


def test_an_id_is_a_text() -> None:
    with cached(a_store(1)) as models, pytest.raises(TypeError, match="a text, not 7"):
        models.lease(7)  # type: ignore[arg-type]


def test_models_that_are_idle_go_on_being_closed_where_warnings_are_errors(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gone: list[str] = []

    def on_close(model_id: str, _: object) -> None:
        gone.append(model_id)
        raise ValueError("it cannot be closed")

    with (
        warnings.catch_warnings(),
        CachedModelRepository(a_store(2), idle=0.02, on_close=on_close, check_every=None) as models,
    ):
        warnings.simplefilter("error")
        for model_id in ("0", "1"):
            models.get_model(model_id)
            while model_id not in gone:
                threading.Event().wait(0.002)
        warnings.simplefilter("ignore")
    assert "closing idle models failed" in caplog.text
