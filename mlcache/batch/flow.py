"""The way of a batch, from its keys to its answers.

It is that of ``mlcache.flow``, with each stage for all items at once:

    3  find the entries, each tier asked once          FindMany
    4  judge each; renew the stale ones together       Later
    5  join or lead a flight for each missing item     JoinMany
    6  compute those that we lead, in chunks           Compute
    7  encode and
    8  keep each chunk, and land its flights           KeepMany, LandMany

and only then wait for those that others lead. Since nobody waits before what he leads has landed,
batches that overlap cannot wait for each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from mlcache.backends.tiered import Found
from mlcache.batch.failing import resting
from mlcache.batch.leading import lead
from mlcache.batch.order import Order
from mlcache.batch.seats import Plan, Seat, convoy_of, unnoticed
from mlcache.batch.steps import FindMany, Hasten, JoinMany, TellMany, recursion
from mlcache.entry import FOREVER
from mlcache.errors import RecursiveCallError
from mlcache.events import Coalesced, Event, Hit, Stale
from mlcache.flight import Flight
from mlcache.flow import by_now
from mlcache.steps import Draw, Later, Lead, Now, Outcome, Status, Wait
from mlcache.terms import Terms, Use

Outcomes = dict[int, Outcome]
"""By number of a distinct item."""


class Boarding(Protocol):
    """How a single item is computed in one batch with those of others."""

    async def take_off(self, seat: Seat, /) -> Outcomes:
        """Its outcome; without one, it is to be asked for once more."""
        ...

    async def renew(self, seat: Seat, /) -> None:
        """Have it computed, with nobody waiting for it."""


async def answer(
    order: Order, plan: Plan, boarding: Boarding | None = None, looked: Sequence[Found | None] = ()
) -> list[Outcome]:
    """The whole way of the distinct items of ``order``.

    Args:
        order: what is asked for.
        plan: how it is to be computed.
        boarding: how the item is computed, if it is a single one; None: here and now.
        looked: what was found by item, where they have been looked up already.
    """
    found = looked or await FindMany(order.keys)
    outcomes, missing = await _look(order, plan, found, boarding)
    plan.advance(len(outcomes))
    call = _Asking(order, plan, found, outcomes, Counter())
    while missing:
        joined = await _join(call, missing, offered=False if boarding else None)
        led = [Seat(number, flight) for number, (flight, ours) in joined.items() if ours]
        followed = {number: flight for number, (flight, ours) in joined.items() if not ours}
        asked: float = await Now() if followed else 0.0
        if followed and boarding is None:
            await Hasten(followed.values())
        if led:
            outcomes |= await (boarding.take_off(led[0]) if boarding else _take_off(order, plan, led))
        missing = [seat.number for seat in led if seat.number not in outcomes]
        if followed:
            missing += await _follow(call, followed, asked)
    return [outcomes[number] for number in range(len(order.keys))]


class _Asking(msgspec.Struct, frozen=True, eq=False):
    """What is known of the items of one call.

    Args:
        order: what is asked for.
        plan: how it is to be computed.
        found: by number, what was kept.
        outcomes: those that there are.
        failed: by number, in how many batches of others, with items of theirs.
    """

    order: Order
    plan: Plan
    found: Sequence[Found | None]
    outcomes: Outcomes
    failed: Counter[int]


async def _look(
    order: Order, plan: Plan, everything: Sequence[Found | None], boarding: Boarding | None
) -> tuple[Outcomes, list[int]]:
    """What of ``everything`` that was found may be served, and the numbers of the items that are missing."""
    outcomes: Outcomes = {}
    missing: list[int] = []
    aging: dict[int, float] = {}
    events: list[Event] = []
    for number, (found, use) in enumerate(
        zip(everything, await _uses(order, plan.terms, everything), strict=True)
    ):
        if found is None or use is Use.COMPUTE:
            missing.append(number)
            continue
        if use is Use.SERVE_AND_RENEW:
            aging[number] = found.entry.created
        outcomes[number] = served(order, number, found, events)
    if aging:
        await _renew(order, plan, aging, boarding)
    if events:
        await TellMany(events)
    return outcomes, missing


async def _uses(order: Order, terms: Terms, everything: Sequence[Found | None]) -> list[Use]:
    """What to do with each of the entries that were found."""
    uses: list[Use] = []
    old: dict[int, Found] = {}
    for number, found in enumerate(everything):
        use = Use.COMPUTE
        if found is not None:
            use = terms.use_of(found, await Draw() if terms.expiry.early else 0.0)
            if use is not Use.SERVE:
                old[number] = found
        uses.append(use)
    for number in await resting(order, terms, old) if old else ():
        uses[number] = Use.SERVE
    return uses


def served(order: Order, number: int, found: Found, events: list[Event]) -> Outcome:
    """The outcome that an entry is, with the event that it makes."""
    key, entry, age = order.keys[number], found.entry, found.at - found.entry.created
    if found.at < entry.fresh_until:
        events.append(Hit(key, found.tier, age, entry.cost, entry.size))
        return Outcome(entry, Status.HIT, found.tier)
    events.append(Stale(key, found.tier, age, entry.cost, entry.size))
    return Outcome(entry, Status.STALE, found.tier)


async def _take_off(order: Order, plan: Plan, led: list[Seat]) -> Outcomes:
    convoy = convoy_of(led)
    flow: Any = lead(order, plan, led, convoy)
    outcomes: Outcomes = await Lead(convoy, flow)
    return outcomes


async def _join(
    call: _Asking, missing: Sequence[int], *, offered: bool | None
) -> dict[int, tuple[Flight, bool]]:
    """By number of the item, its flight and whether we lead it.

    What failed twice in batches of others, with their items, we lead in any case, with none but ours.
    """
    joined: dict[int, tuple[Flight, bool]] = {}
    for anew in (False, True):
        numbers = [number for number in missing if (call.failed[number] > 1) is anew]
        if numbers:
            keys = [call.order.keys[number] for number in numbers]
            joined.update(zip(numbers, await JoinMany(keys, anew=anew, offered=offered), strict=True))
    return joined


async def _follow(call: _Asking, followed: dict[int, Flight], asked: float) -> list[int]:
    """Wait for what others compute; the numbers of the items that we have to see to ourselves.

    Those are what others gave up, or had found and was too old when this caller asked, or what failed with
    items that are not ours.
    """
    again: list[int] = []
    events: list[Event] = []
    for number, flight in followed.items():
        events.append(Coalesced(flight.key))
        outcome = await _landing(call, number, flight, asked, events)
        if outcome is None:
            again.append(number)
        else:
            call.outcomes[number] = outcome
            call.plan.advance(1)
    await TellMany(events)
    return again


async def _landing(
    call: _Asking, number: int, flight: Flight, asked: float, events: list[Event]
) -> Outcome | None:
    """What a flight that somebody else leads comes to for this caller; None if he has to see to it himself.

    If it fails, what we have found may do for us, though it was too old for the one who leads.
    """
    terms = call.plan.terms
    try:
        outcome: Outcome | None = await Wait(flight)
    except RecursiveCallError:
        if flight.landed:
            raise
        raise recursion(flight.key) from None
    except Exception:
        if not flight.suspects.issubset(call.order.keys):
            call.failed[number] += 1
            return None
        old = call.found[number]
        if old is None or not terms.outlives_errors(old := await by_now(old)):
            raise
        return served(call.order, number, old, events)
    if outcome is None or not terms.accepts(outcome, asked):
        return None
    return msgspec.structs.replace(outcome, status=Status.COALESCED)


async def _renew(order: Order, plan: Plan, aging: dict[int, float], boarding: Boarding | None) -> None:
    """Have entries computed anew in the background, those that nobody else does.

    Args:
        order: that they are of.
        plan: how they are computed.
        aging: by number of the item, when its entry was made.
        boarding: as for ``answer``.
    """
    keys = [order.keys[each] for each in aging]
    joined: list[tuple[Flight, bool]] = await JoinMany(keys, offered=boarding is None)
    led = [
        Seat(number, flight, after=created)
        for (number, created), (flight, ours) in zip(aging.items(), joined, strict=True)
        if ours
    ]
    if not led:
        return
    if boarding is not None:
        await boarding.renew(led[0])
        return
    convoy = convoy_of(led)
    renewal: Any = lead(order, msgspec.structs.replace(plan, advance=unnoticed), led, convoy)
    await Later(convoy, renewal)


async def refresh(order: Order, plan: Plan) -> list[Outcome]:
    """Compute all items anew, whatever is kept or under way, and keep the answers."""
    joined: list[tuple[Flight, bool]] = await JoinMany(order.keys, anew=True)
    led = [Seat(number, flight, after=FOREVER) for number, (flight, _) in enumerate(joined)]
    outcomes = await _take_off(order, plan, led)
    if len(outcomes) < len(led):
        return await answer(order, plan)
    return [outcomes[number] for number in range(len(led))]


async def peek(order: Order) -> list[Outcome] | None:
    """What is kept of all items, if nothing is missing; nothing is computed."""
    found: list[Found | None] = await FindMany(order.keys)
    if not all(found):
        return None
    return [served(order, number, each, []) for number, each in enumerate(found) if each is not None]
