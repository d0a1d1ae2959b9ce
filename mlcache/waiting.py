"""Waiting on an event loop for tasks and for flights, whose tasks may belong to a loop that has stopped."""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from mlcache.flight import Flight, Flights, waiting_for
from mlcache.threads import is_ours, start_alone

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")

LOOK_EVERY = 1.0
"""Seconds between looks whether the event loop that leads a flight still runs."""

PATIENCE = 0.02
"""Seconds that work in a queue is given to begin, where whoever waits for it may hold the queue up."""

tasks: set[Any] = set()
"""The tasks that lead flights. The event loop itself keeps only weak references to tasks."""


async def wait(flight: Flight, flights: Flights) -> Any:
    """What ``flight``, one of ``flights``, lands with; None, and it is ended, if nobody works on it."""
    import asyncio

    if flight.landed and flight.is_stranded:  # it has shared its answer, which nobody goes on to write
        _abandon(flight, flights)
        return None
    arrival = flight.arrival()
    with waiting_for(flight):
        if flight.is_queued and is_ours():
            asyncio.get_running_loop().call_later(PATIENCE, _see_off, flight)
        if _is_of_this_loop(flight.task):
            await arrival.wait()
        while not arrival.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(arrival.wait(), LOOK_EVERY)
            if flight.is_stranded:
                _abandon(flight, flights)
    return flight.outcome()


def _see_off(flight: Flight) -> None:
    """Have a flight begin that is still in a queue, which may wait for the thread of this very loop."""
    if flight.is_queued:
        start_alone("compute", flight.take_off)


def _is_of_this_loop(task: asyncio.Task[Any] | None) -> bool:
    import asyncio

    return task is None or task.get_loop() is asyncio.get_running_loop()


def spawn(
    running: Coroutine[Any, Any, T], flow: Coroutine[Any, Any, Any], flight: Flight, flights: Flights
) -> asyncio.Task[T]:
    """A task of ``running``, which drives ``flow``; ``flight`` lands however it ends, or cannot begin."""
    import asyncio

    def finish(task: asyncio.Task[T]) -> None:
        tasks.discard(task)
        if not flight.landed:  # cancelled before it took its first step
            flights.crash(flight, asyncio.CancelledError())
        flow.close()
        if not task.cancelled():
            task.exception()  # it has landed in the flight: asyncio need not complain that nobody looked
        flight.task = None  # the error that it holds may hold the flight: a circle

    try:
        task = asyncio.get_running_loop().create_task(running)
    except BaseException as error:
        running.close()
        flow.close()
        flights.crash(flight, error)
        raise
    flight.belong_to(task)
    tasks.add(task)
    task.add_done_callback(finish)
    return task


async def result_of(task: asyncio.Task[T]) -> T:
    """What ``task`` returns, which goes on if whoever awaits it is cancelled.

    As with ``asyncio.shield``, which takes half as long again.
    """
    import asyncio

    ended = asyncio.get_running_loop().create_future()
    task.add_done_callback(partial(_settle, ended))
    try:
        await ended
        return task.result()
    finally:
        del task  # which may hold the error that ends us, whose traceback holds this frame: a circle


def _settle(ended: asyncio.Future[None], _: object) -> None:
    if not ended.done():  # else whoever awaited it was cancelled
        ended.set_result(None)


def _abandon(flight: Flight, flights: Flights) -> None:
    """Send all who wait to find another leader, and end the task if nobody will ever run it."""
    import asyncio

    task = flight.task
    flight.supersede()  # no invalidation reaches it any more, should its loop go on
    flights.crash(flight, asyncio.CancelledError())
    if task is None or not task.get_loop().is_closed():
        return  # its loop has stopped, and may go on later
    tasks.discard(task)
    setattr(task, "_log_destroy_pending", False)  # noqa: B010 - so asyncio itself says that it knows
    coroutine = task.get_coro()
    if coroutine is not None:
        with suppress(BaseException):  # whatever the function does when it is thrown away
            coroutine.close()
