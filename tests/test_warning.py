"""Warnings point at the line of the user's that called."""

from __future__ import annotations

import linecache
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from mlcache import MlcacheWarning, ml_cache
from mlcache.events import hook
from mlcache.warning import warn


def too_large(n: int) -> bytes:
    return b"x" * n


def line_of(caught: warnings.WarningMessage) -> str:
    return linecache.getline(caught.filename, caught.lineno)


@pytest.mark.parametrize(
    "use",
    [
        lambda f: f(5000),  # the line
        lambda f: f.refresh(5000),  # the line
        lambda f: f.call_with_info(5000),  # the line
        lambda f: f.put(b"x" * 5000, 5000),  # the line
    ],
    ids=["call", "refresh", "call_with_info", "put"],
)
def test_a_warning_points_at_the_line_that_called(use: Callable[[Any], object]) -> None:
    f = ml_cache(backend="lru?max_bytes=2KiB")(too_large)
    with pytest.warns(MlcacheWarning, match="does not fit") as caught:
        use(f)
    assert caught[0].filename == __file__
    assert "# the line" in line_of(caught[0])


def test_a_warning_of_an_inner_call_points_into_the_function_that_made_it() -> None:
    inner = ml_cache(backend="lru?max_bytes=2KiB")(too_large)

    @ml_cache
    def outer(n: int) -> int:
        return len(inner(n))  # the inner line

    with pytest.warns(MlcacheWarning, match="does not fit") as caught:
        outer(5000)
    assert "# the inner line" in line_of(caught[0])


def test_a_warning_of_a_hook_points_at_the_line_that_called() -> None:
    def fail(_: object) -> None:
        raise ValueError("a bad hook")

    f: Callable[[int], int] = ml_cache(lambda x: x)
    with hook(fail), pytest.warns(MlcacheWarning, match="a bad hook") as caught:
        f(1)  # the hooked line
    assert "# the hooked line" in line_of(caught[0])


async def test_a_warning_of_a_thread_of_ours_points_somewhere_too() -> None:
    f = ml_cache(backend="lru?max_bytes=2KiB")(too_large)
    with pytest.warns(MlcacheWarning, match="does not fit"):
        assert len(await f.aio(5000)) == 5000


def test_it_can_be_called_from_anywhere() -> None:
    with pytest.warns(MlcacheWarning, match="^as it is$") as caught:
        warn("as it is")  # here
    assert "# here" in line_of(caught[0])
