"""The filters of warnings that a worker has to have, so that what is an error at home is one there.

All else is decided by the parent, when the warning has come home: so in the worker every filter
that is not ``error`` is ``always``.
"""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import msgspec


class Filter(msgspec.Struct):
    """One filter, as ``warnings.filterwarnings`` takes it; the category as its module and its name."""

    action: str
    message: str
    category: tuple[str, str]
    module: str
    line: int


Filters = list[Filter]


def filters_here() -> Filters:
    """The filters of this process, up to the last that makes an error of a warning."""
    found = [_describe(*each) for each in warnings.filters]
    errors = [place for place, each in enumerate(found) if each.action == "error"]
    return found[: errors[-1] + 1] if errors else []


def set_filters(filters: Filters) -> None:
    """Let these be the filters of this process."""
    warnings.resetwarnings()
    for each in filters:
        category = _find(*each.category)
        if category is not None:
            action: Any = "error" if each.action == "error" else "always"
            warnings.filterwarnings(action, each.message, category, each.module, each.line, append=True)
    warnings.simplefilter("always", append=True)


def _describe(action: str, message: Any, category: Any, module: Any, line: int) -> Filter:
    return Filter(
        action,
        _pattern(message),
        (category.__module__, category.__qualname__),
        _pattern(module),
        line,
    )


def _pattern(expression: Any) -> str:
    """Python's own filters have a text where others have a pattern."""
    return str(getattr(expression, "pattern", expression or ""))


def _find(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None  # what has no such category gives no such warning
