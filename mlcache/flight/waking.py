"""Waking tasks from any thread: where many flights land at once, all that wait on one loop in one go."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

Sleepers = dict["asyncio.AbstractEventLoop", list["asyncio.Event"]]


class _Here(threading.local):
    asleep: Sleepers | None = None
    """What is to be set once the block that gathers it has ended, in this thread."""


_here = _Here()


def wake(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
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


def _set_on(loop: asyncio.AbstractEventLoop, events: list[asyncio.Event]) -> None:
    with suppress(RuntimeError):  # it is closed, and nobody waits there any more
        loop.call_soon_threadsafe(_set_all, events)


def _set_all(events: list[asyncio.Event]) -> None:
    for event in events:
        event.set()
