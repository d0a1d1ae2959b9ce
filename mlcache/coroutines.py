"""Objects that others take for coroutine functions, as they are called like ones."""

from __future__ import annotations

import inspect
import sys


class CoroutineFunction:
    """What ``inspect`` and ``asyncio`` know as a coroutine function, as its ``__call__`` is one."""

    def __init__(self) -> None:
        mark = getattr(inspect, "markcoroutinefunction", None)  # from Python 3.12 on
        if mark is not None:
            mark(self)

    @property
    def _is_coroutine(self) -> object:
        """By this ``asyncio.iscoroutinefunction`` knows coroutine functions that are no functions."""
        return getattr(sys.modules.get("asyncio.coroutines"), "_is_coroutine", None)
