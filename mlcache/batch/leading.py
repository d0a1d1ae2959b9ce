"""What the leader of some items' flights does: he ends each of them, whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from mlcache.backends.tiered import Found
from mlcache.batch.answers import take_apart
from mlcache.batch.options import Limits
from mlcache.batch.order import Order
from mlcache.batch.steps import (
    CrashMany,
    Disband,
    DropMany,
    FindMany,
    KeepMany,
    LandMany,
    LockMany,
    TellMany,
    UnlockMany,
)
from mlcache.entry import FOREVER, Entry
from mlcache.events import Computed, Event, Hit, NotKept, Raised, Stale
from mlcache.flight import Flight
from mlcache.flight.shared import pauses
from mlcache.flow import UNCOPIABLE, Terms, keep_error, make_entry
from mlcache.steps import Compute, Draw, Made, Outcome, Pause, Status

LOCKED_AT_ONCE = 256
"""Items of one call at most where processes share locks: each lock may be an open file."""

Outcomes = dict[int, Outcome]


def unnoticed(_count: int) -> None:
    """What is told of progress where nobody follows it."""


class Plan(msgspec.Struct, frozen=True, eq=False):
    """How what is missing is computed.

    Args:
        terms: of the function.
        limits: what one call of the function gets at most.
        isolate: whether a call that fails is tried item by item, and no error raised here.
        advance: told of the number of items that have been answered.
    """

    terms: Terms
    limits: Limits
    isolate: bool = False
    advance: Callable[[int], object] = unnoticed


class Seat(msgspec.Struct, frozen=True, eq=False):
    """One item that we lead.

    Args:
        number: of the item among the distinct ones.
        flight: of the item.
        after: an entry created later than this will do as well.
        old: an entry, to be served if the function raises.
    """

    number: int
    flight: Flight
    after: float = -FOREVER
    old: Found | None = None


def flights_of(seats: Sequence[Seat]) -> list[Flight]:
    """The flights of seats."""
    return [seat.flight for seat in seats]


def convoy_of(seats: Sequence[Seat]) -> Flight:
    """One flight that carries those of all seats: what computes them runs for it."""
    flights = flights_of(seats)
    convoy = Flight(flights[0].key)
    convoy.carry(flights)
    return convoy


async def lead(order: Order, plan: Plan, seats: Sequence[Seat], convoy: Flight) -> Outcomes:
    """Compute what we lead, or find that others have meanwhile; the outcomes of all that did not fail."""
    outcomes: Outcomes = {}
    try:
        await _lead(order, plan, seats, _Leg(convoy, outcomes))
    except BaseException as error:
        left = [flight for flight in flights_of(seats) if not flight.landed]
        await LandMany([(flight, None) for flight in left])  # others may have better luck
        await Disband(convoy, error=error)
        raise
    await Disband(convoy, outcomes)
    return outcomes


class _Leg(msgspec.Struct, frozen=True, eq=False):
    """What is the same for all chunks: the convoy, and the outcomes up to now."""

    convoy: Flight
    outcomes: Outcomes


async def _lead(order: Order, plan: Plan, seats: Sequence[Seat], leg: _Leg) -> None:
    elsewhere: list[Seat] = []
    for chunk in chunks(order, plan, seats):
        elsewhere += await _lead_chunk(order, plan, chunk, leg)
    for pause in pauses(plan.terms.wait):
        if not elsewhere:
            return
        await Pause(pause)
        elsewhere = await _look_again(order, plan, elsewhere, leg)
        held: list[Seat] = []
        for chunk in chunks(order, plan, elsewhere):
            held += await _lead_chunk(order, plan, chunk, leg)
        elsewhere = held
    for chunk in chunks(order, plan, elsewhere):
        await _compute(order, plan, chunk, leg)


def chunks(order: Order, plan: Plan, seats: Sequence[Seat]) -> Iterator[list[Seat]]:
    """The seats in parts that one call of the function may get."""
    limits = plan.limits
    most = limits.max_size or max(len(seats), 1)
    most = min(most, LOCKED_AT_ONCE) if plan.terms.shared else most
    if not limits.weighs:
        yield from (list(seats[start : start + most]) for start in range(0, len(seats), most))
        return
    chunk: list[Seat] = []
    weights = (0.0, 0.0)
    for seat in seats:
        weight = limits.weight(order.items.single(order.firsts[seat.number]))
        full = len(chunk) >= most or any(w + more > 1 for w, more in zip(weights, weight, strict=True))
        if chunk and full:
            yield chunk
            chunk, weights = [], (0.0, 0.0)
        chunk.append(seat)
        weights = (weights[0] + weight[0], weights[1] + weight[1])
    if chunk:
        yield chunk


async def _lead_chunk(order: Order, plan: Plan, chunk: list[Seat], leg: _Leg) -> list[Seat]:
    """Compute what nobody else does; those of which another process holds the lock.

    Nobody waits here, since others may wait for our locks.
    """
    if not plan.terms.shared or chunk[0].after == FOREVER:
        await _compute(order, plan, await _look_again(order, plan, chunk, leg), leg)
        return []
    held: list[Any] = await LockMany([order.keys[seat.number] for seat in chunk])
    try:
        ours = [seat for seat, lock in zip(chunk, held, strict=True) if lock is not None]
        await _compute(order, plan, await _look_again(order, plan, ours, leg), leg)
    finally:
        await UnlockMany([lock for lock in held if lock is not None])
    return [seat for seat, lock in zip(chunk, held, strict=True) if lock is None]


async def _look_again(order: Order, plan: Plan, seats: list[Seat], leg: _Leg) -> list[Seat]:
    """Land those that are kept by now, which somebody else has computed meanwhile; the others."""
    if not seats or seats[0].after == FOREVER:
        return seats
    everything: list[Found | None] = await FindMany([order.keys[seat.number] for seat in seats], again=True)
    left: list[Seat] = []
    there: list[tuple[Seat, Found]] = []
    for seat, found in zip(seats, everything, strict=True):
        if found is not None and plan.terms.is_fresh(found) and found.entry.created > seat.after:
            there.append((seat, found))
        else:
            left.append(seat if found is None else msgspec.structs.replace(seat, old=found))
    if there:
        await _serve(order, there, leg)
        plan.advance(len(there))
    return left


async def _serve(order: Order, there: Sequence[tuple[Seat, Found]], leg: _Leg) -> None:
    """Land seats with entries that are kept."""
    events: list[Event] = []
    for seat, found in there:
        key, entry, age = order.keys[seat.number], found.entry, found.at - found.entry.created
        fresh = found.at < entry.fresh_until
        events.append((Hit if fresh else Stale)(key, found.tier, age, entry.cost, entry.size))
        status = Status.HIT if fresh else Status.STALE
        leg.outcomes[seat.number] = Outcome(entry, status, found.tier)
    await TellMany(events)
    await LandMany([(seat.flight, leg.outcomes[seat.number]) for seat, _ in there])


async def _compute(order: Order, plan: Plan, chunk: list[Seat], leg: _Leg) -> None:
    """Call the function for some items, keep its answers and land their flights."""
    if not chunk:
        return
    numbers = [seat.number for seat in chunk]
    try:
        call, batch = order.part(numbers)
        made: Made = await Compute(call, leg.convoy)
        rows = take_apart(made.value, order.items, [order.firsts[number] for number in numbers], batch)
    except Exception as error:  # noqa: BLE001 - whatever the function raises
        await _fail(order, plan, chunk, leg, error)
        return
    await _keep(order, plan, chunk, leg, [Made(row, made.at, made.cost / len(rows)) for row in rows])
    plan.advance(len(chunk))


async def _keep(order: Order, plan: Plan, chunk: list[Seat], leg: _Leg, made: Sequence[Made]) -> None:
    events: list[Event] = []
    entries: list[tuple[Flight, Entry]] = []
    for seat, each in zip(chunk, made, strict=True):
        flight, key = seat.flight, order.keys[seat.number]
        luck = await Draw() if plan.terms.expiry.jitter else 0.0
        entry, objection = make_entry(each, plan.terms, luck)
        events.append(Computed(key, each.cost, entry.size))
        if flight.superseded:
            objection = "it was invalidated or written while being computed"
        if objection:
            events.append(NotKept(key, objection))
        else:
            entries.append((flight, entry))
        shareable = UNCOPIABLE not in objection
        outcome = Outcome(entry, Status.MISS, kept=not objection, shareable=shareable)
        leg.outcomes[seat.number] = outcome
    await TellMany(events)
    if entries:
        await KeepMany([(flight.key, entry) for flight, entry in entries])
        gone = [flight.key for flight, _ in entries if flight.superseded]
        if gone:
            await DropMany(gone)
    await LandMany([(seat.flight, leg.outcomes[seat.number]) for seat in chunk])


async def _fail(order: Order, plan: Plan, chunk: list[Seat], leg: _Leg, error: Exception) -> None:
    """Serve old entries, or try item by item, or end the flights with the error.

    Raises:
        Exception: the error, where the plan does not isolate bad items.
    """
    expiry = plan.terms.expiry
    old = [
        (seat, found)
        for seat in chunk
        if (found := seat.old) is not None and expiry.is_served_on_error(found.entry, found.at)
    ]
    if plan.isolate and len(chunk) > max(len(old), 1):
        for seat in chunk:
            await _compute(order, plan, [seat], leg)
        return
    await TellMany([Raised(order.keys[seat.number], error) for seat in chunk])
    if len(old) == len(chunk):
        await _serve(order, old, leg)
        plan.advance(len(old))
        return
    flights = flights_of(chunk)
    if len(chunk) == 1:
        await keep_error(flights[0].key, error, plan.terms, flights[0], chunk[0].old)
    await CrashMany(flights, error)
    if not plan.isolate:
        raise error
