"""Waking tasks from any thread: where many flights land at once, all that wait on one loop in one go."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


SWEEP_FROM = 64
"""How many may wait before those who were cancelled are looked for."""


class Arrival:
    """What tasks of one event loop wait for.

    As ``asyncio.Event``, but a task that waits holds one future and no more: where a thousand tasks wait,
    what each of them holds is looked through time and again by the collector of garbage.
    """

    __slots__ = ("_bound", "_there", "_waiting")

    def __init__(self) -> None:
        self._there = False
        self._waiting: list[asyncio.Future[None]] = []
        self._bound = SWEEP_FROM

    def is_set(self) -> bool:
        """Whether it is there."""
        return self._there

    def set(self) -> None:
        """Wake all who wait; called by the event loop."""
        self._there = True
        for future in self._waiting:
            if not future.done():  # else its task was cancelled
                future.set_result(None)
        self._waiting.clear()

    def wait(self) -> asyncio.Future[None]:
        """To be awaited, once."""
        import asyncio

        future = asyncio.get_running_loop().create_future()
        if self._there:
            future.set_result(None)
        else:
            if len(self._waiting) >= self._bound:
                self._sweep()
            self._waiting.append(future)
        return future

    def _sweep(self) -> None:
        """Forget who was cancelled; not before it has doubled, so that each waits at a constant cost."""
        self._waiting = [future for future in self._waiting if not future.done()]
        self._bound = max(SWEEP_FROM, 2 * len(self._waiting))


Sleepers = dict["asyncio.AbstractEventLoop", list[Arrival]]


class _Here(threading.local):
    asleep: Sleepers | None = None
    """What is to be set once the block that gathers it has ended, in this thread."""


_here = _Here()


def wake(loop: asyncio.AbstractEventLoop, event: Arrival) -> None:
    """Have ``event`` set by its loop."""
    if _here.asleep is None:
        _set_on(loop, [event])
    else:
        _here.asleep.setdefault(loop, []).append(event)


@contextmanager
def together() -> Iterator[None]:
    """Wake what is to be woken in this block at its end: an event loop is interrupted but once."""
    if _here.asleep is not None:
        yield
        return
    asleep: Sleepers = {}
    _here.asleep = asleep
    try:
        yield
    finally:
        _here.asleep = None
        for loop, events in asleep.items():
            _set_on(loop, events)


def _set_on(loop: asyncio.AbstractEventLoop, events: list[Arrival]) -> None:
    with suppress(RuntimeError):  # it is closed, and nobody waits there any more
        loop.call_soon_threadsafe(_set_all, events)


def _set_all(events: list[Arrival]) -> None:
    for event in events:
        event.set()
