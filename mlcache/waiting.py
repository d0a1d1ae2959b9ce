"""Waiting on an event loop for flights, some of which belong to tasks of loops that may have stopped."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mlcache.flight import Flight, Flights, waiting_for

if TYPE_CHECKING:
    import asyncio

LOOK_EVERY = 1.0
"""Seconds between looks whether the event loop that leads a flight still runs."""

tasks: set[Any] = set()
"""The tasks that lead flights. The event loop itself keeps only weak references to tasks."""


async def wait(flight: Flight, flights: Flights) -> Any:
    """What ``flight`` lands with, which is one of ``flights``; it is ended if it will never land."""
    import asyncio

    arrival = flight.arrival()
    with waiting_for(flight):
        if flight.task is None or flight.task.get_loop() is asyncio.get_running_loop():
            await arrival.wait()
        while not arrival.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(arrival.wait(), LOOK_EVERY)
            if flight.task is not None and flight.is_stranded:
                _abandon(flight, flight.task, flights)
    return flight.outcome()


def _abandon(flight: Flight, task: asyncio.Task[Any], flights: Flights) -> None:
    """Send all who wait to find another leader, and end the task if nobody will ever run it."""
    import asyncio

    flights.crash(flight, asyncio.CancelledError())
    if not task.get_loop().is_closed():
        return  # its loop has stopped, and may go on later
    tasks.discard(task)
    setattr(task, "_log_destroy_pending", False)  # noqa: B010 - so asyncio itself says that it knows
    coroutine = task.get_coro()
    if coroutine is not None:
        with suppress(BaseException):  # whatever the function does when it is thrown away
            coroutine.close()
