"""The pool as its users see it."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlcache import Pool, ml_cache
from mlcache.errors import CallTimeoutError, ConfigurationError, PoolClosedError, PoolFullError, RemoteError
from mlcache.offload.engine import CallOptions
from mlcache.offload.inline import Inline
from mlcache.offload.pool import PoolWithOptions
from tests.offload import tasks
from tests.offload.helpers import told, until


@pytest.fixture
def pool() -> Iterator[Pool]:
    """Two workers."""
    with Pool(2) as pool:
        yield pool


def test_calls_are_computed_in_other_processes(pool: Pool) -> None:
    assert pool.submit(tasks.pid).result(20) != os.getpid()
    assert pool.submit(divmod, 7, 2).result(20) == (3, 1)
    assert pool.submit(sorted, [2, 3, 1], reverse=True).result(20) == [3, 2, 1]


def test_exceptions_come_home_with_their_traceback(pool: Pool) -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        pool.submit(divmod, 1, 0).result(20)
    assert "Traceback" in str(raised.value.__cause__)


async def test_calls_can_be_awaited(pool: Pool) -> None:
    assert await asyncio.gather(*(pool.run(tasks.echo, number) for number in range(20))) == [*range(20)]
    with pytest.raises(ZeroDivisionError):
        await pool.run(divmod, 1, 0)


ARRAYS = {
    "0-d": np.array(5.0),
    "empty": np.empty((0, 3)),
    "fortran": np.asfortranarray(np.arange(40_000.0).reshape(100, 400)),
    "transposed": np.arange(60_000).reshape(20, 30, 100).transpose(2, 0, 1),
    "big-endian": np.arange(30_000, dtype=">i4"),
    "strided": np.arange(90_000)[::3],
    "backwards": np.arange(30_000)[::-1],
    "structured": np.zeros(5000, [("a", "i4"), ("b", "f8", 3), ("c", "S5")]),
    "objects": np.array([None, "a", {1: 2}] * 500, dtype=object),
    "dates": np.arange(20_000).astype("M8[s]"),
    "text": np.array(["abc", "d"] * 5000),
    "booleans": np.arange(50_000) % 3 == 0,
    "complex": np.arange(20_000) * 1j,
    "broadcast": np.broadcast_to(np.arange(5000.0), (10, 5000)),
    "masked": np.ma.masked_greater(np.arange(30_000), 100),
    "small": np.arange(3),
    "small transposed": np.arange(6.0).reshape(2, 3).T,
    "small dates": np.arange(3).astype("M8[s]"),
    "half a message": np.arange(5000, dtype=">i2"),
}


class Awaited:
    """Is loaded at once, and called on an event loop."""

    async def __call__(self, x: int) -> int:
        return x + 1


async def predict(x: int, model: Awaited) -> int:
    return await model(x)


def test_a_class_whose_instances_are_awaited_may_be_a_resource() -> None:
    with Pool(1, resources={"model": Awaited}) as pool:
        assert pool.submit(predict, 1).result(30) == 2


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_arrive_as_they_are_and_come_back(pool: Pool, name: str) -> None:
    array = ARRAYS[name]
    writeable, *arrived = pool.submit(tasks.facts, array).result(20)
    assert arrived == [*tasks.facts(array)[1:]]
    assert writeable == (array.dtype.hasobject or name in {"empty", "masked"})
    back = pool.submit(tasks.echo, array).result(20)
    assert tasks.facts(back)[1:] == tasks.facts(array)[1:]
    assert back.flags.writeable


@pytest.mark.parametrize("size", [1, 100, 2000, 16_000, 70_000, 1_000_000, 9_000_000])
def test_bytes_of_any_size_come_back(pool: Pool, size: int) -> None:
    data = os.urandom(size)
    assert pool.submit(tasks.echo, data).result(20) == data
    assert bytes(pool.submit(tasks.echo, bytearray(data)).result(20)) == data
    array = np.frombuffer(data, np.uint8)
    assert (pool.submit(tasks.echo, [array, {"a": (array,)}]).result(20)[1]["a"][0] == array).all()


def test_frames_and_tensors_come_back(pool: Pool) -> None:
    frame = pd.DataFrame({"a": np.arange(20_000.0), "b": ["x", "y"] * 10_000})
    pd.testing.assert_frame_equal(pool.submit(tasks.echo, frame).result(20), frame)
    torch = pytest.importorskip("torch")
    for tensor in (torch.arange(50_000.0), torch.ones(300, 200, dtype=torch.bfloat16).T, torch.tensor(3)):
        back = pool.submit(tasks.echo, {"x": tensor}).result(60)["x"]
        assert back.dtype == tensor.dtype
        assert torch.equal(back, tensor)
        back += 1  # is the caller's own


@pytest.mark.filterwarnings("ignore:.*quantized tensor creation:UserWarning")
@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated:UserWarning")
def test_quantized_tensors_keep_their_scales(pool: Pool) -> None:
    torch = pytest.importorskip("torch")
    values = torch.arange(2000.0).view(2, 1000) / 10
    whole = torch.quantize_per_tensor(values, 0.1, 3, torch.quint8)
    by_row = torch.quantize_per_channel(
        values, torch.tensor([0.1, 0.2]), torch.tensor([0, 1]), 0, torch.qint8
    )
    for tensor in (whole, by_row):
        back = pool.submit(tasks.echo, tensor).result(60)
        assert back.qscheme() == tensor.qscheme()
        assert torch.equal(back.dequantize(), tensor.dequantize())


def test_a_worker_cannot_write_to_what_it_is_given(pool: Pool) -> None:
    with pytest.raises(ValueError, match="read-only"):
        pool.submit(tasks.write_to, np.zeros(100_000)).result(20)


def test_the_caller_may_change_its_array_right_after(pool: Pool) -> None:
    array = np.ones(1 << 20)
    futures = []
    for number in range(30):
        array[:] = number
        futures.append(pool.submit(np.sum, array))
    assert [future.result(20) for future in futures] == [number * len(array) for number in range(30)]


def _read_only(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    array.flags.writeable = False
    return array


MADE: dict[str, Callable[[int], Any]] = {
    "plain": lambda number: np.full(50_000, number),
    "read-only": lambda number: _read_only(np.full(50_000, number)),
    "strided": lambda number: np.full(100_000, number)[::2],
    "fortran": lambda number: np.asfortranarray(np.full((300, 200), number)),
    "big-endian": lambda number: np.full(50_000, number, ">i4"),
    "dates": lambda number: np.full(50_000, number, "M8[s]"),
    "frame": lambda number: pd.DataFrame(np.full((10_000, 5), number)),
    "bytes": lambda number: bytes([number]) * 200_000,
    "bytearray": lambda number: bytearray([number]) * 200_000,
    "masked": lambda number: np.ma.array(np.full(50_000, number), mask=[False, True] * 25_000),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_results_that_are_kept_are_not_written_over(pool: Pool, make: Callable[[int], Any]) -> None:
    kept = [pool.submit(tasks.echo, make(number)).result(20) for number in range(20)]
    assert [np.asarray(value).tobytes() for value in kept] == [
        np.asarray(make(number)).tobytes() for number in range(20)
    ]


def test_memory_of_results_is_used_again(pool: Pool) -> None:
    addresses = {pool.submit(tasks.echo, np.ones(100_000)).result(20).ctypes.data for _ in range(20)}
    assert len(addresses) <= 4


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_arguments_that_a_worker_keeps_are_not_written_over(make: Callable[[int], Any]) -> None:
    with Pool(1) as pool:
        for number in range(10):
            pool.submit(tasks.keep, make(number)).result(20)
        for number in range(10, 20):
            pool.submit(tasks.echo, make(number)).result(20)
        kept = pool.submit(tasks.kept).result(20)
        assert [np.asarray(value).tobytes() for value in kept] == [
            np.asarray(make(number)).tobytes() for number in range(10)
        ]
        pool.submit(tasks.drop).result(20)
        pool.submit(tasks.pid).result(20)
        supervisor = pool._supervisor
        assert supervisor is not None
        assert not next(iter(supervisor.desk.members.values())).pinned


def test_a_result_of_300_megabytes(pool: Pool) -> None:
    result = pool.submit(tasks.zeros, 300).result(60)
    assert result.nbytes == 300 << 20
    assert not result[::4096].any()
    result[:10] = 1
    large = np.ones(12 << 20)
    assert pool.submit(np.sum, large).result(60) == len(large)


def test_functions_that_cannot_be_imported_are_sent(pool: Pool) -> None:
    factor = 3
    assert pool.submit(lambda x: x * factor, 2).result(20) == 6


def test_log_records_come_home(pool: Pool, caplog: pytest.LogCaptureFixture) -> None:
    assert pool.submit(tasks.log, "said in a worker").result(20)
    assert [record.getMessage() for record in caplog.records] == ["said in a worker"]
    assert caplog.records[0].process != os.getpid()


def test_resources_are_loaded_once_in_each_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELL", str(tmp_path / "told"))
    with Pool(2, resources={"model": tasks.load_and_tell, "other": tasks.load_ten}) as pool:
        futures = [pool.submit(tasks.which) for _ in range(20)]
        assert {future.result(20) for future in futures} <= set(told(tmp_path / "told"))
        assert len(told(tmp_path / "told")) <= 2
        assert pool.submit(tasks.pid).result(20) in told(tmp_path / "told")
        with pytest.raises(TypeError, match="use is given 'model' by the resources of its pool"):
            pool.submit(tasks.use, 4, model=5)


@pytest.mark.parametrize(
    "limit",
    [{"max_calls": 3}, {"max_memory": "100MiB"}, {"recycle": "0.1s"}],
    ids=lambda limit: next(iter(limit)),
)
def test_a_worn_worker_is_replaced_between_calls(limit: dict[str, Any]) -> None:
    with Pool(1, **limit) as pool:
        workers = set()
        for _ in range(12):
            workers.add(pool.submit(tasks.hold, 40).result(20))
            threading.Event().wait(0.03)
        assert len(workers) > 1
        metrics = pool.metrics()
        assert (metrics.answered, metrics.died) == (12, 0)
        assert metrics.restarts >= len(workers) - 1


def test_a_full_queue_raises_if_asked(tmp_path: Path) -> None:
    with Pool(1, max_queue=2, when_full="raise", timeout=1) as pool:
        pool.submit(tasks.pid).result(20)
        running = pool.submit(tasks.tell_and_hang, str(tmp_path / "told"))
        waiting = [pool.submit(tasks.echo, number) for number in range(2)]
        with pytest.raises(PoolFullError, match="2 calls"):
            pool.submit(tasks.echo, 3)
        assert waiting[0].cancel()
        last = pool.submit(tasks.echo, 4)
        assert isinstance(running.exception(20), CallTimeoutError)
        assert [waiting[1].result(20), last.result(20)] == [1, 4]


def test_a_full_queue_is_waited_for_or_bypassed() -> None:
    with Pool(1, max_queue=1, max_queue_bytes=1000) as pool:
        futures = [pool.submit(tasks.echo, np.full(300, number)) for number in range(30)]
        assert [future.result(20)[0] for future in futures] == list(range(30))
        assert pool.metrics().queued == 0
    with Pool(1, max_queue=1, when_full="inline", timeout=20) as pool:
        pool.submit(tasks.pid).result(20)
        places = {future.result(20) for future in [pool.submit(tasks.pid) for _ in range(200)]}
        assert os.getpid() in places
        assert len(places) == 2


async def test_what_is_computed_inline_leaves_the_event_loop_alone() -> None:
    def compute(value: Any) -> tuple[Any, int, int]:
        return value, os.getpid(), threading.get_ident()

    async def suspending(value: Any) -> tuple[Any, int, int]:
        await asyncio.sleep(0)
        return compute(value)

    with Pool(1, max_queue=1, when_full="inline") as pool:
        pool.submit(tasks.pid).result(20)
        waiting = [pool.submit(tasks.hang), pool.submit(tasks.hang)]
        for function in (compute, suspending):
            value, process, thread = await pool.run(function, 1)
            assert (value, process) == (1, os.getpid())
            assert thread != threading.get_ident()
        for raised in (tasks.exit_softly, tasks.stop):
            with pytest.raises(RemoteError if raised is tasks.exit_softly else RuntimeError):
                await pool.run(raised)
        with pytest.raises(RemoteError, match="SystemExit"):
            pool.submit(tasks.exit_softly).result(0)
        pool.close(0)
        assert all(isinstance(future.exception(0), PoolClosedError) for future in waiting)


async def test_what_is_computed_inline_cannot_change_its_callers_arrays() -> None:
    array = np.zeros(10)
    with Pool(1, max_queue=1, when_full="inline") as pool:
        pool.submit(tasks.pid).result(20)
        waiting = [pool.submit(tasks.hang), pool.submit(tasks.hang)]
        with pytest.raises(ValueError, match="read-only"):
            pool.submit(tasks.write_to, array).result(0)
        with pytest.raises(ValueError, match="read-only"):
            await pool.run(tasks.write_to, array)
        assert not array.any()
        pool.close(0)
        assert not any(future.cancelled() for future in waiting)


@pytest.mark.parametrize("asked", [{"timeout": 5}, {"retry": True}])
def test_what_only_workers_can_do_is_not_asked_of_a_pool_that_computes_inline(asked: dict[str, Any]) -> None:
    pool = Pool(1, when_full="inline")
    with pytest.raises(ConfigurationError, match=f"{next(iter(asked))}=.*when_full='inline'"):
        pool.with_options(CallOptions(**asked))
    pool.with_options(CallOptions(items=3, priority=2, deadline=4))


@pytest.mark.parametrize("max_queue", [1, 2])
async def test_waiting_for_room_leaves_the_event_loop_alone(max_queue: int) -> None:
    with Pool(1, max_queue=max_queue) as pool:
        for _ in range(30):  # a place that is free again, and nobody told of it, shows in some rounds
            calls = (pool.run(tasks.echo, number) for number in range(20))
            assert await asyncio.wait_for(asyncio.gather(*calls), 20) == [*range(20)]


async def test_a_full_pool_leaves_others_and_their_threads_alone() -> None:
    with Pool(1, max_queue=1) as full, Pool(1) as other:
        offloaded = ml_cache(offload=other)(tasks.echo)
        own = ml_cache(tasks.echo)
        stuck = ml_cache(offload=full)(tasks.hang_for)
        waiting = [asyncio.ensure_future(full.run(tasks.hang)) for _ in range(40)]
        waiting += [asyncio.ensure_future(stuck.aio(number)) for number in range(40)]
        await asyncio.sleep(0)
        for number in range(5):
            assert await asyncio.wait_for(offloaded.aio(number), 10) == number
            assert await asyncio.wait_for(own.aio(number), 10) == number
        full.close(0)
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(answer) for answer in answers} == {PoolClosedError}


async def test_a_call_that_is_cancelled_while_it_waits_for_room_is_not_computed(tmp_path: Path) -> None:
    with Pool(1, max_queue=1, timeout=0.5) as pool:
        pool.submit(tasks.pid).result(20)
        hanging, last = pool.submit(tasks.hang), pool.submit(tasks.echo, 1)
        cancelled = asyncio.ensure_future(pool.run(tasks.tell, str(tmp_path / "told")))
        await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert isinstance(hanging.exception(20), CallTimeoutError)
        assert last.result(20) == 1
        assert await pool.run(tasks.echo, 2) == 2
        assert not (tmp_path / "told").exists()


async def test_a_deadline_that_passes_while_a_call_waits_for_room_is_a_timeout() -> None:
    with Pool(1, max_queue=1) as pool:
        pool.submit(tasks.pid).result(20)
        hanging = [pool.submit(tasks.hang), pool.submit(tasks.hang)]
        asked = pool.with_options(CallOptions(deadline=0.05))
        assert isinstance(asked.submit(tasks.pid).exception(20), CallTimeoutError)
        assert isinstance(asked.enqueue(tasks.pid).exception(20), CallTimeoutError)
        with pytest.raises(CallTimeoutError):
            await asked.run(tasks.pid)
        pool.close(0)
        assert all(isinstance(future.exception(0), PoolClosedError) for future in hanging)


def test_who_waits_for_room_hears_that_the_pool_is_closed() -> None:
    with Pool(1, max_queue=1) as pool, ThreadPoolExecutor(1) as threads:
        pool.submit(tasks.pid).result(20)
        for _ in range(2):
            pool.submit(tasks.hang)
        blocked = threads.submit(pool.submit, tasks.pid)
        later = pool.enqueue(tasks.pid)
        supervisor = pool._supervisor
        assert supervisor is not None
        until(lambda: len(supervisor.desk.lobby) == 2)
        pool.close(0)
        with pytest.raises(PoolClosedError):
            blocked.result(20)
        assert isinstance(later.exception(0), PoolClosedError)


def test_a_pool_that_is_forgotten_answers_those_who_wait_for_room() -> None:
    pool = Pool(1, max_queue=1)
    futures = [pool.enqueue(tasks.echo, np.full(1000, number)) for number in range(30)]
    del pool
    gc.collect()
    assert [future.result(20)[0] for future in futures] == list(range(30))


def test_calls_of_a_higher_priority_go_first(tmp_path: Path) -> None:
    with Pool(1, timeout=1) as pool:
        pool.submit(tasks.pid).result(20)
        pool.submit(tasks.tell_and_hang, str(tmp_path / "told"))
        order: list[int] = []
        futures = []
        for priority in (0, 5, -1, 5, 9):
            future = pool.with_options(CallOptions(priority=priority)).submit(tasks.echo, priority)
            future.add_done_callback(lambda done: order.append(done.result()))
            futures.append(future)
        for future in futures:
            future.result(20)
        until(lambda: len(order) == 5)
        assert order == [9, 5, 5, 0, -1]


def test_calls_that_come_too_late_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "late"
    with Pool(1, timeout=1) as pool:
        pool.submit(tasks.pid).result(20)
        hanging = pool.submit(tasks.hang)
        late = pool.with_options(CallOptions(deadline=0.1)).submit(tasks.tell, str(path))
        with pytest.raises(CallTimeoutError, match="waited"):
            late.result(20)
        assert not hanging.done()
        assert isinstance(hanging.exception(20), CallTimeoutError)
        assert pool.submit(tasks.echo, 1).result(20) == 1
        assert not path.exists()
        assert pool.with_options(CallOptions(deadline=20)).submit(tasks.echo, 2).result(20) == 2


def test_metrics_say_what_happened() -> None:
    with Pool(1) as pool:
        assert pool.metrics().submitted == 0
        asked = pool.with_options(CallOptions(items=7))
        for _ in range(10):
            asked.submit(tasks.echo, np.ones(10_000)).result(20)
        pool.submit(divmod, 1, 0).exception(20)
        metrics = pool.metrics()
        assert (metrics.submitted, metrics.answered, metrics.failed) == (11, 11, 1)
        assert metrics.items.total == 71
        assert metrics.bytes_in.largest > 80_000 < metrics.bytes_out.largest
        assert metrics.handle.count == metrics.wait.count == metrics.transfer.count == 11
        assert metrics.workers[0].calls == 11
        assert metrics.workers[0].memory > 1 << 20
        assert metrics.shared_memory > 0


def test_health_follows_the_life_of_a_pool() -> None:
    pool = Pool(1)
    assert (pool.health().alive, pool.health().ready) == (True, False)
    pool.submit(tasks.pid).result(20)
    assert (pool.health().alive, pool.health().ready, pool.health().degraded) == (True, True, False)
    pool.close()
    assert not pool.health().alive
    assert "closed" in repr(pool)


def test_the_time_that_a_function_took_is_known(pool: Pool) -> None:
    future = pool.submit(tasks.pid)
    future.result(20)
    assert 0 < future.seconds < 20  # type: ignore[attr-defined]


def test_a_pool_with_an_error_inside_is_closed_at_once() -> None:
    futures = []
    with pytest.raises(KeyError), Pool(1) as pool:  # noqa: PT012 - the block is the test
        futures.append(pool.submit(tasks.hang))
        raise KeyError
    assert isinstance(futures[0].exception(0), PoolClosedError)


def test_a_pool_travels_as_its_options(pool: Pool) -> None:
    again: Pool = pickle.loads(pickle.dumps(pool))
    assert "not started" in repr(again)
    again.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"workers": 0}, "workers is 0"),
        ({"workers": 1.5}, "workers is 1.5"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": "soon"}, "timeout"),
        ({"max_queue": 0}, "max_queue is 0"),
        ({"max_queue_bytes": "much"}, "max_queue_bytes"),
        ({"when_full": "cry"}, "'wait', 'raise', 'inline'"),
        ({"start_method": "magic"}, "'forkserver', 'spawn', 'fork'"),
        ({"threads": True}, "threads is True"),
        ({"max_calls": -3}, "max_calls"),
        ({"max_memory": 0}, "max_memory"),
        ({"recycle": 0}, "recycle"),
        ({"load_timeout": "x"}, "load_timeout"),
        ({"resources": 3}, "resources is 3"),
        ({"resources": {"model": 3}}, "resources has 'model'"),
        ({"resources": {"not a name": tasks.pid}}, "resources has 'not a name'"),
    ],
)
def test_bad_options_are_refused_with_a_way_out(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Pool(**options)


@pytest.mark.parametrize(
    "asked",
    [
        {"timeout": 0},
        {"timeout": "x"},
        {"timeout": True},
        {"deadline": []},
        {"deadline": -1},
        {"deadline": float("inf")},
        {"priority": "hi"},
        {"priority": float("nan")},
        {"priority": None},
        {"retry": "no"},
        {"items": 0},
        {"items": 1.5},
    ],
)
def test_bad_options_of_a_call_are_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"^{next(iter(asked))} is "):
        CallOptions(**asked)


def test_durations_of_a_call_are_given_as_those_of_a_pool() -> None:
    options = CallOptions(timeout="250ms", deadline=timedelta(minutes=1))
    assert (options.timeout, options.deadline) == (0.25, 60)
    with Pool(1) as pool:
        hanging = pool.with_options(options).submit(tasks.hang)
        assert isinstance(hanging.exception(20), CallTimeoutError)


def test_numbers_of_numpy_are_numbers(pool: Pool) -> None:
    options = CallOptions(timeout=np.float32(20), priority=np.int64(-1), items=np.int32(2))  # type: ignore[arg-type]
    assert pool.with_options(options).submit(tasks.echo, 7).result(20) == 7
    assert pool.metrics().items.total == 2


@pytest.mark.parametrize("options", [3, None, {"timeout": 3}])
def test_what_are_no_options_of_a_call_is_refused(options: Any) -> None:
    for engine in (Pool(1), Inline(), PoolWithOptions(Pool(1), print, print, print)):  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match=r"options is .*CallOptions"):
            engine.with_options(options)


async def test_what_cannot_be_called_is_refused_at_once() -> None:
    pool = Pool(1)
    for asked in (pool, pool.with_options(CallOptions(retry=True))):
        with pytest.raises(TypeError, match="None cannot be called"):
            asked.submit(None)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="3 cannot be called"):
            await asked.run(3)  # type: ignore[arg-type]
    assert "not started" in repr(pool)
