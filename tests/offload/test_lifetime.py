"""However a program ends, forks or forgets its pool: no worker stays, nothing hangs, nothing leaks."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlcache import Pool
from mlcache.errors import PoolClosedError
from tests.offload import tasks
from tests.offload.helpers import children, is_alive, told, until

ROOT = Path(__file__).parents[2]
METHODS = ["forkserver", "spawn", "fork"]
PROGRAM = """
import sys
from mlcache import Pool
from tests.offload import tasks
pool = Pool(2, start_method=sys.argv[1])
pids = {pool.submit(tasks.pid).result(60) for _ in range(20)}
pool.submit(tasks.tell, sys.argv[2]).result(60)
"""


def program(code: str, *args: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-c", PROGRAM + code, *map(str, args)]
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("busy", ["idle", "tell_and_hang", "tell_and_spin"])
def test_no_worker_outlives_a_killed_parent_by_a_second(method: str, busy: str, tmp_path: Path) -> None:
    path, second = tmp_path / "told", tmp_path / "second"
    work = f"futures = [pool.submit(tasks.{busy}, sys.argv[3]) for _ in range(2)]\n" * (busy != "idle")
    with program(work + "tasks.hang()", method, path, second) as parent:
        until(lambda: told(path))
        if busy != "idle":
            until(lambda: len(told(second)) == 2)
        workers = {*told(path), *told(second)}
        assert all(is_alive(worker) for worker in workers)
        parent.kill()
    until(lambda: not any(is_alive(worker) for worker in workers), seconds=1.0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("busy", ["idle", "tell_and_hang", "tell_and_spin"])
def test_a_program_that_closes_nothing_ends(method: str, busy: str, tmp_path: Path) -> None:
    path, second = tmp_path / "told", tmp_path / "second"
    work = f"futures = [pool.submit(tasks.{busy}, sys.argv[3]) for _ in range(4)]\n" * (busy != "idle")
    with program(work, method, path, second) as parent:
        out, err = parent.communicate(timeout=60)
    assert (parent.returncode, out, err) == (0, "", "")
    until(lambda: not any(is_alive(worker) for worker in {*told(path), *told(second)}), seconds=1.0)


FULL = """
import asyncio
from mlcache import ml_cache
pool = Pool(1, max_queue=1)
slow = ml_cache(offload=pool)(tasks.tell_and_hang)
async def main():
    calls = [asyncio.create_task(slow.aio(sys.argv[3] + str(n))) for n in range(4)]
    calls += [asyncio.create_task(pool.run(tasks.hang)) for _ in range(4)]
    while not pool.metrics().queued or pool.metrics().submitted < 2:
        await asyncio.sleep(0.01)
    await asyncio.wait(calls, timeout=0.1)
    for call in calls[::2]:
        call.cancel()
    await asyncio.wait(calls[::2])
asyncio.run(main())
"""


def test_a_program_that_waits_for_room_in_a_pool_ends(tmp_path: Path) -> None:
    with program(FULL, "forkserver", tmp_path / "told", tmp_path / "second") as parent:
        try:
            out, err = parent.communicate(timeout=30)
        finally:
            parent.kill()
    assert (parent.returncode, out, err) == (0, "", "")


def test_a_fork_of_the_program_has_a_pool_of_its_own(tmp_path: Path) -> None:
    with Pool(1) as pool:
        parents = pool.submit(tasks.pid).result(20)
        running = pool.submit(tasks.tell_and_hang, str(tmp_path / "told"))
        until(lambda: told(tmp_path / "told"))
        child = os.fork()
        if child == 0:
            code = 1
            try:
                with pytest.raises(PoolClosedError, match="a fork"):
                    running.result(1)
                own = pool.submit(tasks.pid).result(30)
                pool.close(5)
                code = 0 if own != parents else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert is_alive(parents)
        assert not running.done()
        os.kill(parents, signal.SIGKILL)
        assert running.exception(20) is not None
        assert pool.submit(tasks.echo, 1).result(20) == 1


def test_workers_end_with_the_parent_even_if_its_fork_lives(tmp_path: Path) -> None:
    code = "import os\nif os.fork() == 0:\n    print(os.getpid(), flush=True)\n    tasks.hang()\ntasks.hang()"
    with program(code, "forkserver", tmp_path / "told") as parent:
        assert parent.stdout is not None
        fork = int(parent.stdout.readline())
        workers = told(tmp_path / "told")
        parent.kill()
        parent.wait()
        until(lambda: not any(map(is_alive, workers)), seconds=1.0)
        os.kill(fork, signal.SIGKILL)


def test_a_pool_that_is_forgotten_answers_and_ends() -> None:
    before = children()
    pool = Pool(2)
    futures = [pool.submit(tasks.echo, number) for number in range(50)]
    del pool
    gc.collect()
    assert [future.result(20) for future in futures] == list(range(50))
    until(lambda: children() <= before)


def test_closing_an_idle_pool_leaves_nothing_and_takes_no_time() -> None:
    from mlcache import clock

    taken, before = [], children()
    for _ in range(3):
        pool = Pool(2)
        futures = [pool.submit(tasks.echo, np.ones(100_000)) for _ in range(4)]
        assert all(future.result(20).all() for future in futures)
        start = clock.ticks()
        pool.close()
        taken.append(clock.ticks() - start)
        assert children() <= before
    assert min(taken) < 0.5  # a generous bound: the machine may be busy


def test_a_pool_that_was_never_used_starts_nothing() -> None:
    before = children()
    with Pool(4) as pool:
        assert children() <= before
        assert pool.health().alive
    with pytest.raises(PoolClosedError):
        pool.submit(tasks.pid)


@pytest.mark.parametrize("method", METHODS)
def test_what_python_ignores_on_its_path_is_ignored(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, Path("somewhere")])
    with Pool(1, start_method=method) as pool:
        assert pool.submit(tasks.echo, 1).result(30) == 1


@pytest.mark.parametrize("method", METHODS)
def test_arrays_travel_whatever_the_start_method(method: str) -> None:
    with Pool(2, start_method=method) as pool:
        array = np.arange(300_000.0)
        assert (pool.submit(tasks.echo, array).result(30) == array).all()
        assert pool.submit(lambda x: x + 1, 1).result(30) == 2
