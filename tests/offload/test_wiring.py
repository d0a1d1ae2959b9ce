"""``@ml_cache(offload=...)``: misses computed by an engine, hits that never touch it."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import logging
import os
import pickle
import sys
import threading
import warnings
import weakref
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from mlcache import (
    Batch,
    CallTimeoutError,
    ConfigurationError,
    Expiry,
    MissingExtraError,
    WorkerDied,
    disabled,
    hook,
    ml_cache,
)
from mlcache.events import Computed
from mlcache.offload.engine import CallOptions
from mlcache.offload.executors import ExecutorEngine
from mlcache.offload.inline import Inline
from mlcache.offload.pool import Pool
from mlcache.testing import FakeClock
from tests.offload import batched, samples, wired
from tests.offload.engines import Played


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool(1) as made:
        yield made


@pytest.fixture
def played() -> Played:
    return Played()


def in_thread(function: Any, *args: Any) -> Any:
    """A future of what the function returns in a thread of its own."""
    executor = ThreadPoolExecutor(1)
    future = executor.submit(function, *args)
    executor.shutdown(wait=False)
    return future


# Where it is computed


def test_a_miss_is_computed_elsewhere_once(pool: Pool) -> None:
    f = ml_cache(offload=pool)(wired.where)
    x, process = f(3)
    assert x == 3
    assert process != os.getpid()
    assert f(3) == (3, process)
    assert (f.cache_info().hits, f.cache_info().misses) == (1, 1)


def test_arrays_go_and_come_and_are_read_only_there(pool: Pool) -> None:
    array = np.ones((300, 1000))
    f = ml_cache(offload=pool)(wired.total)
    assert f(array) == (300_000.0, False)
    assert f.call_with_info(array.copy()).status == "hit"


def test_a_hit_does_not_even_start_the_pool() -> None:
    pool = Pool(1)
    f = ml_cache(offload=pool)(wired.where)
    f.put((3, 0), 3)
    assert f(3) == (3, 0)
    assert f.peek(3) is not None
    assert "not started" in repr(pool)
    pool.close()


def test_a_hit_never_asks_the_engine(played: Played, tmp_path: Path) -> None:
    f = ml_cache(offload=played, backend=f"lru, disk://{tmp_path}")(wired.where)
    waiting = in_thread(f, 3)
    assert played.wait_for(1)
    played.answer()
    assert waiting.result(20) == f(3)
    f._actions.cache.store.forget_nearest(f._actions.cache.namespace)
    assert f(3) == waiting.result()
    assert played.submitted == 1


def test_a_number_is_a_pool_that_functions_share_and_that_ends_with_the_last_of_them() -> None:
    f, g = ml_cache(offload=1)(wired.where), ml_cache(offload=1)(wired.total)
    process = f(1)[1]
    g(np.ones(3))
    assert process != os.getpid()
    pool = f._actions.cache.compute.__self__._engine  # type: ignore[attr-defined]
    assert g._actions.cache.compute.__self__._engine is pool  # type: ignore[attr-defined]
    gone = weakref.ref(pool)
    del pool, f
    gc.collect()
    assert gone() is not None
    del g
    gc.collect()
    assert gone() is None


def test_a_coroutine_function_is_run_by_the_worker(pool: Pool) -> None:
    f = ml_cache(offload=pool)(wired.where_suspending)

    async def main() -> None:
        answers = await asyncio.gather(*(f(3) for _ in range(5)))
        assert len(set(answers)) == 1
        assert answers[0][1] != os.getpid()
        assert (await f.uncached(4))[1] == answers[0][1]
        info = await f.cache_info()
        assert (info.misses, info.coalesced) == (1, 4)

    asyncio.run(main())


def test_methods_closures_and_partial_objects(pool: Pool) -> None:
    class Classifier:
        def __init__(self, weight: int) -> None:
            self.weight = weight

        def __ml_cache_key__(self) -> object:
            return self.weight

        @ml_cache(offload=pool)
        def predict(self, x: int) -> tuple[int, bool]:
            return self.weight * x, os.getpid() == here

        @staticmethod
        @ml_cache(offload=pool)
        def static(x: int) -> tuple[int, bool]:
            return x, os.getpid() == here

        @classmethod
        @ml_cache(offload=pool)
        def named(cls, x: int) -> tuple[str, bool]:
            return cls.__name__ * x, os.getpid() == here

    here = os.getpid()
    assert [Classifier(3).predict(2) for _ in range(2)] == [(6, False)] * 2
    assert Classifier.predict.cache_info().hits == 1
    assert Classifier.static(4) == (4, False)
    assert Classifier.named(1) == ("Classifier", False)
    assert ml_cache(offload=pool)(functools.partial(wired.where, x=3))()[1] != here
    by_weight = ml_cache(offload=pool, key={"self": lambda model: model.weight})
    assert by_weight(samples.Model(3).predict)(2) == 6


def test_in_a_worker_cached_functions_are_plain_and_load_their_resources_there(pool: Pool) -> None:
    f = ml_cache(offload=pool)(wired.nested_outer)
    (x, process, loaded_in), outer, status = f(5)
    assert (x, process, loaded_in, status) == (5, outer, outer, "bypass")
    assert outer != os.getpid()


# What it costs


def test_the_cost_of_an_entry_is_the_time_that_the_function_took(played: Played) -> None:
    f = ml_cache(offload=played)(wired.where)
    events: list[Any] = []
    with hook(events.append):
        waiting = in_thread(f, 3)
        assert played.wait_for(1)
        played.answer(seconds=42.0)
        waiting.result(20)
    assert [each.cost for each in events if isinstance(each, Computed)] == [42.0]


def test_without_the_time_of_the_function_it_is_that_of_the_call(played: Played) -> None:
    f = ml_cache(offload=played)(wired.where)
    events: list[Any] = []
    with FakeClock() as time, hook(events.append):
        waiting = in_thread(f, 3)
        assert played.wait_for(1)
        time.advance(7)
        played.answer()
        waiting.result(20)
    assert [each.cost for each in events if isinstance(each, Computed)] == [7.0]


# Resources


def test_resources_are_no_matter_of_the_caller_nor_of_the_key() -> None:
    with Pool(1, resources={"model": samples.load_weight}) as pool:
        f: Any = ml_cache(offload=pool)(wired.with_model)
        assert list(inspect.signature(f).parameters) == ["text", "times", "tokenizer"]
        text, model, tokenizer = f("ab", 3)
        assert (text, tokenizer) == ("ababab", None)
        assert model["process"] != os.getpid()
        assert f("ab", times=3) == (text, model, None)
        assert f("x", tokenizer=5)[1] == model
        assert f.cache_info().hits == 1
        assert "model" not in f.explain("ab").arguments
        with pytest.raises(TypeError, match="model"):
            f("ab", model=5)


def test_a_resource_among_arguments_of_any_number_is_passed_by_name() -> None:
    with Pool(1, resources={"model": samples.load_weight}) as pool:
        f: Any = ml_cache(offload=pool)(wired.behind)
        first, rest, process = f(1, 2, 3)
        assert (first, rest) == (1, (2, 3))
        assert process != os.getpid()


def test_a_signature_of_a_method_shows_neither_self_nor_resources() -> None:
    class Model:
        @ml_cache(offload=Pool(1, resources={"model": int}), ignore=["self"])
        def predict(self, x: int, model: int = 0) -> int:
            return x + model

    assert list(inspect.signature(Model().predict).parameters) == ["x"]
    assert list(inspect.signature(Model.predict).parameters) == ["self", "x"]


@pytest.mark.parametrize(
    ("function", "message"),
    [(wired.spread, r"'model' stands before \*rest"), (lambda model, /: model, r"'model'.*position only")],
)
def test_a_resource_that_could_not_be_passed_is_refused(function: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ml_cache(offload=Pool(1, resources={"model": int}))(function)


def test_names_of_resources_cannot_be_ignored_or_keyed() -> None:
    pool = Pool(1, resources={"model": int})
    with pytest.raises(ConfigurationError, match="ignore names 'model'"):
        ml_cache(offload=pool, ignore="model")(wired.with_model)


def test_an_inline_engine_loads_resources_in_this_process_once() -> None:
    f: Any = ml_cache(offload=Inline({"model": samples.load_weight}))(wired.with_model)
    first, second = f("a"), f("b")
    assert first[1] == second[1]
    assert first[1]["process"] == os.getpid()
    assert f.uncached("a")[1] == first[1]


# Functions of many items


def test_what_is_missing_of_many_items_is_computed_elsewhere() -> None:
    with Pool(1, resources={"model": samples.load_weight}) as pool:
        f = ml_cache(batch=Batch("texts", max_size=2), offload=pool)(batched.embed_many)
        first = f(["a", "b", "c"])
        process = first[0][1]
        assert process != os.getpid()
        assert first == [(text, process, process) for text in "ABC"]
        assert f(["a", "x"]) == [("A", process, process), ("X", process, process)]
        assert f.cache_info().misses == 4
        assert f.one("y") == ("Y", process, process)

        async def main() -> list[Any]:
            return await asyncio.gather(f.aio(["z"]), *(f.aio.one(text) for text in "uvw"))

        together, *singles = asyncio.run(main())
        assert together == [("Z", process, process)]
        assert singles == [(text, process, process) for text in "UVW"]


def test_many_items_with_the_cache_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLCACHE_DISABLED", "1")
    monkeypatch.setenv("MLCACHE__EMBED_MANY__OFFLOAD_WORKERS", "0")
    pool = Pool(1, resources={"model": samples.load_weight})
    f = ml_cache(batch="texts", offload=pool)(batched.embed_many)
    assert f(["a"]) == [("A", os.getpid(), os.getpid())]


# What the environment says


def test_the_environment_sends_functions_that_say_nothing_to_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLCACHE_OFFLOAD_WORKERS", "1")
    f, here = ml_cache(wired.where), ml_cache(offload=0)(wired.where)
    assert f(1)[1] != os.getpid()
    assert here(2)[1] == os.getpid()


def test_what_the_environment_says_of_one_function_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLCACHE__WITH_MODEL__OFFLOAD_WORKERS", "0")
    pool = Pool(1, resources={"model": samples.load_weight})
    f: Any = ml_cache(offload=pool)(wired.with_model)
    g: Any = ml_cache(offload=pool, name="g")(wired.with_model)
    first = f("a")
    assert first[1]["process"] == os.getpid()
    assert f.uncached("a") == first
    monkeypatch.setenv("MLCACHE__G__OFFLOAD_WORKERS", "2")
    assert g("a")[1]["process"] != os.getpid()
    assert repr(g._actions.cache.compute.__self__._engine).startswith("<Pool of 2")
    assert "not started" in repr(pool)


async def test_what_the_environment_says_of_one_coroutine_function_wins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLCACHE__WITH_MODEL_SUSPENDING__OFFLOAD_WORKERS", "0")
    pool = Pool(1, resources={"model": samples.load_weight})
    f: Any = ml_cache(offload=pool)(wired.with_model_suspending)
    assert list(inspect.signature(f).parameters) == ["text"]
    assert (await f("a"))[1]["process"] == os.getpid()
    assert await f.uncached("a") == await f("a")


def test_switched_off_by_the_environment_it_is_still_computed_elsewhere(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLCACHE_DISABLED", "1")
    f = ml_cache(offload=pool)(wired.where)
    assert f(1)[1] != os.getpid()
    inline: Any = ml_cache(offload=Inline({"model": samples.load_weight}))(wired.with_model)
    assert inline("a")[1]["process"] == os.getpid()


# On an event loop


async def test_any_number_of_misses_wait_without_a_thread(played: Played) -> None:
    f = ml_cache(offload=played)(wired.where)
    calls = [asyncio.create_task(f.aio(x)) for x in range(200)]
    assert await asyncio.to_thread(played.wait_for, 200)
    busy = [each.name for each in threading.enumerate() if each.name.startswith("mlcache-compute")]
    assert busy == []
    assert played.answer() == 200
    assert [x for x, _ in await asyncio.gather(*calls)] == list(range(200))
    assert f.cache_info().misses == 200


async def test_who_blocks_the_event_loop_for_a_call_under_way_is_answered(played: Played) -> None:
    f = ml_cache(offload=played)(wired.where)
    call = asyncio.create_task(f.aio(3))
    assert await asyncio.to_thread(played.wait_for, 1)
    answer = in_thread(lambda: threading.Event().wait(0.05) or played.answer())
    assert f(3) == (3, os.getpid())  # in the thread of the loop, which goes on only after it
    assert await call == f(3)
    answer.result()


async def test_a_caller_that_gives_up_does_not_take_the_others_along(played: Played) -> None:
    f = ml_cache(offload=played)(wired.where)
    first, second = (asyncio.create_task(f.aio(3)) for _ in range(2))
    assert await asyncio.to_thread(played.wait_for, 1)
    first.cancel()
    await asyncio.wait([first])
    played.answer()
    assert (await second)[0] == 3
    assert f.cache_info().misses == 1


async def test_what_is_raised_reaches_all_who_wait(played: Played) -> None:
    f = ml_cache(offload=played)(wired.fail)
    calls = [asyncio.create_task(f.aio(3)) for _ in range(3)]
    assert await asyncio.to_thread(played.wait_for, 1)
    played.answer()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(each) for each in answers] == [KeyError] * 3
    again = asyncio.create_task(f.aio(3))
    assert await asyncio.to_thread(played.wait_for, 2)
    played.answer()
    with pytest.raises(KeyError):
        await again


@pytest.mark.parametrize("function", [wired.refuse, wired.refuse_suspending])
async def test_a_stop_iteration_ends_the_waiting(played: Played, function: Any) -> None:
    f = ml_cache(offload=played)(function)
    call = asyncio.create_task(f.aio(1) if hasattr(f, "aio") else f(1))
    assert await asyncio.to_thread(played.wait_for, 1)
    ((_, _, _, future),) = played.calls
    future.set_exception(StopIteration(1))
    with pytest.raises(RuntimeError, match="StopIteration"):
        await asyncio.wait_for(call, 20)


async def test_an_engine_that_refuses_a_call_fails_it_and_nothing_else() -> None:
    class Full(Played):
        def submit(self, *_: Any, **__: Any) -> Any:
            raise BlockingIOError("no room")

    f = ml_cache(offload=Full())(wired.where)
    with pytest.raises(BlockingIOError):
        await f.aio(1)
    with pytest.raises(BlockingIOError):
        f(1)
    assert len(f._actions.cache.flights) == 0


async def test_a_call_awaited_past_the_cache_is_taken_back_with_its_caller(played: Played) -> None:
    f = ml_cache(offload=played)(wired.where)
    call = asyncio.create_task(f.aio.uncached(1))
    assert await asyncio.to_thread(played.wait_for, 1)
    call.cancel()
    await asyncio.wait([call])
    assert played.calls[0][3].cancelled()


async def test_results_that_cannot_be_shared_go_to_their_caller(played: Played) -> None:
    f = ml_cache(offload=played)(lambda x: iter([x]))
    call = asyncio.create_task(f.aio(1))
    assert await asyncio.to_thread(played.wait_for, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        played.answer()
        assert list(await call) == [1]


async def test_refresh_and_renewal_go_to_the_engine(played: Played) -> None:
    f = ml_cache(offload=played, ttl=Expiry("1s", stale="1h"))(wired.where)
    with FakeClock() as time:
        f.put((3, 0), 3)
        time.advance(2)
        assert f(3) == (3, 0)
        assert await asyncio.to_thread(played.wait_for, 1)
        assert await f.aio(3) == (3, 0)
        played.answer()
        refreshed = asyncio.create_task(f.aio.refresh(4))
        assert await asyncio.to_thread(played.wait_for, 2)
        played.answer()
        assert await refreshed == (4, os.getpid())
        while f(3) == (3, 0):
            await asyncio.sleep(0)
    assert played.submitted == 2


def test_when_and_ttl_of_the_user_may_take_their_time_and_call_the_same_pool(pool: Pool) -> None:
    def call_it(value: tuple[int, int]) -> bool:
        return int(pool.submit(samples.add, value[0]).result(20)) == value[0] + 1

    f = ml_cache(offload=pool, when=call_it)(wired.where)

    async def main() -> None:
        assert (await asyncio.wait_for(f.aio(3), 20))[0] == 3

    asyncio.run(main())
    assert f.peek(3) is not None


# Past the cache


def test_past_the_cache_it_is_computed_elsewhere_too(pool: Pool) -> None:
    f = ml_cache(offload=pool)(wired.where)
    assert f.uncached(3)[1] != os.getpid()
    assert f.peek(3) is None
    with disabled():
        assert f(3)[1] != os.getpid()
        assert f.call_with_info(3).status == "bypass"
    assert f.cache_info().misses == 0


def test_an_interrupted_caller_takes_back_what_nobody_else_waits_for() -> None:
    class Interrupted(Played):
        def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
            future = super().submit(function, *args, **kwargs)

            vars(future)["result"] = interrupt
            return future

    def interrupt() -> None:
        raise KeyboardInterrupt

    engine = Interrupted()
    f = ml_cache(offload=engine)(wired.where)
    with pytest.raises(KeyboardInterrupt):
        f(1)
    assert engine.calls[0][3].cancelled()
    assert len(f._actions.cache.flights) == 0


# When workers fail


def test_a_dead_worker_frees_the_flight_at_once_for_all_who_wait(pool: Pool, tmp_path: Path) -> None:
    f = ml_cache(offload=pool)(wired.die)
    with ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(f, 3, str(tmp_path)) for _ in range(4)]
        errors = [each.exception(20) for each in calls]
    assert any(isinstance(error, WorkerDied) for error in errors)
    assert all(error is None or isinstance(error, WorkerDied) for error in errors)
    assert f(3, str(tmp_path)) == 3


def test_a_hung_call_is_ended_and_the_next_one_works(tmp_path: Path) -> None:
    with Pool(1) as pool:
        f = ml_cache(offload=pool.with_options(CallOptions(timeout=0.3)))(wired.hold)
        with pytest.raises(CallTimeoutError):
            f(str(tmp_path))
        (tmp_path / "go").touch()
        patient = ml_cache(offload=pool)(wired.hold)  # a new worker imports anew, however long it takes
        assert patient(str(tmp_path)) != os.getpid()


def test_exceptions_come_home_and_may_be_kept(pool: Pool) -> None:
    f = ml_cache(offload=pool, ttl=Expiry(errors="1h"))(wired.fail)
    with pytest.raises(KeyError) as caught:
        f(3)
    assert isinstance(caught.value.__cause__, samples.OtherArgumentsError)
    with pytest.raises(KeyError):
        f(3)
    assert f.cache_info().misses == 1


def test_an_error_keeps_nothing_alive(played: Played) -> None:
    class Large:
        def __ml_cache_key__(self) -> object:
            return 1

    def fail(x: object) -> None:
        raise ValueError(x.__class__.__name__)

    f = ml_cache(offload=played)(fail)
    large = Large()
    gone = weakref.ref(large)
    gc.collect()
    gc.disable()
    try:
        waiting = in_thread(f, large)
        assert played.wait_for(1)
        played.answer()
        error = waiting.exception(20)
        assert isinstance(error, ValueError)
        del error, waiting, large
        assert gone() is None
    finally:
        gc.enable()


def test_logs_and_warnings_of_a_cached_function_are_those_of_this_process(
    pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "app")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        with pytest.warns(UserWarning, match="careful"):
            ml_cache(offload=pool)(wired.log_and_warn)(3)
    assert [(each.name, each.getMessage()) for each in caplog.records] == [("app.model", "3 seen")]
    assert caplog.records[0].process != os.getpid()
    assert logging.getLogger("app.model").level == logging.NOTSET


# What it may be


def executors() -> list[Any]:
    return [
        lambda: ThreadPoolExecutor(1),
        lambda: ProcessPoolExecutor(1, get_context("forkserver")),
    ]


@pytest.mark.parametrize("make", executors())
def test_an_executor_computes_misses(make: Any) -> None:
    executor: Executor = make()
    executor.submit(os.getpid).result()
    with executor:
        f = ml_cache(offload=executor)(wired.where)
        x, process = f(3)
        assert x == 3
        assert (process == os.getpid()) is isinstance(executor, ThreadPoolExecutor)
        assert f(3) == (3, process)
        assert asyncio.run(f.aio(4))[0] == 4
        with pytest.raises(KeyError):
            ml_cache(offload=executor)(wired.fail)(3)


def test_what_an_executor_cannot_do_is_refused_at_decoration() -> None:
    with ThreadPoolExecutor(1) as executor, pytest.raises(ConfigurationError, match=r"timeout=5.*use a Pool"):
        ml_cache(offload=ExecutorEngine(executor).with_options(CallOptions(timeout=5)))


@pytest.mark.parametrize("offload", [True, -1, 1.5, "all", "2", Pool, object(), ThreadPoolExecutor, [1]])
def test_what_it_may_not_be_is_refused_at_decoration(offload: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"offload is .*give a number of worker processes"):
        ml_cache(offload=offload)


def test_a_function_that_could_not_be_sent_is_refused_at_decoration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(MissingExtraError, match="cloudpickle"):
        ml_cache(offload=2)(lambda x: x)
    ml_cache(offload=2)(wired.where)
    ml_cache(offload=0)(lambda x: x)
    with ThreadPoolExecutor(1) as executor:
        assert ml_cache(offload=executor)(lambda x: x)(3) == 3


def test_a_pool_in_another_process_is_one_of_its_own_with_the_same_options() -> None:
    pool = Pool(2, resources={"model": samples.load_weight}, timeout="3s", max_queue=None, when_full="raise")
    other = pickle.loads(pickle.dumps(pool))
    assert other is not pool
    assert other._plan == pool._plan
    assert pool.with_workers(1)._plan == msgspec.structs.replace(
        pool._plan, workers=1, threads=Pool(1)._plan.threads
    )
