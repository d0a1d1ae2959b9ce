"""Many calls, while workers are killed again and again: none is lost, none is computed twice, nothing grows.

``SOAK_CALLS=100000`` makes it a long one.
"""

from __future__ import annotations

import gc
import os
import signal
from collections import Counter, deque
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np

from mlcache import Pool
from mlcache.errors import WorkerDied
from mlcache.offload.limits import memory_of
from tests.offload import tasks

CALLS = int(os.environ.get("SOAK_CALLS", "4000"))
EACH = 200
"""Calls after which a worker is killed."""
AT_ONCE = 50


def test_many_calls_with_a_worker_killed_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "computed"
    path.touch()
    outcomes: Counter[str] = Counter()
    with Pool(2) as pool:
        soak(pool, 0, CALLS // 4, path, outcomes)
        before = held()
        soak(pool, CALLS // 4, CALLS, path, outcomes)
        grown = held() - before
        computed = Counter(np.fromfile(path, np.int64).tolist())
        assert outcomes["answered"] + outcomes["died"] == CALLS
        assert max(computed.values()) == 1
        assert outcomes["answered"] <= len(computed) <= CALLS
        assert 0 < outcomes["died"] <= CALLS // EACH
        metrics = pool.metrics()
        assert (metrics.submitted, metrics.answered, metrics.died) == (
            CALLS,
            outcomes["answered"],
            outcomes["died"],
        )
        assert grown < 5 << 20, outcomes


def soak(pool: Pool, start: int, stop: int, path: Path, outcomes: Counter[str]) -> None:
    waiting: deque[tuple[int, Future[Any]]] = deque()
    for number in range(start, stop):
        value = np.full(number % 3000, number)  # some go in the message, some through shared memory
        waiting.append((number, pool.submit(tasks.write_down, str(path), number, value)))
        if number % EACH == EACH - 1:
            kill_one(pool)
        if len(waiting) >= AT_ONCE:
            look(*waiting.popleft(), outcomes)
    while waiting:
        look(*waiting.popleft(), outcomes)


def look(number: int, future: Future[Any], outcomes: Counter[str]) -> None:
    try:
        value = future.result(60)
    except WorkerDied:
        outcomes["died"] += 1
        return
    outcomes["answered"] += 1
    assert len(value) == number % 3000
    assert (value == number).all()


def kill_one(pool: Pool) -> None:
    for worker in pool.metrics().workers:
        if worker.pid and worker.state in ("busy", "idle"):
            os.kill(worker.pid, signal.SIGKILL)
            return


def held() -> int:
    gc.collect()
    return memory_of(os.getpid())
