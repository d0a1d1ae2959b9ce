"""Which argument cannot be sent, as the message says it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from mlcache.offload.blame import unsendable
from tests.offload import tasks


def two(first: Any, second: Any = None, *rest: Any, third: Any = None) -> None:
    del first, second, rest, third


BAD = tasks.CannotBePickled()
BAD_KIND = "(a tests.offload.tasks.CannotBePickled)"


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "words"),
    [
        (two, (BAD,), {}, f"the argument 'first' {BAD_KIND}"),
        (two, (1, [BAD]), {}, "the argument 'second' (a list)"),
        (two, (1, 2, BAD), {}, f"the argument number 3 {BAD_KIND}"),
        (two, (1,), {"third": BAD}, f"the argument 'third' {BAD_KIND}"),
        (two, (1, threading.Lock()), {"third": BAD}, "the argument 'second' (a _thread.lock)"),
        (print, (1, BAD), {}, f"the argument number 2 {BAD_KIND}"),
        (dict, (BAD,), {}, f"the argument number 1 {BAD_KIND}"),  # shows no signature
    ],
)
def test_the_first_bad_argument_is_named(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], words: str
) -> None:
    assert unsendable(function, args, kwargs) == words


def test_nothing_is_named_where_all_can_be_sent() -> None:
    assert unsendable(two, (1, [2]), {"third": "x"}) is None
