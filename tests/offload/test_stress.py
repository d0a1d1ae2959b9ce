"""Everything at once: several callers, values of all kinds and sizes, workers killed by chance."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any

import numpy as np
import pandas as pd

from mlcache import Pool
from mlcache.errors import CallTimeoutError, PoolFullError, WorkerDied
from mlcache.offload.engine import CallOptions
from mlcache.offload.metrics import WorkerMetrics
from tests.offload import tasks
from tests.offload.helpers import until

SECONDS = float(os.environ.get("STRESS_SECONDS", "8"))
SEED = int(os.environ.get("STRESS_SEED", "0")) or random.randrange(1 << 32)
SIZES = (0, 10, 900, 5000, 30_000, 200_000, 1_500_000)


def stamp(chance: random.Random, size: int) -> np.ndarray[Any, Any]:
    """Bytes that say of themselves whether they are whole: no two arrays have the same."""
    return np.arange(size, dtype=np.int64) * 31 + chance.getrandbits(60)


KINDS: list[Callable[[random.Random, int], Any]] = [
    stamp,
    lambda chance, size: stamp(chance, size)[::3],
    lambda chance, size: stamp(chance, size).tobytes(),
    lambda chance, size: [stamp(chance, size // 7) for _ in range(7)],
    lambda chance, size: {"frame": pd.DataFrame({"a": stamp(chance, size), "b": stamp(chance, size) / 2})},
    lambda chance, size: bytearray(stamp(chance, size).tobytes()),
    lambda chance, size: np.asfortranarray(stamp(chance, size - size % 10).reshape(-1, 10)),
    lambda chance, size: [stamp(chance, 150) for _ in range(min(size, 3000))],
]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return all(same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, pd.DataFrame):
        return one.equals(other)
    return bool(np.array_equal(one, other)) if isinstance(one, np.ndarray) else one == other


class Caller:
    """A thread that calls, keeps some of what it gets, and looks at all of it again and again."""

    def __init__(self, pool: Pool, seed: int) -> None:
        self.wrong: list[str] = []
        self.answered = self.failed = 0
        self._pool = pool
        self._chance = random.Random(seed)
        self._kept: list[tuple[Any, Any]] = []
        self._waiting: list[tuple[Any, Future[Any]]] = []
        self._thread = threading.Thread(target=self._run)
        self.stop = threading.Event()

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive(), "a call was never answered"

    def _run(self) -> None:
        try:
            while not (self.stop.is_set() and self.answered):
                self._ask()
                while len(self._waiting) > self._chance.randrange(8):
                    self._look(*self._waiting.pop(self._chance.randrange(len(self._waiting))))
            while self._waiting:
                self._look(*self._waiting.pop())
        except BaseException as error:
            self.wrong.append(repr(error))
            raise

    def _ask(self) -> None:
        chance = self._chance
        value = chance.choice(KINDS)(chance, chance.choice(SIZES))
        options = CallOptions(
            retry=chance.random() < 0.3,
            priority=chance.randrange(3),
            deadline=chance.choice((None, None, None, 0.05, 5)),
            timeout=chance.choice((None, None, 0.05, 5)),
        )
        task = chance.choice((tasks.echo, tasks.echo, tasks.keep_and_echo))
        try:
            future = self._pool.with_options(options).submit(task, value)
        except PoolFullError:
            assert options.deadline == 0.05, "without a deadline there is always room in the end"
            return
        if chance.random() < 0.1:
            future.cancel()
        self._waiting.append((value, future))

    def _look(self, sent: Any, future: Future[Any]) -> None:
        try:
            came = future.result(60)
        except (WorkerDied, CallTimeoutError, CancelledError):
            self.failed += 1
            return
        self.answered += 1
        self._kept.append((sent, came))
        self.wrong += ["what came is not what was sent"] * (not same(sent, came))
        if len(self._kept) > 20:
            old = self._kept.pop(self._chance.randrange(20))
            self.wrong += ["what was kept was written over"] * (not same(*old))


def test_under_any_load_answers_are_whole_and_everybody_gets_one() -> None:
    chance = random.Random(SEED)
    with Pool(3, max_queue=20, max_queue_bytes="20MiB", max_calls=400) as pool:
        callers = [Caller(pool, chance.randrange(1 << 32)) for _ in range(4)]
        for caller in callers:
            caller.start()
        over = threading.Event()
        killing = threading.Thread(target=kill_by_chance, args=(pool, callers, chance, over))
        killing.start()
        over.wait(SECONDS)
        for caller in callers:
            caller.stop.set()
        for caller in callers:
            caller.join()
        over.set()
        killing.join()
        assert [wrong for caller in callers for wrong in caller.wrong] == [], SEED
        assert all(caller.answered for caller in callers)
        until(lambda: pool.metrics().queued_bytes == 0)
        settled(pool)


def kill_by_chance(pool: Pool, callers: list[Caller], chance: random.Random, over: threading.Event) -> None:
    """Kill a worker now and then, but let some call be answered in between, however slow the machine is."""
    before = 0
    while not over.wait(chance.random() * 0.2):
        answered = sum(caller.answered for caller in callers)
        workers = [worker.pid for worker in pool.metrics().workers if worker.pid and is_ready(worker)]
        if workers and answered > before:
            before = answered
            try:
                os.kill(chance.choice(workers), chance.choice((signal.SIGKILL, signal.SIGUSR1)))
            except ProcessLookupError:
                continue


def is_ready(worker: WorkerMetrics) -> bool:
    """Whether it has started: if none ever does, calls are refused."""
    return worker.state in ("idle", "busy")


def settled(pool: Pool) -> None:
    """Nothing is left in shared memory once workers have let go of what they kept."""
    supervisor = pool._supervisor
    assert supervisor is not None
    desk = supervisor.desk

    def is_free() -> bool:
        # One for each worker at a time: else always the same one would get it.
        for future in [pool.submit(tasks.drop_slowly) for _ in range(len(desk.members))]:
            future.exception(20)
        pinned = any(member.pinned for member in desk.members.values())
        whole = all(holes == [(0, segment.size)] for segment, holes in desk.arena._free.items())
        return not pinned and whole and not desk.arena._alone

    until(is_free)
    assert desk.lobby._reserved == desk.lobby._reserved_bytes == len(desk.lobby) == 0
