"""Functions that may be coroutine functions, called to their end where nobody awaits."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def is_coroutine_function(function: Any) -> bool:
    """Whether calling it gives a coroutine."""
    if isinstance(function, type):  # calling it makes an instance, whatever the call of those is
        return False
    call = getattr(function, "__call__", None)  # noqa: B004 - of an object that has one
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """What ``coroutine`` returns, on an event loop of its own: in another thread, where this one has one."""
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as beside:
        return beside.submit(asyncio.run, coroutine).result()


def called(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What ``function`` returns; where it is a coroutine function, what is returned to who awaits it."""
    result = function(*args, **kwargs)
    return finish(result) if is_coroutine_function(function) else result
