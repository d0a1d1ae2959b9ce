"""Computing here, with resources that are loaded once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from mlcache import ConfigurationError
from mlcache.offload.engine import CallOptions
from mlcache.offload.inline import Apart, Inline, Resources
from mlcache.offload.pool import Pool
from tests.offload import samples, tasks


def counting(value: Any) -> tuple[Callable[[], Any], list[int]]:
    loaded: list[int] = []

    def load() -> Any:
        loaded.append(threading.get_ident())
        return value

    return load, loaded


def weigh(x: int, *, weight: int, bias: int = 0) -> int:
    return weight * x + bias


def test_a_call_is_computed_before_submit_returns() -> None:
    future = Inline().submit(samples.add, 1, b=2)
    assert future.done()
    assert future.result() == 3
    assert future.seconds >= 0  # type: ignore[attr-defined]


def test_resources_are_loaded_once_when_they_are_first_needed() -> None:
    load, loaded = counting(5)
    engine = Inline({"weight": load, "other": load})
    assert engine.submit(samples.add, 1).result() == 2
    assert loaded == []
    assert [engine.submit(weigh, x, bias=1).result() for x in range(3)] == [1, 6, 11]
    assert len(loaded) == 1


def test_resources_are_loaded_once_by_many_threads() -> None:
    inside, go_on = threading.Event(), threading.Event()
    loaded: list[int] = []

    def load() -> int:
        loaded.append(1)
        inside.set()
        assert go_on.wait(10)
        return 5

    call = Inline({"weight": load}).bind(weigh)
    with ThreadPoolExecutor(4) as threads:
        futures = [threads.submit(call, x) for x in range(4)]
        assert inside.wait(10)
        go_on.set()
        assert [future.result() for future in futures] == [0, 5, 10, 15]
    assert loaded == [1]


def test_loading_that_failed_is_tried_again() -> None:
    answers: list[Any] = [OSError("not there yet"), 5]

    def load() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return int(answer)

    engine = Inline({"weight": load})
    assert isinstance(engine.submit(weigh, 2).exception(), OSError)
    assert engine.submit(weigh, 2).result() == 10


def test_what_takes_no_resources_is_left_as_it_is() -> None:
    assert Inline({"weight": int}).bind(samples.add) is samples.add


def test_coroutine_functions_are_run_to_their_end() -> None:
    load, _ = counting(3)

    async def suspending(x: int, weight: int) -> int:
        await asyncio.sleep(0)
        return x * weight

    assert Inline({"weight": load}).submit(suspending, 2).result() == 6


async def test_on_an_event_loop_resources_are_loaded_by_a_thread() -> None:
    load, loaded = counting(3)

    async def suspending(x: int, weight: int) -> int:
        return x * weight

    call = Resources({"weight": load}).bind(suspending)
    assert [await call(2), await call(3)] == [6, 9]
    assert len(loaded) == 1
    assert loaded[0] != threading.get_ident()


async def three() -> int:
    await asyncio.sleep(0)
    return 3


def test_a_coroutine_function_may_load_a_resource() -> None:
    assert Inline({"weight": three}).submit(weigh, 2).result() == 6


async def test_it_may_even_where_an_event_loop_runs() -> None:
    assert Inline({"weight": three}).submit(weigh, 2).result() == 6


class Awaitable:
    """An instance can be awaited once called, the class cannot."""

    async def __call__(self) -> int:
        return 4


def test_a_class_is_no_coroutine_function_though_its_instances_are() -> None:
    assert isinstance(Inline().submit(Awaitable).result(), Awaitable)
    assert Inline({"weight": Awaitable()}).submit(weigh, 2).result() == 8


def test_what_the_function_raises_is_the_futures() -> None:
    error = Inline().submit(samples.fail, 1).exception()
    assert isinstance(error, KeyError)


def test_an_interrupt_ends_the_caller() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Inline().submit(interrupt)


@pytest.mark.parametrize("asked", [{"timeout": 1}, {"retry": True}, {"priority": 1}, {"deadline": 3}])
def test_what_only_workers_can_do_is_refused(asked: dict[str, Any]) -> None:
    options = CallOptions(**asked)
    with pytest.raises(ConfigurationError, match=r"(timeout|retry|priority|deadline)=.*use a Pool"):
        Inline().with_options(options)


def test_the_number_of_items_may_be_said() -> None:
    engine = Inline()
    assert engine.with_options(CallOptions(items=5)) is engine
    engine.close()


ARRAYS: list[Any] = [
    np.zeros(3),
    np.zeros(5000),
    np.zeros((100, 100))[::2, ::3],
    np.asfortranarray(np.zeros((100, 100))),
    np.zeros(500, "M8[s]"),
    np.zeros(500, ">f8"),
    np.zeros(0),
    np.array([None] * 3),
]


def test_a_call_apart_is_given_and_gives_the_same_as_a_worker() -> None:
    def alike(function: Callable[..., Any], *args: Any) -> None:
        here, there = Apart().submit(function, *args), pool.submit(function, *args)
        errors = here.exception(), there.exception(20)
        assert type(errors[0]) is type(errors[1])
        assert str(errors[0]) == str(errors[1])
        assert errors[0] is not None or here.result() == there.result()

    with Pool(1) as pool:
        for array in ARRAYS:
            before = array.tolist()
            alike(tasks.facts, array)
            alike(tasks.write_to, array)
            assert array.tolist() == before
        alike(tasks.make_unpicklable)
        alike(tasks.make_poison)


def test_a_call_apart_and_its_caller_share_nothing_that_can_be_changed() -> None:
    array, items = np.zeros(5000), [1]

    def compute(seen: np.ndarray[Any, Any], *, more: list[int]) -> tuple[int, Any, list[int]]:
        more.append(2)
        return seen.ctypes.data, seen, more

    place, result, longer = Apart().submit(compute, array, more=items).result()
    assert place == array.ctypes.data  # nothing was copied on the way in
    assert not np.shares_memory(result, array)
    assert result.flags.writeable
    assert (items, longer) == ([1], [1, 2])


def test_a_call_apart_has_its_resources() -> None:
    async def suspending(x: int, weight: int) -> int:
        return x * weight

    engine = Apart({"weight": counting(5)[0]})
    assert engine.submit(weigh, 2, bias=1).result() == 11
    assert engine.submit(suspending, 2).result() == 10
