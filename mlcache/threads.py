"""Threads for event loops: what may block is done in one of these, while the loop goes on."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Executor, Future

T = TypeVar("T")


def pool(purpose: str) -> Executor:
    """The threads for one purpose: those that wait for stores must not queue behind those that compute."""
    with _making:
        return _made(purpose)


@cache
def _made(purpose: str) -> Executor:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(min(32, (os.cpu_count() or 1) + 4), f"mlcache-{purpose}")


_making = threading.Lock()


def _after_fork() -> None:
    global _making  # noqa: PLW0603 - a thread that the child does not have may hold it
    _making = threading.Lock()
    _made.cache_clear()  # threads do not survive a fork


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


async def in_thread(purpose: str, do: Callable[[], T]) -> T:
    """Await ``do``, done in a thread, in a copy of this context."""
    import asyncio  # takes longer to import than all of mlcache

    do = partial(_do, do)
    return await asyncio.get_running_loop().run_in_executor(pool(purpose), copy_context().run, do)


def _do(work: Callable[[], T]) -> T:
    try:
        return work()
    except StopIteration as error:  # which no future of asyncio takes: whoever awaits it would wait for ever
        raise RuntimeError("what was done in a thread raised StopIteration") from error


async def finished(future: Future[Any]) -> None:
    """Await the end of ``future``, whatever it is; it is cancelled with whoever awaits it.

    Unlike ``asyncio.wrap_future``, it hands no exception on, of which there are some that it cannot take.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def tell(_: object) -> None:
        with suppress(RuntimeError):  # the loop was closed, and nobody awaits it any more
            loop.call_soon_threadsafe(_settle, done)

    future.add_done_callback(tell)
    try:
        await done
    except asyncio.CancelledError:
        future.cancel()
        raise


def _settle(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


def start(purpose: str, work: Callable[[], object]) -> None:
    """Have ``work`` done by a thread of the pool, or by one of its own where the caller is such a thread.

    It may be that all threads of the pool wait for what they have started.
    """
    if is_ours(purpose):
        start_alone(purpose, work)
    else:
        pool(purpose).submit(work)


def start_alone(purpose: str, work: Callable[[], object]) -> None:
    """Have ``work`` done by a thread of its own, which counts as one of the pool's."""
    threading.Thread(target=work, name=f"mlcache-{purpose}-nested", daemon=True).start()


def is_ours(purpose: str = "") -> bool:
    """Whether this is a thread of the pool for ``purpose``; without one, any thread that the library made."""
    return threading.current_thread().name.startswith(f"mlcache-{purpose}")


def close() -> None:
    """End all threads; new ones are made when they are needed."""
    for purpose in ("compute", "store", "ship", "land", "close", "users"):
        pool(purpose).shutdown()
    _made.cache_clear()
