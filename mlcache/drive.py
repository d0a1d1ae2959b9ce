"""The two drivers: they carry out the steps of a flow, in a thread or on an event loop.

The blocking driver does every step where it is. The suspending driver awaits those that
wait, for a store or a flight or the function, and does the rest where it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast
from weakref import WeakSet

from mlcache import chance, clock
from mlcache.backends.tiered import Tiers
from mlcache.backends.walk import run, run_suspending
from mlcache.computing import Computes
from mlcache.crew import crew
from mlcache.events import Event
from mlcache.flight import Flight, Flights, Job, keys_computed_here, on_its_own
from mlcache.flight.carried import CarriedError, carried
from mlcache.relay import relay
from mlcache.steps import (
    Compute,
    Draw,
    Drop,
    Find,
    GetLock,
    Join,
    Keep,
    Land,
    Later,
    Lead,
    Made,
    Now,
    Outcome,
    Overtake,
    Overtaken,
    Pause,
    Share,
    Step,
    Supersede,
    Tell,
    TryLock,
    Unlock,
    Wait,
)
from mlcache.threads import in_thread, start
from mlcache.waiting import result_of, spawn, wait
from mlcache.writing import write, write_suspending

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")

RENEWALS = 100
"""Tasks at most that compute anew in the background; what is beyond them stays stale until they are fewer."""
_renewals: WeakSet[asyncio.Task[Any]] = WeakSet()


class Parts(Computes, Protocol):
    """What the steps are carried out with."""

    flights: Flights
    suspends: bool
    """Whether the function is a coroutine function."""

    @property
    def store(self) -> Tiers:
        """Where entries are kept."""
        ...

    def tell(self, event: Event) -> None:
        """Count the event and tell the hooks."""


def blocking(flow: Coroutine[Step, Any, T], parts: Parts) -> T:
    """Drive ``flow`` to its end in this thread; its result."""
    step: Step | None = None
    try:
        step = flow.send(None)
        while True:
            try:
                # Cached functions may call each other: what is between two of them should be few calls.
                reply = parts.compute(step) if type(step) is Compute else ACTIONS[type(step)](step, parts)
            except BaseException as error:  # noqa: BLE001 - all errors of a step are the flow's to deal with
                step = flow.throw(carried(error))
            else:
                step = flow.send(reply)
    except StopIteration as end:
        return cast("T", end.value)
    except CarriedError as carrier:
        raised = carrier.error
    finally:
        del step  # it may hold the error that ends us, whose traceback holds this frame: a circle
    try:
        raise raised  # here, where it does not become the context of itself
    finally:
        del raised  # as above


async def suspending(flow: Coroutine[Step, Any, T], parts: Parts) -> T:
    """Drive ``flow`` to its end on the running event loop; its result."""
    step: Step | None = None
    try:
        step = flow.send(None)
        while True:
            try:
                kind = type(step)
                awaited = None if kind in AT_HAND and parts.store.at_hand else AWAITED.get(kind)
                reply = ACTIONS[kind](step, parts) if awaited is None else await awaited(step, parts)
            except BaseException as error:  # noqa: BLE001 - all errors of a step are the flow's to deal with
                step = flow.throw(error)
            else:
                step = flow.send(reply)
    except StopIteration as end:
        return cast("T", end.value)
    except CarriedError as carrier:
        raised = carrier.error
    finally:
        del step  # as above
    try:
        raise raised  # Python makes a RuntimeError of a StopIteration here, as of that of any coroutine
    finally:
        del raised


def _join(step: Join, parts: Parts, *, queued: bool = False) -> tuple[Flight, bool]:
    queued = queued or step.later
    if step.anew:
        return parts.flights.lead_anew(step.key, queued=queued), True
    return parts.flights.join(step.key, queued=queued)


def _land(step: Land, parts: Parts) -> None:
    if step.error is not None:
        parts.flights.crash(step.flight, step.error)
    elif step.outcome is None or step.outcome.shareable:
        parts.flights.land(step.flight, step.outcome)
    else:
        step.flight.own = step.outcome
        parts.flights.land(step.flight, None)


def _share(step: Share, parts: Parts) -> None:
    # Who has left the work to a thread waits as all others do, but for its end; so do all where that is near.
    if step.flight.queued is None and not parts.store.at_hand:
        step.flight.end(step.outcome)


def _drop(step: Drop, parts: Parts) -> bool:
    parts.flights.supersede(step.key)
    return parts.store.drop(step.key)


def _later(step: Later, parts: Parts) -> None:
    with on_its_own():
        job = Job(partial(_lead_here, step, parts), partial(_give_up, step, parts))
    step.flight.offer(job)
    crew().submit(job.run_aside, job.drop)


def _give_up(step: Later, parts: Parts) -> None:
    step.flow.close()
    parts.flights.land(step.flight, None)


ACTIONS: dict[type[Step], Callable[[Any, Parts], Any]] = {
    Find: lambda step, parts: parts.store.find(step.key, **step.how),
    Join: _join,
    Lead: lambda step, _: step.flow,
    Later: _later,
    Wait: lambda step, _: step.flight.wait(),
    Draw: lambda _step, _parts: chance.draw(),
    Now: lambda _step, _parts: clock.now(),
    Compute: lambda step, parts: parts.compute(step),
    Keep: lambda step, parts: write(step, parts.store, parts.flights),
    # A lock of a key that we run for may be our own, and we would wait for it in vain.
    GetLock: lambda step, parts: None if step.key in keys_computed_here() else parts.store.lock(step.key),
    TryLock: lambda step, parts: parts.store.try_lock(step.lock),
    Overtaken: lambda step, parts: run(parts.store.overtaking(step.lock)),
    Unlock: lambda step, parts: run(parts.store.unlocking(step.lock, wrote=step.wrote)),
    Pause: lambda step, _: threading.Event().wait(step.seconds),
    Drop: _drop,
    Supersede: lambda step, parts: parts.flights.supersede(step.key, step.newest),
    Overtake: lambda step, parts: run(parts.store.superseding(step.key)),
    Share: _share,
    Land: _land,
    Tell: lambda step, parts: parts.tell(step.event),
}


async def _drop_suspending(step: Drop, parts: Parts) -> bool:
    parts.flights.supersede(step.key)
    return await run_suspending(parts.store.dropping(step.key))


async def _share_suspending(step: Share, parts: Parts) -> None:
    """As ``_share``, and let them go on before a thread that writes competes with them."""
    import asyncio

    _share(step, parts)
    for _ in range(2):  # in the first turn of the loop they are woken, in the second they run
        await asyncio.sleep(0)


async def _join_suspending(step: Join, parts: Parts) -> tuple[Flight, bool]:
    return _join(step, parts, queued=not parts.suspends)


async def _later_suspending(step: Later, parts: Parts) -> None:
    if not parts.suspends:
        _later(step, parts)
    elif len(_renewals) >= RENEWALS:
        _give_up(step, parts)
    else:
        with on_its_own():
            task = spawn_lead(step, parts)
        _renewals.add(task)
        task.add_done_callback(_renewals.discard)


async def _pause(step: Pause, _: Parts) -> None:
    import asyncio

    await asyncio.sleep(step.seconds)


async def _compute(step: Compute, parts: Parts) -> Made:
    if parts.suspends or parts.offloads:
        return await parts.compute_suspending(step)
    return await in_thread("compute", partial(parts.compute, step))


async def _lead(step: Lead, parts: Parts) -> Outcome:
    """Start the computation so that it belongs to the flight, and wait for it like everybody else.

    Cancelling the caller then only cancels the waiting. A coroutine function is awaited in a
    task of its own, any other function is called in a thread, by a blocking driver, or given to
    an engine by one: so the flight does not need the event loop to land, which may be blocked by
    somebody who waits.
    """
    import asyncio

    if parts.suspends:
        return await result_of(spawn_lead(step, parts))
    flight = step.flight
    flight.watched = True
    try:
        job = Job(partial(_lead_here, step, parts))
        flight.offer(job)
        start("ship" if parts.offloads else "compute", job.run_aside)
    except BaseException as error:
        parts.flights.crash(flight, error)
        step.flow.close()
        raise
    outcome: Outcome | None = await asyncio.wrap_future(flight.future) or flight.own
    if outcome is None:
        raise flight.error or asyncio.CancelledError
    return outcome


def _lead_here(step: Lead | Later, parts: Parts) -> None:
    if parts.offloads:
        relay(step.flow, parts, lambda step: ACTIONS[type(step)](step, parts))
        return
    with suppress(Exception):  # it has landed in the flight, where all callers wait for it
        blocking(step.flow, parts)


def spawn_lead(step: Lead | Later, parts: Parts) -> asyncio.Task[Any]:
    """The task that leads a flight for a coroutine function."""
    return spawn(suspending(step.flow, parts), step.flow, step.flight, parts.flights)


AWAITED: dict[type[Step], Callable[[Any, Parts], Coroutine[Any, Any, Any]]] = {
    Find: lambda step, parts: run_suspending(parts.store.finding(step.key, **step.how)),
    Join: _join_suspending,
    Lead: _lead,
    Later: _later_suspending,
    Wait: lambda step, parts: wait(step.flight, parts.flights),
    Compute: _compute,
    Keep: lambda step, parts: write_suspending(step, parts.store, parts.flights),
    GetLock: lambda step, parts: in_thread("store", partial(ACTIONS[GetLock], step, parts)),
    TryLock: lambda step, parts: run_suspending(parts.store.locking(step.lock)),
    Overtaken: lambda step, parts: run_suspending(parts.store.overtaking(step.lock)),
    Unlock: lambda step, parts: run_suspending(parts.store.unlocking(step.lock, wrote=step.wrote)),
    Pause: _pause,
    Share: _share_suspending,
    Drop: _drop_suspending,
    Overtake: lambda step, parts: run_suspending(parts.store.superseding(step.key)),
}

AT_HAND: set[type[Step]] = {Find, Keep, Drop, Share, Overtake}
"""What need not be awaited where all entries are at hand."""
