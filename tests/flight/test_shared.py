"""One computation for many processes, whatever becomes of the one that leads."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from mlcache import ml_cache
from mlcache.backends.filelocks import KeyLock
from mlcache.flight.shared import WAIT, pauses

TIMEOUT = 30.0
SPAWN = multiprocessing.get_context("spawn")
resource_tracker.ensure_running()  # one for the whole run, which no test is to be blamed for


def serve(folder: str, log: str, threads: int, first: int, last: int, gate: str) -> None:
    """What a process of a service does: many threads ask for the same answers at once."""

    @ml_cache(backend=f"disk://{folder}", name="shared", ignore=("log", "gate"))
    def compute(x: int) -> int:
        with Path(log).open("a") as file:
            file.write(f"{os.getpid()} {x}\n")
        wait_for(lambda: Path(gate).exists())
        return x * 2

    def ask() -> None:
        assert [compute(x) for x in range(first, last)] == [x * 2 for x in range(first, last)]

    workers = [Thread(target=ask) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        os.sched_yield()


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, Path, Path]:
    return tmp_path / "cache", tmp_path / "log", tmp_path / "gate"


@pytest.fixture
def start(paths: tuple[Path, Path, Path]) -> Iterator[Callable[..., BaseProcess]]:
    """Starts a process that runs ``serve``; all are ended afterwards."""
    folder, log, gate = paths
    started: list[BaseProcess] = []

    def begin(threads: int = 1, first: int = 1, last: int = 2) -> BaseProcess:
        process = SPAWN.Process(target=serve, args=(str(folder), str(log), threads, first, last, str(gate)))
        process.start()
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.join()
        process.close()


def runs(log: Path) -> list[str]:
    """The arguments with which the function ran, in all processes."""
    return [line.split()[1] for line in log.read_text().splitlines()] if log.exists() else []


def test_many_processes_and_threads_compute_once(
    paths: tuple[Path, Path, Path], start: Callable[..., BaseProcess]
) -> None:
    folder, log, gate = paths
    processes = [start(threads=8) for _ in range(8)]
    wait_for(lambda: runs(log) != [])
    gate.touch()
    for process in processes:
        process.join(TIMEOUT)
    assert [process.exitcode for process in processes] == [0] * 8
    assert runs(log) == ["1"]
    assert list((folder / "locks").iterdir()) == []


def test_many_keys_at_once_are_computed_once_each(
    paths: tuple[Path, Path, Path], start: Callable[..., BaseProcess]
) -> None:
    _, log, gate = paths
    gate.touch()
    processes = [start(threads=4, first=0, last=100) for _ in range(4)]
    for process in processes:
        process.join(TIMEOUT)
    assert [process.exitcode for process in processes] == [0] * 4
    assert sorted(runs(log), key=int) == [str(x) for x in range(100)]


def test_a_killed_leader_is_replaced_at_once(
    paths: tuple[Path, Path, Path], start: Callable[..., BaseProcess]
) -> None:
    _, log, gate = paths
    leader = start()
    wait_for(lambda: runs(log) == ["1"])
    follower = start()
    leader.kill()
    wait_for(lambda: runs(log) == ["1", "1"])
    gate.touch()
    follower.join(TIMEOUT)
    assert follower.exitcode == 0
    assert len({line.split()[0] for line in log.read_text().splitlines()}) == 2


def test_who_has_waited_long_enough_for_a_stopped_leader_computes(
    paths: tuple[Path, Path, Path], start: Callable[..., BaseProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, log, gate = paths
    leader = start()
    wait_for(lambda: runs(log) == ["1"])
    assert leader.pid is not None
    os.kill(leader.pid, signal.SIGSTOP)
    monkeypatch.setenv("MLCACHE_WAIT", "50ms")
    follower = start()
    wait_for(lambda: runs(log) == ["1", "1"])
    gate.touch()
    follower.join(TIMEOUT)
    assert follower.exitcode == 0


def test_a_leader_that_raises_lets_the_next_one_try(tmp_path: Path) -> None:
    attempts = []

    @ml_cache(backend=f"disk://{tmp_path}", ignore="attempts")
    def compute(x: int) -> int:
        attempts.append(x)
        if len(attempts) == 1:
            raise ValueError("once")
        return x

    with pytest.raises(ValueError, match="once"):
        compute(1)
    assert compute(1) == 1
    assert list((tmp_path / "locks").iterdir()) == []


def test_who_needs_a_namesake_with_the_same_arguments_does_not_wait_for_itself(tmp_path: Path) -> None:
    """The lock of that key is held by whoever asks for it."""
    options: dict[str, Any] = {"backend": f"disk://{tmp_path}", "name": "one", "version": "1"}

    @ml_cache(**options)
    def inner(x: int) -> int:
        return x * 2

    @ml_cache(**options)
    def outer(x: int) -> int:
        return inner(x)

    @ml_cache(**options)
    async def suspending(x: int) -> int:
        return await inner.aio(x)

    started = time.monotonic()
    assert outer(1) == 2
    assert asyncio.run(suspending(2)) == 4
    assert time.monotonic() - started < WAIT / 2


def test_a_lock_is_one_holders_and_its_file_goes_with_it(tmp_path: Path) -> None:
    file = tmp_path / "key.lock"
    mine, other = KeyLock(file), KeyLock(file)
    assert mine.acquire()
    assert not other.acquire()
    mine.release()
    assert not file.exists()
    assert other.acquire()
    mine.release()
    assert file.exists()
    other.release()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_cannot_be_written_holds_nobody_back(tmp_path: Path) -> None:
    lock = KeyLock(tmp_path / "missing" / "key.lock")
    assert lock.acquire()
    lock.release()


@pytest.mark.parametrize("limit", [0.0, 0.0005, 0.05, 60.0])
def test_pauses_grow_and_add_up_to_the_limit(limit: float) -> None:
    steps = list(pauses(limit))
    assert sum(steps) == pytest.approx(limit)
    assert steps[:-1] == sorted(steps[:-1])
    assert all(0 < step <= 0.025 for step in steps)
