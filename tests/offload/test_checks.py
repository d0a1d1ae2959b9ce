"""What a pool, its calls and its end are given: each wrong thing is named, with what to give instead."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from mlcache import CallOptions, ConfigurationError, Pool
from mlcache.offload.checks import time_to_close
from mlcache.offload.executors import ExecutorEngine
from mlcache.offload.inline import Inline
from mlcache.offload.plan import Plan, make_plan
from tests.offload import tasks

NEVER_RIGHT: list[Any] = [
    *("", "abc", "-1", "nan", b"5s", True, False, -1, -0.5, math.nan, math.inf, -math.inf, 1j, Decimal(1)),
    *(Decimal("NaN"), np.bool_(True), np.array([1, 2]), np.array(["wait"]), [], {"a": 1}, object),  # noqa: FBT003 - numpy's
]
"""What no option takes but where it is said."""
WRONG: dict[str, list[Any]] = {
    "count": [*NEVER_RIGHT, 0, 0.0, 1.0, "3", "5s", "2GiB", timedelta(1)],
    "duration": [*NEVER_RIGHT, 0, 0.0, "0", "0s", "5 sec", "2GiB", "1e3", 10**400, "9" * 400, timedelta(0)],
    "size": [*NEVER_RIGHT, 0, 1.5, "0", "5s", "0.5", "2XB", "9" * 400 + "GiB", timedelta(1)],
    "choice": [*NEVER_RIGHT, None, 0, "WAIT", "fork server"],
    "time to close": [*NEVER_RIGHT, "5 sec", "-5s", 10**400],
    "number": [*("1", None, True, math.nan, 1j, "5s", [], Decimal(1), np.array([1, 2]), timedelta(1))],
    "flag": [*("yes", None, 0, 1, 1.0, np.bool_(True), [])],  # noqa: FBT003 - numpy's
}
WAYS = {"count": "whole number", "choice": "one of", "number": "number", "flag": "True or False"}


def with_pool(option: str) -> Callable[[Any], object]:
    return lambda value: Pool(**{option: value})


def with_call(option: str) -> Callable[[Any], object]:
    return lambda value: CallOptions(**{option: value})


TAKERS: list[tuple[str, str, Callable[[Any], object]]] = [
    *((name, "count", with_pool(name)) for name in ("workers", "max_queue", "threads", "max_calls")),
    *((name, "duration", with_pool(name)) for name in ("timeout", "recycle", "load_timeout")),
    *((name, "size", with_pool(name)) for name in ("max_queue_bytes", "max_memory")),
    *((name, "choice", with_pool(name)) for name in ("when_full", "start_method")),
    *((name, "duration", with_call(name)) for name in ("timeout", "deadline")),
    ("priority", "number", with_call("priority")),
    ("retry", "flag", with_call("retry")),
    ("items", "count", with_call("items")),
    ("workers", "count", lambda value: Pool(1).with_workers(value)),
    ("timeout", "time to close", lambda value: Pool(1).close(value)),
    ("timeout", "time to close", lambda value: Pool(1).with_options(CallOptions()).close(value)),
]


@pytest.mark.parametrize(
    ("name", "kind", "take"), TAKERS, ids=[f"{number}-{each[0]}" for number, each in enumerate(TAKERS)]
)
def test_what_is_wrong_is_named_with_what_to_give(
    name: str, kind: str, take: Callable[[Any], object]
) -> None:
    for wrong in WRONG[kind]:
        with pytest.raises(ConfigurationError) as caught:
            take(wrong)
        said = str(caught.value)
        assert said.startswith(f"{name} is {wrong!r}")
        assert WAYS.get(kind, "give") in said or "above zero and finite; " in said


@pytest.mark.parametrize(
    "wrong", [3, "model", [("model", tasks.pid)], {1: tasks.pid}, {"": tasks.pid}, {"m": 3}]
)
def test_what_are_no_resources_is_refused_by_every_engine(wrong: Any) -> None:
    with ThreadPoolExecutor(1) as threads:
        for make in (
            lambda: Pool(resources=wrong),
            lambda: Inline(wrong),
            lambda: ExecutorEngine(threads, wrong),
        ):
            with pytest.raises(ConfigurationError, match=r"^resources (is|has) .*: give "):
                make()


def test_what_is_no_executor_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^executor is 3: give a concurrent.futures.Executor"):
        ExecutorEngine(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "written",
    [2, 2.0, "2", "2s", " 2 S ", "2000ms", timedelta(seconds=2), np.int64(2), Fraction(2)],
    ids=repr,
)
def test_a_duration_is_understood_alike_wherever_one_is_given(written: Any) -> None:
    for name in ("timeout", "recycle", "load_timeout"):
        assert getattr(make_plan(options(**{name: written})), name) == 2
    asked = CallOptions(timeout=written, deadline=written)
    assert (asked.timeout, asked.deadline) == (2, 2)
    assert time_to_close(written) == 2


def test_numbers_of_numpy_are_whole_numbers() -> None:
    plan = make_plan(options(workers=np.int64(2), max_calls=np.int8(3), max_memory=np.int64(1 << 40)))
    assert (plan.workers, plan.max_calls, plan.max_memory) == (2, 3, 1 << 40)


def test_a_pool_goes_on_that_was_closed_wrongly() -> None:
    with Pool(1) as pool:
        with pytest.raises(ConfigurationError, match=r"^timeout is 'soon'"):
            pool.close("soon")
        assert pool.submit(tasks.echo, 1).result(20) == 1


def test_a_pool_is_closed_at_once() -> None:
    for nothing in (0, 0.0, "0", "0s", timedelta(0)):
        assert time_to_close(nothing) == 0
    pool = Pool(1)
    hanging = pool.submit(tasks.hang)
    pool.close("0s")
    assert hanging.done()


@pytest.mark.parametrize("long", ["30d", 1e300])
def test_a_time_beyond_what_the_system_waits_for_is_only_long(long: Any) -> None:
    """Such as 25 days, after which the call of the system for it would be wrong."""
    with Pool(1, timeout=long, load_timeout=long, recycle=long) as pool:
        assert pool.submit(tasks.echo, 1).result(20) == 1
        asked = pool.with_options(CallOptions(timeout=long, deadline=long))
        assert asked.submit(tasks.echo, 2).result(20) == 2
        pool.close(long)


def options(**changed: Any) -> dict[str, Any]:
    """Those of a pool without limits, but for what is ``changed``."""
    without = dict.fromkeys(Plan.__struct_fields__)
    return {**without, "when_full": "wait", "start_method": "forkserver", **changed}
