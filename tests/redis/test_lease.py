"""The lock of a key in Redis: one holder of all processes, for as long as it shows that it lives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlcache import open_backend
from mlcache.backends.redis.lease import LEASE
from mlcache.backends.redis.store import Redis
from mlcache.entry import Key
from tests.redis.servers import Server, wait_until

KEY = Key("app.f@1", b"1" * 16)

WORKER = """
import sys, time
from pathlib import Path
from mlcache import ml_cache

log, gate, url = sys.argv[1:]

@ml_cache(backend=url, name="leased")
def compute(x):
    with open(log, "a") as file:
        file.write(f"{x}\\n")
    while not Path(gate).exists():
        time.sleep(0.001)
    return x * 2

assert compute(1) == 2
"""


@pytest.fixture
def store(server: Server) -> Iterator[Redis]:
    backend = open_backend(f"redis://localhost:{server.port}/0")
    assert isinstance(backend, Redis)
    yield backend
    backend.close()


def test_one_holds_it_until_it_lets_go(store: Redis) -> None:
    mine, other = store.lock(KEY), store.lock(KEY)
    assert mine.acquire()
    assert not other.acquire()
    other.release()
    assert not other.acquire()
    mine.release()
    assert other.acquire()
    other.release()


def test_it_is_renewed_while_it_is_held(store: Redis) -> None:
    mine, other = store.lock(KEY), store.lock(KEY)
    assert mine.acquire()
    assert not threading.Event().wait(1.5 * LEASE)
    assert not other.acquire()
    mine.release()


def test_who_lets_go_late_does_not_end_anothers(store: Redis, server: Server) -> None:
    mine, other = store.lock(KEY), store.lock(KEY)
    assert mine.acquire()
    server.command("FLUSHALL")
    assert other.acquire()
    mine.release()
    assert not store.lock(KEY).acquire()
    other.release()


def test_leases_are_no_entries(store: Redis) -> None:
    lease = store.lock(KEY)
    assert lease.acquire()
    assert store.count(KEY.namespace) == 0
    lease.release()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[tuple[Path, Path, list[subprocess.Popen[bytes]]]]:
    """The log, the gate, and the processes, which are ended afterwards."""
    processes: list[subprocess.Popen[bytes]] = []
    yield tmp_path / "log", tmp_path / "gate", processes
    for process in processes:
        process.kill()
        process.wait()


def begin(server: Server, run: tuple[Path, Path, list[subprocess.Popen[bytes]]]) -> subprocess.Popen[bytes]:
    log, gate, processes = run
    url = f"redis://localhost:{server.port}/0"
    process = subprocess.Popen([sys.executable, "-c", WORKER, str(log), str(gate), url])
    processes.append(process)
    return process


def runs(log: Path) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_many_processes_compute_once(
    server: Server, run: tuple[Path, Path, list[subprocess.Popen[bytes]]]
) -> None:
    processes = [begin(server, run) for _ in range(4)]
    wait_until(lambda: runs(run[0]))
    run[1].touch()
    assert [process.wait(30) for process in processes] == [0] * 4
    assert runs(run[0]) == 1


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_leader_that_shows_no_life_is_replaced(
    server: Server, run: tuple[Path, Path, list[subprocess.Popen[bytes]]], how: signal.Signals
) -> None:
    leader = begin(server, run)
    wait_until(lambda: runs(run[0]))
    follower = begin(server, run)
    os.kill(leader.pid, how)
    wait_until(lambda: runs(run[0]) == 2)
    run[1].touch()
    assert follower.wait(30) == 0
