"""Switching the cache off, for one thread or task and what it starts."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mlcache import disabled, ml_cache, switch


def counting() -> tuple[Any, list[int]]:
    calls: list[int] = []

    def f(x: int) -> int:
        calls.append(x)
        return len(calls)

    return ml_cache(f), calls


def test_nothing_is_looked_up_and_nothing_is_kept() -> None:
    f, calls = counting()
    assert f(1) == 1
    with disabled():
        assert [f(1), f(1), f(2)] == [2, 3, 4]
        assert f.call_with_info(1).status == "bypass"
        assert f.refresh(1) == 6
        assert f.fresh(max_age=1)(1) == 7
        assert f.warm([1, 9]) == 0
    assert f(1) == 1
    assert f.peek(2) is None
    assert f.peek(9) is None
    info = f.cache_info()
    assert (info.hits, info.misses, info.bypasses) == (1, 1, 8)
    assert calls.count(1) == 7


def test_an_argument_without_a_key_is_no_matter_while_it_is_off() -> None:
    f = ml_cache(lambda x: str(type(x)))
    with disabled():
        assert f(object()) == "<class 'object'>"


async def test_nothing_is_looked_up_and_nothing_is_kept_on_an_event_loop() -> None:
    f, _ = counting()

    @ml_cache
    async def g(x: int) -> int:
        return int(f.cache_info().bypasses) + x

    await f.aio(1)
    await g(1)
    with disabled():
        assert [await f.aio(1), await f.aio(1)] == [2, 3]
        assert await g(1) == 3
        assert await g.refresh(1) == 3
    assert await f.aio(1) == 1
    assert await g(1) == 1


def test_it_is_on_again_after_an_error() -> None:
    f, _ = counting()
    f(1)
    with pytest.raises(KeyError), disabled():
        raise KeyError
    assert f(1) == 1
    assert switch.detours == 0


def test_it_can_be_nested() -> None:
    f, calls = counting()
    f(1)
    with disabled():
        with disabled():
            f(1)
        f(1)
    f(1)
    assert len(calls) == 3


def test_it_decorates_a_function() -> None:
    f, calls = counting()

    @disabled()
    def evaluate() -> None:
        f(1)
        f(1)

    evaluate()
    evaluate()
    assert len(calls) == 4


def test_what_is_called_within_is_off_too() -> None:
    inner, calls = counting()

    @ml_cache(ignore=["inner"])
    def outer(x: int) -> int:
        return int(inner(x))

    with disabled():
        outer(1)
        outer(1)
    assert len(calls) == 2


def test_other_threads_go_on_being_cached() -> None:
    f, calls = counting()
    f(1)
    with disabled(), ThreadPoolExecutor(2) as pool:
        assert [*pool.map(f, [1, 1, 1])] == [1, 1, 1]
        assert pool.submit(contextvars.copy_context().run, f, 1).result() == 2
    assert len(calls) == 2


async def test_other_tasks_go_on_being_cached_and_tasks_started_within_do_not() -> None:
    f, _ = counting()
    f(1)
    entered, done = asyncio.Event(), asyncio.Event()

    async def within() -> list[int]:
        with disabled():
            entered.set()
            await done.wait()
            child = asyncio.create_task(f.aio(1))
            return [await f.aio(1), await child]

    task = asyncio.create_task(within())
    await entered.wait()
    assert await f.aio(1) == f(1) == 1
    done.set()
    assert sorted(await task) == [2, 3]
    assert f(1) == 1


def test_detours_are_counted_over_threads() -> None:
    barrier = threading.Barrier(5)

    def enter() -> None:
        with disabled():
            barrier.wait(10)
            barrier.wait(10)

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    barrier.wait(10)
    assert switch.detours == 4
    assert not switch.is_disabled()
    barrier.wait(10)
    for thread in threads:
        thread.join()
    assert switch.detours == 0


def test_where_functions_are_plain_no_cache_is_opened_and_nothing_is_counted() -> None:
    f, calls = counting()
    with switch.plain():
        assert [f(1), f(1)] == [1, 2]
        assert f._actions.opened is None
        assert switch.is_disabled()
    assert f(1) == 3
    with switch.plain():
        assert f(1) == 4
        assert f.call_with_info(1).status == "bypass"
    assert f(1) == 3
    assert len(calls) == 5
    assert switch.detours == 0


async def test_coroutine_functions_are_plain_there_too() -> None:
    calls: list[int] = []

    @ml_cache
    async def f(x: int) -> int:
        calls.append(x)
        return len(calls)

    with switch.plain():
        assert [await f(1), await f(1)] == [1, 2]
        assert f._actions.opened is None
    assert [await f(1), await f(1)] == [3, 3]
    with switch.plain():
        assert await f(1) == 4


def test_a_process_can_be_plain_for_good() -> None:
    code = (
        "import threading\n"
        "from mlcache import ml_cache, switch\n"
        "calls = []\n"
        "f = ml_cache(lambda x: calls.append(x))\n"
        "switch.be_plain()\n"
        "threads = [threading.Thread(target=f, args=(1,)) for _ in range(3)]\n"
        "for each in threads: each.start()\n"
        "for each in threads: each.join()\n"
        "print(len(calls))\n"
    )
    command = [sys.executable, "-c", code]
    root = Path(__file__).parents[1]
    assert subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout == "3\n"
