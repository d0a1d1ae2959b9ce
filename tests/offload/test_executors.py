"""Executors of others as engines: Python's, loky's and Dask's."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlcache import ConfigurationError, MissingExtraError, RemoteError
from mlcache.offload.engine import CallOptions
from mlcache.offload.executors import ExecutorEngine
from mlcache.offload.ray_actors import RayEngine
from tests.offload import samples

ROOT = Path(__file__).parents[2]


def of_processes() -> Executor:
    return ProcessPoolExecutor(1, get_context("forkserver"))


def of_threads() -> Executor:
    return ThreadPoolExecutor(1)


def of_loky() -> Executor:
    loky = pytest.importorskip("loky")
    return loky.ProcessPoolExecutor(1)  # type: ignore[no-any-return]


KINDS: dict[str, Callable[[], Executor]] = {"processes": of_processes, "threads": of_threads, "loky": of_loky}


@pytest.fixture(scope="module", params=list(KINDS))
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    made = KINDS[request.param]()
    made.submit(os.getpid).result()
    yield made
    made.shutdown()


def total(array: np.ndarray[Any, Any]) -> float:
    return float(array.sum())


def test_it_computes(executor: Executor) -> None:
    future = ExecutorEngine(executor).submit(samples.add, 1, b=2)
    assert future.result(30) == 3
    assert future.seconds >= 0  # type: ignore[attr-defined]
    assert future.done()


def test_processes_call_the_function_without_its_cache(executor: Executor) -> None:
    x, process, kept = ExecutorEngine(executor).submit(samples.nested, 8).result(30)
    assert x == 8
    if not isinstance(executor, ThreadPoolExecutor):
        assert process != os.getpid()
        assert kept == 0
    samples.cached.cache_clear()


def test_functions_without_a_name_and_coroutine_functions(executor: Executor) -> None:
    engine = ExecutorEngine(executor)
    assert engine.submit(lambda x: x * 2, 4).result(30) == 8
    assert engine.submit(samples.suspending.__wrapped__, 4).result(30) == 5


def test_exceptions_come_home(executor: Executor) -> None:
    error = ExecutorEngine(executor).submit(samples.fail, 4).exception(30)
    assert isinstance(error, KeyError)
    assert isinstance(error.__cause__, samples.OtherArgumentsError)
    assert error.__notes__ == ["a note of the function"]


def test_what_would_end_a_process_is_an_error_of_the_call(executor: Executor) -> None:
    if isinstance(executor, ThreadPoolExecutor):
        pytest.skip("a thread of this process is not ours to protect")
    engine = ExecutorEngine(executor)
    error = engine.submit(exit_, 3).exception(30)
    assert isinstance(error, RemoteError)
    assert error.kind == "SystemExit"
    assert engine.submit(samples.add, 1).result(30) == 2


def exit_(code: int) -> None:
    raise SystemExit(code)


def test_resources_are_loaded_once_in_each_process(executor: Executor) -> None:
    engine = ExecutorEngine(executor, {"weight": samples.load_weight})
    (one, first), (other, second) = (engine.submit(samples.use, x).result(30) for x in (1, 2))
    assert (one, other) == (1, 2)
    assert first == second
    assert (first["process"] == os.getpid()) is isinstance(executor, ThreadPoolExecutor)


def test_processes_get_the_arguments_as_they_were_when_they_were_submitted(executor: Executor) -> None:
    if isinstance(executor, ThreadPoolExecutor):
        pytest.skip("a thread gets the very objects")
    engine = ExecutorEngine(executor)
    array = np.ones(100_000)
    future = engine.submit(total, array)
    array[:] = 0
    assert future.result(30) == 100_000.0


def test_what_cannot_be_sent_is_an_error_of_submit(executor: Executor) -> None:
    if isinstance(executor, ThreadPoolExecutor):
        pytest.skip("nothing is sent")
    with pytest.raises(TypeError, match="pickle"):
        ExecutorEngine(executor).submit(samples.add, threading.Lock())


def test_what_cannot_be_sent_back_is_an_error_of_the_call(executor: Executor) -> None:
    if isinstance(executor, ThreadPoolExecutor):
        pytest.skip("nothing is sent")
    engine = ExecutorEngine(executor)
    assert engine.submit(threading.Lock).exception(30) is not None
    assert engine.submit(samples.add, 1).result(30) == 2


@pytest.mark.parametrize("options", [CallOptions(timeout=1), CallOptions(retry=True)])
def test_what_it_cannot_do_is_refused(executor: Executor, options: CallOptions) -> None:
    with pytest.raises(ConfigurationError, match=r"=.*Executor: use a Pool"):
        ExecutorEngine(executor).with_options(options)


def test_closing_the_engine_leaves_the_executor_to_its_owner(executor: Executor) -> None:
    ExecutorEngine(executor).close()
    assert executor.submit(samples.add, 1).result(30) == 2


def test_a_call_that_waits_can_be_taken_back() -> None:
    inside, go_on = threading.Event(), threading.Event()

    def block() -> None:
        inside.set()
        assert go_on.wait(10)

    with ThreadPoolExecutor(1) as threads:
        engine = ExecutorEngine(threads)
        running = engine.submit(block)
        waiting = engine.submit(samples.add, 1)
        assert inside.wait(10)
        assert running.running()
        assert not running.cancel()
        assert waiting.cancel()
        assert waiting.cancelled()
        go_on.set()
        assert running.result(10) is None
        with pytest.raises(CancelledError):
            waiting.result(10)


def test_a_thread_that_needs_another_one_does_not_wait_for_itself() -> None:
    with ThreadPoolExecutor(1) as threads:
        engine = ExecutorEngine(threads)
        assert engine.submit(lambda: engine.submit(samples.add, 4).result(10)).result(10) == 5


def test_engines_that_share_threads_do_not_wait_for_each_other() -> None:
    with ThreadPoolExecutor(1) as threads:
        one, other = ExecutorEngine(threads), ExecutorEngine(threads)
        assert one.submit(lambda: other.submit(samples.add, 1).result(3)).result(20) == 2


def test_threads_see_the_context_of_the_caller() -> None:
    from mlcache import disabled, switch

    with ThreadPoolExecutor(1) as threads:
        engine = ExecutorEngine(threads)
        with disabled():
            assert engine.submit(switch.is_disabled).result(10)
        assert not engine.submit(switch.is_disabled).result(10)


def test_ray_computes() -> None:
    """In a process of its own, as Ray starts a whole cluster; in a folder whose name is short."""
    pytest.importorskip("ray")
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="r") as folder:
        command = [sys.executable, "-m", "tests.offload.on_ray", folder]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.endswith("right\n"), done.stderr


def test_without_ray_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"ray.*mlcache\[ray\]"):
        RayEngine(1)


@pytest.mark.parametrize("actors", [0, -1, True, "2", 1.5])
def test_ray_needs_a_number_of_actors(actors: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"actors is .*above zero"):
        RayEngine(actors)


def test_dask_computes(tmp_path: Path) -> None:
    """In a process of its own, as Dask leaves threads and files behind."""
    pytest.importorskip("distributed")
    command = [sys.executable, "-m", "tests.offload.on_dask"]
    environment = {**os.environ, "DASK_TEMPORARY_DIRECTORY": str(tmp_path)}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.endswith("right\n"), done.stderr
