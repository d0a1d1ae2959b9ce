"""Whatever a worker does: the caller's error, the other calls answered, the next call works, nothing left."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlcache import Pool
from mlcache.errors import CallTimeoutError, PoolClosedError, RemoteError, WorkerDied, WorkerStartError
from mlcache.offload.engine import CallOptions
from tests.offload import tasks
from tests.offload.helpers import told, until


@pytest.fixture
def pool() -> Iterator[Pool]:
    """Two workers, both of which are there."""
    with Pool(2, timeout=30) as pool:
        pool.start()
        until(lambda: not pool.health().degraded)
        yield pool
        assert pool.submit(tasks.echo, "next").result(20) == "next"


def beside(pool: Pool, bad: Callable[..., Any], *args: Any) -> BaseException | None:
    """What becomes of a bad call, among others that are to be answered."""
    before = [pool.submit(tasks.echo, number) for number in range(3)]
    failing = pool.submit(bad, *args)
    after = [pool.submit(tasks.echo, np.full(1000, number)) for number in range(20)]
    assert [future.result(20) for future in before] == [0, 1, 2]
    assert [int(future.result(20)[-1]) for future in after] == list(range(20))
    return failing.exception(20)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (tasks.kill_myself, "killed by SIGKILL"),
        (tasks.segfault, "killed by SIGSEGV"),
        (tasks.exit_hard, "ended with status 7"),
        (tasks.close_everything, "worker process"),
        (tasks.talk_rubbish, "killed by SIGKILL"),
    ],
)
def test_a_worker_that_ends_costs_its_own_call_only(pool: Pool, bad: Callable[..., Any], words: str) -> None:
    error = beside(pool, bad)
    assert isinstance(error, WorkerDied)
    assert words in str(error)
    assert bad.__name__ in str(error)
    assert pool.metrics().died == 1


def test_who_may_have_written_to_an_argument_is_told_that_it_can_only_be_read(pool: Pool) -> None:
    values = np.ones(100_000)
    error = beside(pool, tasks.write_past_numpy, values)
    assert isinstance(error, WorkerDied)
    assert "call of write_past_numpy. Did it write to an array among its arguments" in str(error)
    assert "let it work on a copy" in str(error)
    assert values.all()


@pytest.mark.parametrize(
    ("bad", "kind", "words"),
    [
        (tasks.exit_softly, RemoteError, "SystemExit"),
        (tasks.interrupt, RemoteError, "KeyboardInterrupt"),
        (tasks.run_out_of_memory, MemoryError, ""),
        (tasks.make_unpicklable, ValueError, "I cannot be pickled"),
        (tasks.make_poison, ValueError, "I cannot be unpickled"),
        (tasks.raise_unpicklable, RemoteError, "BadError"),
        (tasks.raise_poison, RemoteError, "PoisonError"),
        (tasks.raise_home, RemoteError, "HomeError"),
    ],
)
def test_what_a_call_raises_or_returns_costs_no_worker(
    pool: Pool, bad: Callable[..., Any], kind: type[Exception], words: str
) -> None:
    workers = {worker.pid for worker in pool.metrics().workers}
    error = beside(pool, bad)
    assert isinstance(error, kind)
    assert words in str(error)
    assert {worker.pid for worker in pool.metrics().workers} == workers


@pytest.mark.parametrize(
    ("argument", "words", "where"),
    [
        (
            tasks.CannotBePickled(),
            "I cannot be pickled",
            "raised while the argument 'value' (a tests.offload.tasks.CannotBePickled) of echo was packed",
        ),
        (tasks.CannotBeUnpickled(), "I cannot be unpickled", "raised in the worker while the function"),
    ],
    ids=["pickled", "unpickled"],
)
def test_arguments_that_do_not_travel_fail_their_call(
    pool: Pool, argument: object, words: str, where: str
) -> None:
    error = beside(pool, tasks.echo, argument)
    assert isinstance(error, ValueError)
    assert words in str(error)
    assert error.__notes__[0].startswith(where)


@pytest.mark.parametrize("bad", [tasks.hang, tasks.hang_in_c, tasks.hang_deaf])
def test_a_call_that_hangs_is_ended_with_its_worker(pool: Pool, bad: Callable[..., Any]) -> None:
    asked = pool.with_options(CallOptions(timeout=0.2))
    others = [pool.submit(tasks.echo, number) for number in range(5)]
    failing = asked.submit(bad)
    after = [pool.submit(tasks.echo, number) for number in range(5)]
    with pytest.raises(CallTimeoutError, match=r"took longer than 0\.2 s"):
        failing.result(20)
    assert [future.result(20) for future in (*others, *after)] == [*range(5), *range(5)]
    assert pool.metrics().timed_out == 1


def test_a_worker_killed_while_it_is_idle_is_replaced(pool: Pool) -> None:
    workers = {worker.pid for worker in pool.metrics().workers}
    for worker in workers:
        assert worker
        os.kill(worker, signal.SIGKILL)
    until(lambda: pool.metrics().restarts == 2)
    futures = [pool.submit(tasks.pid) for _ in range(10)]
    assert not workers & {future.result(20) for future in futures}


def test_a_worker_killed_in_its_task_is_noticed(pool: Pool, tmp_path: Path) -> None:
    future = pool.submit(tasks.tell_and_hang, str(tmp_path / "told"))
    until(lambda: told(tmp_path / "told"))
    os.kill(told(tmp_path / "told")[0], signal.SIGKILL)
    assert isinstance(future.exception(20), WorkerDied)


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.02, 0.05])
def test_a_worker_killed_while_it_sends_something_large(pool: Pool, delay: float) -> None:
    future = pool.submit(tasks.ones_and_die_sending, 60, delay)
    error = future.exception(20)
    assert error is None or isinstance(error, WorkerDied)
    if error is None:
        assert future.result().all()
        until(lambda: pool.metrics().restarts)


def test_a_worker_killed_while_it_receives_something_large(pool: Pool) -> None:
    large = np.ones(8 << 20)
    for _ in range(3):
        workers = [worker.pid for worker in pool.metrics().workers if worker.pid and worker.state == "idle"]
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)  # so that it surely gets no further
        future = pool.submit(tasks.facts, large)
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        assert isinstance(future.exception(20), WorkerDied)
        until(lambda: pool.health().ready and not pool.health().degraded)


def test_a_call_is_tried_once_more_if_asked(pool: Pool, tmp_path: Path) -> None:
    again = pool.with_options(CallOptions(retry=True))
    path = tmp_path / "told"
    second = again.submit(tasks.tell_once_and_die, str(path)).result(20)
    assert len(told(path)) == 2
    assert told(path)[1] == second != told(path)[0]


def test_a_call_that_has_killed_two_workers_is_refused(pool: Pool, tmp_path: Path) -> None:
    path = tmp_path / "told"
    again = pool.with_options(CallOptions(retry=True))
    with pytest.raises(WorkerDied, match="has ended two workers"):
        again.submit(tasks.tell_and_die, str(path)).result(20)
    assert len(told(path)) == 2


def test_a_call_that_is_not_to_be_retried_is_not(pool: Pool, tmp_path: Path) -> None:
    with pytest.raises(WorkerDied):
        pool.submit(tasks.tell_and_die, str(tmp_path / "told")).result(20)
    assert len(told(tmp_path / "told")) == 1


def test_a_task_that_forks_is_answered_once(pool: Pool) -> None:
    assert pool.submit(tasks.fork_and_return).result(20) == 5
    assert [pool.submit(tasks.echo, number).result(20) for number in range(10)] == list(range(10))
    assert pool.metrics().restarts == 0


def test_a_worker_cannot_make_shared_memory_smaller(pool: Pool) -> None:
    pool.submit(tasks.echo, np.ones(100_000)).result(20)
    futures = [pool.submit(tasks.truncate_memory) for _ in range(4)]
    assert sum(future.result(20) for future in futures) > 0
    array = np.arange(100_000)
    assert (pool.submit(tasks.echo, array).result(20) == array).all()


def test_a_nursery_that_is_killed_is_replaced(pool: Pool) -> None:
    supervisor = pool._supervisor
    assert supervisor is not None
    assert supervisor.staff._nursery is not None
    os.kill(supervisor.staff._nursery._process.pid, signal.SIGKILL)  # type: ignore[union-attr]
    until(lambda: pool.metrics().restarts)
    assert pool.submit(tasks.echo, 1).result(20) == 1


def test_resources_that_raise_are_a_clear_error() -> None:
    with Pool(2, resources={"model": tasks.load_badly}) as pool:
        futures = [pool.submit(tasks.use, number) for number in range(5)]
        for future in futures:
            error = future.exception(20)
            assert isinstance(error, WorkerStartError)
            assert "resources of a worker could not be loaded" in str(error)
            assert isinstance(error.__cause__, WorkerStartError)
            assert isinstance(error.__cause__.__cause__, FileNotFoundError)
        health = pool.health()
        assert not health.alive
        assert not health.ready
        assert any("no weights here" in reason or "resources" in reason for reason in health.reasons)
        assert isinstance(pool.submit(tasks.use, 1).exception(20), WorkerStartError)


@pytest.mark.parametrize("load", [tasks.kill_myself, tasks.exit_hard])
def test_workers_that_die_while_they_load_are_no_endless_loop(load: Callable[[], Any]) -> None:
    with Pool(1, resources={"model": load}) as pool:
        error = pool.submit(tasks.use, 1).exception(20)
        assert isinstance(error, WorkerStartError)
        assert "before it took calls" in str(error)


def test_resources_that_hang_are_given_up() -> None:
    with Pool(1, resources={"model": tasks.hang}, load_timeout=1.0) as pool:
        error = pool.submit(tasks.use, 1).exception(20)
        assert isinstance(error, WorkerStartError)
        assert "took longer than 1 s" in str(error)


def test_a_pool_recovers_once_its_resources_can_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TELL", str(tmp_path / "missing" / "told"))
    with Pool(1, resources={"model": tasks.load_and_tell}) as pool:
        assert isinstance(pool.submit(tasks.which).exception(20), WorkerStartError)
        (tmp_path / "missing").mkdir()
        until(lambda: pool.health().ready)
        assert pool.submit(tasks.which).result(20) in told(tmp_path / "missing" / "told")
        assert not pool.health().degraded


def test_a_thousand_calls_taken_back_under_load() -> None:
    with Pool(2, max_queue=None) as pool:
        futures, cancelled = [], set()
        for number in range(3000):
            futures.append(pool.submit(tasks.echo, np.full(4000, number) if number % 5 else number))
            if number % 2 and futures[-1].cancel():
                cancelled.add(number)
        for number, future in enumerate(futures):
            assert future.cancelled() if number in cancelled else np.all(future.result(20) == number)
        assert len(cancelled) > 1000
        until(lambda: pool.metrics().cancelled == len(cancelled))
        metrics = pool.metrics()
        assert (metrics.queued, metrics.queued_bytes) == (0, 0)
        assert metrics.answered == len(futures) - len(cancelled)
        assert pool.submit(tasks.echo, "next").result(20) == "next"


def test_all_calls_are_resolved_when_a_pool_is_closed_under_load() -> None:
    pool = Pool(2)
    futures = [pool.submit(tasks.echo, number) for number in range(500)]
    futures += [pool.submit(tasks.hang) for _ in range(2)]
    pool.close(0.2)
    outcomes = {type(future.exception(0)) for future in futures}
    assert outcomes <= {type(None), PoolClosedError}
    assert isinstance(futures[-1].exception(0), PoolClosedError)
    with pytest.raises(PoolClosedError):
        pool.submit(tasks.echo, 1)
