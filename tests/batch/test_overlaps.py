"""Batches that overlap, in threads, tasks and processes: each item is computed once, and nobody locks up."""

from __future__ import annotations

import asyncio
import random
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mlcache import Batch, RecursiveCallError, hook, ml_cache
from mlcache.events import Raised
from tests.faults.children import PATIENCE, command


class Counted:
    """A function of many numbers that counts how often it was given each."""

    def __init__(self) -> None:
        self.seen: Counter[int] = Counter()
        self._lock = threading.Lock()

    def __ml_cache_key__(self) -> str:
        return "counted"

    def __call__(self, numbers: list[int]) -> list[int]:
        with self._lock:
            self.seen.update(numbers)
        return [number * number for number in numbers]


def batches(count: int, *, seed: int) -> list[list[int]]:
    """Random lists out of 200 numbers, with duplicates."""
    chance = random.Random(seed)
    return [[chance.randrange(200) for _ in range(chance.randrange(1, 24))] for _ in range(count)]


def squares(numbers: list[int]) -> list[int]:
    return [number * number for number in numbers]


def test_threads_share_what_is_being_computed(backend: str) -> None:
    counted = Counted()
    cached = ml_cache(backend=backend, batch=Batch("numbers", max_size=7), version="1", name="threads")(
        counted.__call__
    )
    given = batches(32 * 4, seed=1)
    with ThreadPoolExecutor(32) as pool:
        assert list(pool.map(cached, given)) == list(map(squares, given))
    assert set(counted.seen.values()) == {1}
    assert cached.cache_info().misses == len(counted.seen)
    _close(cached)


async def test_tasks_share_what_is_being_computed(backend: str) -> None:
    counted = Counted()

    @ml_cache(backend=backend, batch=Batch("numbers", max_size=7), version="1", name="tasks")
    async def cached(numbers: list[int]) -> list[int]:
        await asyncio.sleep(0)
        return counted(numbers)

    given = batches(1000, seed=2)
    assert await asyncio.gather(*map(cached, given)) == list(map(squares, given))
    assert set(counted.seen.values()) == {1}
    _close(cached)


async def test_tasks_and_threads_share_what_is_being_computed(backend: str) -> None:
    counted = Counted()
    cached = ml_cache(backend=backend, batch="numbers", version="1", name="both")(counted.__call__)
    given, theirs = batches(1000, seed=3), batches(32 * 4, seed=4)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(32) as pool:
        calls = [loop.run_in_executor(pool, cached, each) for each in theirs]
        tasks = [cached.aio(each) for each in given]
        singles = [cached.aio.one(number) for number in range(100)]
        found = await asyncio.gather(*calls, *tasks, *singles)
    assert found == [*map(squares, theirs), *map(squares, given), *squares(list(range(100)))]
    assert set(counted.seen.values()) == {1}
    _close(cached)


PROGRAM = """
import random, sys
from mlcache import Batch, ml_cache

@ml_cache(backend=sys.argv[1], batch=Batch("numbers", max_size=5), version="1", name="processes")
def squares(numbers):
    print(*numbers, flush=True)
    return [number * number for number in numbers]

chance = random.Random(int(sys.argv[2]))
print("ready", file=sys.stderr, flush=True)
sys.stdin.readline()
for _ in range(10):
    numbers = [chance.randrange(60) for _ in range(chance.randrange(1, 24))]
    assert squares(numbers) == [number * number for number in numbers]
"""


@pytest.mark.parametrize("backend", ["disk", "redis"], indirect=True)
def test_processes_share_what_is_being_computed(backend: str) -> None:
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    children = [subprocess.Popen(command(PROGRAM, backend, seed), text=True, **pipes) for seed in range(4)]
    try:
        for child in children:
            assert child.stderr is not None
            assert child.stderr.readline() == "ready\n"
        for child in children:
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
        printed = [child.communicate(timeout=PATIENCE) for child in children]
    finally:
        for child in children:
            child.kill()
            child.wait()
    assert [child.returncode for child in children] == [0] * 4, printed
    seen = Counter(number for out, _ in printed for number in out.split())
    assert set(seen.values()) == {1}


def test_what_we_lead_is_computed_before_we_wait_for_others() -> None:
    began, go = threading.Event(), threading.Event()
    seen: list[str] = []

    @ml_cache(backend="lru?max_bytes=1MiB", batch="names", ignore=["began", "go"])
    def upper(names: list[str]) -> list[str]:
        seen.extend(names)
        if "a" in names:
            began.set()
            assert go.wait(20)
        return [name.upper() for name in names]

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(upper, ["a"])
        assert began.wait(20)
        second = pool.submit(upper, ["a", "b"])
        _wait_until(lambda: upper.peek(["b"]))  # while "a" is still being computed
        assert not second.done()
        go.set()
        assert (first.result(20), second.result(20)) == (["A"], ["A", "B"])
    assert seen == ["a", "b"]


def test_what_came_before_a_failing_chunk_stays_and_what_came_after_is_left_to_others() -> None:
    calls: list[list[str]] = []

    @ml_cache(backend="lru?max_bytes=1MiB", batch=Batch("names", max_size=2))
    def upper(names: list[str]) -> list[str]:
        calls.append(names)
        if "bad" in names:
            raise ValueError("a bad name")
        return [name.upper() for name in names]

    with pytest.raises(ValueError, match="a bad name"):
        upper(["a", "b", "c", "bad", "e"])
    assert upper(["b", "a", "e"]) == ["B", "A", "E"]
    assert calls == [["a", "b"], ["c", "bad"], ["e"]]
    assert upper.cache_info().currsize == 3


def test_a_batch_tries_once_more_without_the_bad_item_of_another() -> None:
    began, go = threading.Event(), threading.Event()
    calls: list[list[str]] = []

    @ml_cache(backend="lru?max_bytes=1MiB", batch="names", ignore=["began", "go"])
    def upper(names: list[str]) -> list[str]:
        calls.append(names)
        began.set()
        assert go.wait(20)
        if "bad" in names:
            raise ValueError("a bad name")
        return [name.upper() for name in names]

    with ThreadPoolExecutor(2) as pool:
        bad = pool.submit(upper, ["good", "bad"])
        assert began.wait(20)
        good = pool.submit(upper, ["good"])
        _wait_until(lambda: any(flight.waiters for flight in _flights(upper)))
        go.set()
        with pytest.raises(ValueError, match="a bad name"):
            bad.result(20)
        assert good.result(20) == ["GOOD"]
    assert calls == [["good", "bad"], ["good"]]


def test_a_failing_call_of_one_item_reaches_all_who_wait() -> None:
    began, go = threading.Event(), threading.Event()
    events: list[Any] = []

    @ml_cache(backend="lru?max_bytes=1MiB", batch="names", ignore=["began", "go"])
    def upper(names: list[str]) -> list[str]:
        _ = names
        began.set()
        assert go.wait(20)
        raise ValueError("no names today")

    with ThreadPoolExecutor(2) as pool, hook(events.append):
        first = pool.submit(upper, ["a"])
        assert began.wait(20)
        second = pool.submit(upper, ["a"])
        _wait_until(lambda: any(flight.waiters for flight in _flights(upper)))
        go.set()
        for future in (first, second):
            with pytest.raises(ValueError, match="no names today"):
                future.result(20)
    assert sum(isinstance(event, Raised) for event in events) == 1


def test_a_batch_within_itself_is_told_of_its_recursion() -> None:
    @ml_cache(backend="lru?max_bytes=1MiB", batch="numbers")
    def depths(numbers: list[int]) -> list[int]:
        return [0 if not number else depths([number - 1, number])[0] + 1 for number in numbers]

    with pytest.raises(RecursiveCallError, match="an item of the batch that it computes"):
        depths([2])


def test_a_batch_may_call_itself_for_other_items() -> None:
    @ml_cache(backend="lru?max_bytes=1MiB", batch="numbers")
    def depths(numbers: list[int]) -> list[int]:
        return [0 if not number else depths([number - 1])[0] + 1 for number in numbers]

    assert depths([4]) == [4]


async def test_a_cancelled_caller_takes_nobodys_items_along() -> None:
    began, go = asyncio.Event(), asyncio.Event()
    calls: list[list[str]] = []

    @ml_cache(backend="lru?max_bytes=1MiB", batch="names", ignore=["began", "go"])
    async def upper(names: list[str]) -> list[str]:
        calls.append(names)
        began.set()
        await go.wait()
        return [name.upper() for name in names]

    first = asyncio.create_task(upper(["a", "b"]))
    await began.wait()
    second = asyncio.create_task(upper(["b", "c"]))
    for _ in range(5):
        await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    go.set()
    assert await second == ["B", "C"]
    assert await upper(["a"]) == ["A"]
    assert calls == [["a", "b"], ["c"]]


def _flights(cached: Any) -> list[Any]:
    return list(cached._actions.cache.flights._flights.values())


def _wait_until(condition: Callable[[], object]) -> None:
    pause = threading.Event()
    while not condition():
        pause.wait(0.002)


def _close(cached: Any) -> None:
    cached._actions.cache.store.close()
