"""One computation for many processes, whatever becomes of the one that leads."""

from __future__ import annotations

import asyncio
import errno
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from mlcache import Expiry, MlcacheWarning, drive, ml_cache
from mlcache.backends.disk import Disk
from mlcache.backends.filelocks import KeyLock, supersede
from mlcache.backends.memory import Lru
from mlcache.crew import crew
from mlcache.entry import Key
from mlcache.flight.shared import GRACE, WAIT, pauses
from mlcache.testing import FakeClock


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


class Facts:
    """What an answer rests on, and a moment in which it has been read and the answer is not there yet."""

    def __init__(self) -> None:
        self.now = "old"
        self.read, self.may_go = threading.Event(), threading.Event()

    def look(self) -> str:
        """What is the case; the old is told late."""
        seen = self.now
        self.read.set()
        assert seen != "old" or self.may_go.wait(10)
        return seen


@pytest.mark.parametrize("memory", [False, True])
@pytest.mark.parametrize("asks_between", [False, True])
@pytest.mark.parametrize("clears", [False, True])
def test_what_another_process_forgets_while_it_is_computed_is_not_kept(
    tmp_path: Path, *, memory: bool, asks_between: bool, clears: bool
) -> None:
    facts = Facts()

    def process() -> Any:
        near = [Lru(max_bytes=2**20)] if memory else []

        @ml_cache(backend=[*near, f"disk://{tmp_path}"], name="one", version="1", ignore="facts")
        def compute(x: int) -> str:
            return facts.look() * x

        return compute

    here, there = process(), process()
    with ThreadPoolExecutor(1) as threads:
        old = threads.submit(here, 1)
        assert facts.read.wait(10)
        facts.now = "new"
        _ = there.cache_clear() if clears else there.invalidate(1)
        assert not asks_between or there(1) == "new", "it does not wait for who computes from older facts"
        facts.may_go.set()
        assert old.result(10) == "old"
    assert here.peek(1) is None or here.peek(1).value == "new"
    assert here(1) == there(1) == "new"
    assert list((tmp_path / "locks").iterdir()) == []


@pytest.mark.parametrize("way", ["max_age", "early"])
def test_what_one_process_renews_the_others_find_behind_their_memory(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[int] = []

    def process() -> Any:
        terms = Expiry("1h", early=1 if way == "early" else None)

        row: list[Any] = [Lru(max_bytes=2**20), f"disk://{tmp_path}"]

        @ml_cache(ttl=terms, backend=row, name="one", version="1", ignore="runs")
        def compute(x: int) -> int:
            runs.append(x)
            return len(runs)

        return compute

    with FakeClock() as time:
        every = [process() for _ in range(3)]
        assert [each(1) for each in every] == [1, 1, 1]
        time.advance(10)
        monkeypatch.setattr(Expiry, "is_due", lambda *_: way == "early")
        for each in every:
            assert each.fresh(max_age=5)(1) == 2 if way == "max_age" else each(1) == 1
            while crew().busy:
                threading.Event().wait(0.001)
        assert len(runs) == 2


def settle(*functions: Any) -> None:
    """Wait until nothing of these functions is being computed."""
    while any(len(each._actions.cache.flights) for each in functions):
        threading.Event().wait(0.001)


@pytest.mark.parametrize("way", ["plain", "aio", "batch", "one"])
def test_who_renews_in_the_background_waits_for_no_other_process(tmp_path: Path, way: str) -> None:
    runs: list[Any] = []

    @ml_cache(ttl=Expiry(60, stale=60), backend=f"disk://{tmp_path}", ignore="runs")
    def single(x: int) -> int:
        runs.append(x)
        return x * len(runs)

    @ml_cache(ttl=Expiry(60, stale=60), backend=f"disk://{tmp_path}", ignore="runs", batch="xs")
    def many(xs: list[int]) -> list[int]:
        runs.append(xs)
        return [x * len(runs) for x in xs]

    ways: dict[str, Callable[[], object]] = {
        "plain": lambda: single(1),
        "aio": lambda: asyncio.run(single.aio(1)),
        "batch": lambda: many([1])[0],
        "one": lambda: many.one(1),
    }
    items: Any = many.cache_key([1])
    with FakeClock() as time, closing(Disk(tmp_path, max_bytes=2**20)) as disk:
        assert ways[way]() == 1
        time.advance(61)
        elsewhere = [disk.lock(key) for key in (single.cache_key(1), *items)]
        assert all(lock.acquire() for lock in elsewhere)
        for _ in range(2):
            assert ways[way]() == 1
            settle(single, many)
        assert len(runs) == 1
        for lock in elsewhere:
            lock.release()
        assert ways[way]() == 1
        settle(single, many)
        assert ways[way]() == 2


async def test_nor_does_a_task_that_renews(tmp_path: Path) -> None:
    runs: list[int] = []

    @ml_cache(ttl=Expiry(60, stale=60), backend=f"disk://{tmp_path}", ignore="runs")
    async def compute(x: int) -> int:
        runs.append(x)
        return len(runs)

    with FakeClock() as time, closing(Disk(tmp_path, max_bytes=2**20)) as disk:
        assert await compute(1) == 1
        time.advance(61)
        elsewhere = disk.lock(await compute.cache_key(1))
        assert elsewhere.acquire()
        assert await compute(1) == 1
        await asyncio.wait(drive._renewals)
        assert len(runs) == 1
        elsewhere.release()
        assert await compute(1) == 1
        await asyncio.wait(drive._renewals)
        assert await compute(1) == 2


@pytest.mark.parametrize("elsewhere", [True, False])
@pytest.mark.parametrize("way", ["plain", "task", "batch"])
def test_what_is_put_while_it_is_computed_is_not_lost_to_that(
    tmp_path: Path, way: str, *, elsewhere: bool
) -> None:
    facts = Facts()

    def process() -> Any:
        options: Any = {"backend": f"disk://{tmp_path}", "name": "one", "version": "1", "ignore": "facts"}
        if way == "batch":
            return ml_cache(batch="xs", **options)(lambda xs: [facts.look() for _ in xs])
        return ml_cache(**options)(lambda x: facts.look() * x)

    here, there = process(), process()
    argument, put = ([1], ["put"]) if way == "batch" else (1, "put")
    with ThreadPoolExecutor(1) as threads:
        old = threads.submit(lambda: asyncio.run(here.aio(1)) if way == "task" else here(argument))
        assert facts.read.wait(10)
        facts.now = "new"
        (there if elsewhere else here).put(put, argument)
        assert there(argument) == put, "nobody waits for who computes from older facts"
        facts.may_go.set()
        assert old.result(10) == (["old"] if way == "batch" else "old")
    # A batch asks no lock before it writes, so it can only take back what it has written.
    kept = ["new"] if way == "batch" and elsewhere else put
    assert here(argument) == there(argument) == kept
    assert list((tmp_path / "locks").iterdir()) == []


def test_clearing_one_function_leaves_the_locks_of_others(tmp_path: Path) -> None:
    disk = Disk(tmp_path, max_bytes=2**20)
    disk.clear("app.f@1")
    locks = [disk.lock(Key(namespace, bytes(16))) for namespace in ("app.f@1", "app.f@2")]
    assert all(lock.acquire() for lock in locks)
    disk.clear("app.f@1")
    assert [lock.release() for lock in locks] == [True, False]
    disk.close()


def test_a_lock_whose_file_was_taken_leaves_that_of_the_next_holder(tmp_path: Path) -> None:
    file = tmp_path / "key.lock"
    mine, other = KeyLock(file), KeyLock(file)
    assert mine.acquire()
    supersede(file)
    supersede(file)
    assert other.acquire()
    assert mine.release() is True
    assert file.exists()
    assert not mine.acquire()
    assert other.release() is False


def test_a_lock_that_cannot_be_written_holds_nobody_back(tmp_path: Path) -> None:
    lock = KeyLock(tmp_path / "missing" / "key.lock")
    assert lock.acquire()
    lock.release()


@pytest.mark.parametrize(("code", "errors"), [(errno.EMFILE, 1), (errno.ENFILE, 1), (errno.EROFS, 0)])
def test_a_lock_for_which_there_is_no_descriptor_left_is_an_error_that_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, errors: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, "refused")

    @ml_cache(backend=f"disk://{tmp_path}")
    def compute(x: int) -> int:
        return x

    assert compute(0) == 0  # opens the folder
    monkeypatch.setattr(FileLock, "acquire", refuse)
    with pytest.warns(MlcacheWarning, match="lock") if errors else nullcontext():
        assert compute(1) == 1
    assert compute.cache_info().errors == errors


@pytest.mark.parametrize("limit", [0.0, 0.0005, 0.05, 60.0])
def test_pauses_grow_and_add_up_to_the_limit(limit: float) -> None:
    with FakeClock():
        steps = list(pauses(limit))
    assert sum(steps) == pytest.approx(limit)
    assert steps[:-1] == sorted(steps[:-1])
    assert all(0 < step <= 0.025 for step in steps)


def test_tries_that_take_long_count_as_waiting() -> None:
    with FakeClock() as time:
        for pause in pauses(10.0):
            time.advance(pause + 0.5)  # a try that waits for the end of the other one
        assert 10.0 <= time.ticks() <= 10.0 + GRACE + 1.0
