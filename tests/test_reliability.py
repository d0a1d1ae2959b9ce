"""What must not go wrong in a long-running service: finalizers, forks, stopped loops, circles."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

from mlcache import MlcacheWarning, hook, ml_cache
from mlcache.cache import Cache
from mlcache.entry import Key
from mlcache.testing import FakeClock

TIMEOUT = 20.0


class Argument:
    """Something that can be keyed, and that dies when nobody holds it."""

    def __ml_cache_key__(self) -> str:
        return "argument"


def test_a_failed_call_leaves_no_circle_of_references() -> None:
    @ml_cache
    def fail(_x: Argument) -> None:
        raise ValueError("no")

    gc.disable()
    try:
        argument = Argument()
        gone = weakref.ref(argument)
        with pytest.raises(ValueError, match="no") as caught:
            fail(argument)
        del argument, caught
        assert gone() is None
    finally:
        gc.enable()


def test_a_loop_that_has_stopped_strands_nobody() -> None:
    calls = []

    @ml_cache(ignore="calls")
    async def compute(x: int) -> int:
        calls.append(x)
        if len(calls) == 1:
            await asyncio.Event().wait()
        return x

    async def begin() -> None:
        asking = asyncio.ensure_future(compute(1))
        while not calls:
            await asyncio.sleep(0)
        asking.cancel()

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(begin())
        assert asyncio.run(asyncio.wait_for(compute(1), TIMEOUT)) == 1
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        loop.close()


def test_a_finalizer_may_call_a_cached_function_at_any_time() -> None:
    class Late:
        def __del__(self) -> None:
            compute(-1)

    @ml_cache
    def compute(x: int) -> int:
        return x

    def litter() -> None:
        for x in range(3000):
            late: list[Any] = [Late()]
            late.append(late)
            compute(x)

    before = gc.get_threshold()
    gc.set_threshold(5)
    try:
        thread = threading.Thread(target=litter, daemon=True)
        thread.start()
        thread.join(TIMEOUT)
        assert not thread.is_alive(), "locked up"
    finally:
        gc.set_threshold(*before)
        gc.collect()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_during_the_first_call_can_call(monkeypatch: pytest.MonkeyPatch) -> None:
    opening, go_on = threading.Event(), threading.Event()

    def slow(*args: Any, **kwargs: Any) -> Any:
        if threading.current_thread() is not threading.main_thread() and not opening.is_set():
            opening.set()
            go_on.wait(TIMEOUT)
        return Cache(*args, **kwargs)

    monkeypatch.setattr("mlcache.actions.Cache", slow)

    @ml_cache
    def compute(x: int) -> int:
        return x + 1

    thread = threading.Thread(target=compute, args=(1,))
    thread.start()
    assert opening.wait(TIMEOUT)
    child = os.fork()
    if child == 0:
        os._exit(0 if compute(1) == 2 else 1)
    go_on.set()
    thread.join()
    until = time.monotonic() + TIMEOUT
    while (status := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < until:
        os.sched_yield()
    if status[0] == 0:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert status == (child, 0)


def test_a_wrapper_is_called_as_it_is_and_not_as_what_it_wraps() -> None:
    def inner(x: int, factor: int = 1) -> int:
        return x * factor

    @functools.wraps(inner)
    def other_default(x: int, factor: int = 2) -> int:
        return inner(x, factor)

    @functools.wraps(inner)
    def injects(x: int) -> int:
        return inner(x, factor=10)

    assert ml_cache(other_default)(10) == 20
    assert ml_cache(injects)(10) == 100


@pytest.mark.parametrize("backend", ["lru", "disk", "lru, disk"])
def test_new_terms_hold_for_old_answers(backend: str) -> None:
    def compute(x: int) -> np.ndarray[Any, Any]:
        return np.arange(x)

    with FakeClock() as clock:
        ml_cache(backend=backend)(compute)(3)
        shorter = ml_cache(backend=backend, ttl=10)(compute)
        shorter(3)
        clock.advance(11)
        assert shorter.call_with_info(3).status == "miss"
        assert ml_cache(backend=backend, returns="copy")(compute)(3).flags.writeable


@pytest.mark.filterwarnings("ignore::mlcache.MlcacheWarning")
def test_what_cannot_be_copied_is_nobody_elses() -> None:
    together = threading.Barrier(4)
    never = threading.Event()

    @ml_cache(ignore="never")
    def numbers(count: int) -> Iterator[int]:
        never.wait(0.05)  # so that the others come meanwhile
        return (number for number in range(count))

    def ask() -> list[int]:
        together.wait(TIMEOUT)
        return list(numbers(4))

    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(ask) for _ in range(4)]
        assert [each.result(TIMEOUT) for each in asked] == [[0, 1, 2, 3]] * 4

    async def main() -> list[list[int]]:
        return [list(each) for each in await asyncio.gather(*(numbers.aio(3) for _ in range(4)))]

    assert asyncio.run(main()) == [[0, 1, 2]] * 4


class Nonsense:
    """A backend that returns what is no entry."""

    name = "nonsense"
    holds: ClassVar[Literal["entries"]] = "entries"
    blocking = False

    def get(self, _key: Key) -> Any:
        return "no entry"

    def put(self, _key: Key, _entry: Any) -> None:
        return None

    def delete(self, _key: Key) -> bool:
        return False


def test_a_backend_that_returns_nonsense_does_not_fail_the_call() -> None:
    nonsense: Any = Nonsense()

    @ml_cache(backend=nonsense)
    def compute(x: int) -> int:
        return x

    with pytest.warns(MlcacheWarning, match="no entry"):
        assert compute(1) == 1
    assert compute.cache_info().errors > 0


def test_switched_off_nothing_is_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLCACHE_DISABLED", "1")

    @ml_cache(backend=f"disk://{tmp_path}/cache")
    def compute(x: int) -> int:
        return x

    assert compute.call_with_info(1).status == "bypass"
    assert not (tmp_path / "cache").exists()


def test_a_hook_that_raises_is_warned_of() -> None:
    def raising(_event: object) -> None:
        raise ValueError("a bad hook")

    compute: Callable[[int], int] = ml_cache(lambda x: x)
    with hook(raising), pytest.warns(MlcacheWarning, match="a bad hook"):
        assert compute(1) == 1


def test_a_deadline_beyond_all_calendars_is_shown_as_the_last_moment() -> None:
    compute = ml_cache(ttl="100000000d")(lambda x: x)
    compute(1)
    expires = compute.call_with_info(1).expires_at
    assert expires is not None
    assert expires.year == 9999
