"""What the leader of some items' flights does: he ends each of them, whatever happens."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from mlcache.backends.many import Locked
from mlcache.backends.tiered import Found
from mlcache.batch.answers import take_apart
from mlcache.batch.elsewhere import Watch
from mlcache.batch.failing import keep_failure
from mlcache.batch.keyed import OneKeyError
from mlcache.batch.landing import changed, keep, serve
from mlcache.batch.order import Order
from mlcache.batch.seats import LOCKED_AT_ONCE, Outcomes, Plan, Seat, chunks, flights_of
from mlcache.batch.steps import (
    CrashMany,
    Disband,
    FindMany,
    LandMany,
    LockMany,
    Sent,
    Ship,
    TellMany,
    UnlockMany,
)
from mlcache.call import Call
from mlcache.computing import Shipped
from mlcache.entry import FOREVER
from mlcache.events import Raised
from mlcache.flight import Flight
from mlcache.flight.carried import bare
from mlcache.flight.shared import pauses
from mlcache.flow import by_now
from mlcache.steps import Compute, Made


async def lead(order: Order, plan: Plan, seats: Sequence[Seat], convoy: Flight) -> Outcomes:
    """Compute what we lead, or find that others have meanwhile; the outcomes of all that did not fail."""
    outcomes: Outcomes = {}
    try:
        await _lead(order, plan, seats, _Leg(convoy, outcomes))
    except BaseException as error:
        left = [flight for flight in flights_of(seats) if not flight.landed]
        if isinstance(error, Exception):
            await LandMany([(flight, None) for flight in left])  # others may have better luck
        else:
            await CrashMany(left, error)
        await Disband(convoy, error=error)
        raise
    await Disband(convoy, outcomes)
    return outcomes


class _Leg(msgspec.Struct, frozen=True, eq=False):
    """What is the same for all chunks: the convoy, and the outcomes up to now."""

    convoy: Flight
    outcomes: Outcomes


class _Begun(msgspec.Struct, frozen=True, eq=False):
    """A chunk that we see to.

    Args:
        chunk: the items that are to be computed.
        locks: that we hold, of these and of those that were found to be kept by now.
        batch: the container that the function gets.
        call: computes them, or waits for an engine that does.
        shipped: what was given to an engine.
        error: what was raised instead of giving it to one.
    """

    chunk: list[Seat]
    locks: list[Any]
    batch: Any = None
    call: Call | None = None
    shipped: Shipped | None = None
    error: Exception | None = None

    def recall(self) -> bool:
        """Take the call back; whether it had not begun."""
        return self.shipped is not None and self.shipped.future.cancel()


async def _lead(order: Order, plan: Plan, seats: Sequence[Seat], leg: _Leg) -> None:
    elsewhere = await _call_off(await _lead_chunks(order, plan, seats, leg))
    watch = Watch()
    for pause in pauses(plan.terms.wait):
        if not elsewhere:
            return
        await watch.wait(order.keys[elsewhere[0].number], pause)
        elsewhere = await _lead_chunks(order, plan, await _look_again(order, plan, elsewhere, leg), leg)
    for chunk in chunks(order, plan, elsewhere):
        await _compute(order, plan, chunk, leg)


async def _call_off(elsewhere: list[Seat]) -> list[Seat]:
    """Let who renews what another process computes not wait for that; the seats of the others."""
    renewals = [seat.flight for seat in elsewhere if seat.renews]
    if renewals:
        await LandMany([(flight, None) for flight in renewals])
    return [seat for seat in elsewhere if not seat.renews]


async def _lead_chunks(order: Order, plan: Plan, seats: Sequence[Seat], leg: _Leg) -> list[Seat]:
    """Compute what nobody else does, as many chunks at a time as there are workers.

    Where one fails, no other begins, and the answers of those that have begun are kept.

    Returns:
        The seats of which another process holds the lock: nobody waits here, since others may wait for ours.
    """
    elsewhere: list[Seat] = []
    begun: deque[_Begun] = deque()
    try:
        for chunk in chunks(order, plan, seats):
            if len(begun) >= _room(plan, len(chunk)):
                await _end(order, plan, begun.popleft(), leg)
            next_, held = await _begin(order, plan, chunk, leg)
            begun.append(next_)
            elsewhere += held
        while begun:
            await _end(order, plan, begun.popleft(), leg)
    except Exception:
        await _wind_up(order, plan, begun, leg)
        raise
    finally:
        await _give_up(begun)
    return elsewhere


def _room(plan: Plan, size: int) -> int:
    """How many chunks of this size may be under way at a time."""
    return min(plan.workers, max(LOCKED_AT_ONCE // size, 1)) if plan.terms.shared else plan.workers


async def _wind_up(order: Order, plan: Plan, begun: deque[_Begun], leg: _Leg) -> None:
    """See to the end of what has begun, and take the others back."""
    going = [each for each in begun if not each.recall()]
    for each in going:
        begun.remove(each)
        with suppress(Exception):  # who asked is told of the first one
            await _end(order, plan, each, leg)


async def _give_up(begun: deque[_Begun]) -> None:
    for each in begun:
        each.recall()
    locks = [lock for each in begun for lock in each.locks]
    if locks:
        await UnlockMany(locks)


async def _begin(order: Order, plan: Plan, chunk: list[Seat], leg: _Leg) -> tuple[_Begun, list[Seat]]:
    """Begin to compute what nobody else does; and the seats of which another process holds the lock."""
    if not plan.terms.shared or chunk[0].after == FOREVER:
        return await _ship(order, plan, await _look_again(order, plan, chunk, leg), leg), []
    locked: Locked = await LockMany([order.keys[seat.number] for seat in chunk])
    try:
        ours = [seat for seat, elsewhere in zip(chunk, locked.elsewhere, strict=True) if not elsewhere]
        begun = await _ship(order, plan, await _look_again(order, plan, ours, leg), leg)
    except BaseException:
        await UnlockMany(locked.locks)
        raise
    begun = msgspec.structs.replace(begun, locks=locked.locks)
    return begun, [seat for seat, elsewhere in zip(chunk, locked.elsewhere, strict=True) if elsewhere]


async def _ship(order: Order, plan: Plan, chunk: list[Seat], leg: _Leg) -> _Begun:
    """Give a chunk to an engine, if that can compute several at a time."""
    if not chunk:
        return _Begun(chunk, [])
    try:
        call, batch = order.part([seat.number for seat in chunk])
        if plan.workers == 1:
            return _Begun(chunk, [], batch, call)
        sent: Sent = await Ship(call, leg.convoy)
    except Exception as error:  # noqa: BLE001 - it is that of the chunk, whose turn comes
        return _Begun(chunk, [], error=error)
    return _Begun(chunk, [], batch, sent.call, sent.shipped)


async def _end(order: Order, plan: Plan, begun: _Begun, leg: _Leg) -> None:
    try:
        await _finish(order, plan, begun, leg)
    finally:
        if begun.locks:
            flights = flights_of(begun.chunk)
            await UnlockMany(begun.locks, {flight.key for flight in flights if not flight.superseded})


async def _compute(order: Order, plan: Plan, chunk: list[Seat], leg: _Leg) -> None:
    await _finish(order, plan, await _ship(order, plan, chunk, leg), leg)


async def _finish(order: Order, plan: Plan, begun: _Begun, leg: _Leg) -> None:
    """Have the function's answers to some items, keep them and land their flights."""
    chunk = begun.chunk
    if not chunk:
        return
    try:
        made = await _made(begun, leg)
        places = [order.firsts[seat.number] for seat in chunk]
        rows = take_apart(made.value, order.items, places, begun.batch, cut=plan.copies)
    except OneKeyError as error:
        for group in error.groups:
            await _compute(order, plan, [chunk[number] for number in group], leg)
        return
    except Exception as error:  # noqa: BLE001 - whatever the function raises
        await _fail(order, plan, chunk, leg, error)
        return
    await keep(order, plan, chunk, leg.outcomes, [Made(row, made.at, made.cost / len(rows)) for row in rows])
    plan.advance(len(chunk))


async def _made(begun: _Begun, leg: _Leg) -> Made:
    if begun.call is None:
        raise begun.error or RuntimeError("a chunk without a call")
    made: Made = await Compute(begun.call, leg.convoy)
    return made


async def _look_again(order: Order, plan: Plan, seats: list[Seat], leg: _Leg) -> list[Seat]:
    """Land those that are kept by now, which somebody else has computed meanwhile; the others."""
    if not seats or seats[0].after == FOREVER:
        return seats
    keys, after = [order.keys[seat.number] for seat in seats], [seat.after for seat in seats]
    look = FindMany(keys, again=True, after=after, max_age=plan.terms.max_age)
    everything: list[Found | None] = await look
    left: list[Seat] = []
    there: list[tuple[Seat, Found]] = []
    for seat, found in zip(seats, everything, strict=True):
        if found is not None and plan.terms.is_fresh(found) and found.entry.created > seat.after:
            there.append((seat, found))
        else:
            left.append(seat if found is None else msgspec.structs.replace(seat, old=found))
    if there:
        await serve(order, there, leg.outcomes)
        plan.advance(len(there))
    return left


async def _fail(order: Order, plan: Plan, chunk: list[Seat], leg: _Leg, error: Exception) -> None:
    """Serve old entries, or try item by item, or end the flights with the error.

    Raises:
        Exception: the error, where the plan does not isolate bad items.
    """
    chunk = [msgspec.structs.replace(seat, old=seat.old and await by_now(seat.old)) for seat in chunk]
    old = [(seat, seat.old) for seat in chunk if seat.old and plan.terms.outlives_errors(seat.old)]
    if plan.isolate and len(chunk) > 1:
        await _one_by_one(order, plan, chunk, leg, error)
        return
    await TellMany([Raised(order.keys[seat.number], bare(error)) for seat in chunk])
    await keep_failure(order, plan, chunk, error)
    if len(old) == len(chunk):
        await serve(order, old, leg.outcomes)
        plan.advance(len(old))
        return
    await CrashMany(flights_of(chunk), error)
    if not plan.isolate:
        raise error


async def _one_by_one(order: Order, plan: Plan, chunk: list[Seat], leg: _Leg, error: Exception) -> None:
    """Try each item by itself; one that the function has changed before it failed cannot be tried."""
    spoiled = changed(order, chunk)
    gone = [seat for seat in chunk if seat.number in spoiled]
    if gone:
        await TellMany([Raised(order.keys[seat.number], bare(error)) for seat in gone])
        await CrashMany(flights_of(gone), error)
    for seat in chunk:
        if seat.number not in spoiled:
            await _compute(order, plan, [seat], leg)
