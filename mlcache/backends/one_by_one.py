"""One operation for many items, where it has to be done one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


def one_by_one(ask: Callable[..., Any], items: Iterable[tuple[Any, ...]]) -> list[Any]:
    """By item, which is a tuple of arguments, what ``ask`` returns, or the error that it raises."""
    return [_outcome(ask, item) for item in items]


def _outcome(ask: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    try:
        return ask(*args)
    except Exception as error:  # noqa: BLE001 - whatever a store raises is told of by item
        return error
