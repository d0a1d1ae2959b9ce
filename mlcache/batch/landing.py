"""Landing the seats of a batch: with what is kept, or with what was made, which is kept first."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from mlcache.backends.tiered import Found
from mlcache.batch.order import Order
from mlcache.batch.seats import Outcomes, Plan, Seat
from mlcache.batch.steps import KeepMany, LandMany, TellMany
from mlcache.entry import Entry
from mlcache.events import Computed, Event, Hit, NotKept, Stale
from mlcache.keeping import UNCOPIABLE, make_entry
from mlcache.steps import Draw, Made, Outcome, Status


def changed(order: Order, seats: Sequence[Seat]) -> set[int]:
    """The numbers of those items that are not any more what their keys say."""
    try:
        now = order.digest_anew()
        return {
            seat.number for seat in seats if now[order.firsts[seat.number]] != order.keys[seat.number].digest
        }
    except Exception:  # noqa: BLE001 - what cannot be keyed any more is not what it was
        return {seat.number for seat in seats}


async def serve(order: Order, there: Sequence[tuple[Seat, Found]], outcomes: Outcomes) -> None:
    """Land seats with entries that are kept."""
    events: list[Event] = []
    for seat, found in there:
        key, entry, age = order.keys[seat.number], found.entry, found.at - found.entry.created
        fresh = found.at < entry.fresh_until
        events.append((Hit if fresh else Stale)(key, found.tier, age, entry.cost, entry.size))
        status = Status.HIT if fresh else Status.STALE
        outcomes[seat.number] = Outcome(entry, status, found.tier)
    await TellMany(events)
    await LandMany([(seat.flight, outcomes[seat.number]) for seat, _ in there])


async def keep(
    order: Order, plan: Plan, chunk: Sequence[Seat], outcomes: Outcomes, made: Sequence[Made]
) -> None:
    """Keep what was made of items, and land their seats; None lands where it is of something else by now."""
    unsure = [seat for seat in chunk if seat.is_unsure]
    lost = changed(order, unsure) if unsure else set()
    if lost:
        await LandMany([(seat.flight, None) for seat in chunk if seat.number in lost])
    sure = [(seat, each) for seat, each in zip(chunk, made, strict=True) if seat.number not in lost]
    await _keep(order, plan, sure, outcomes)


async def _keep(order: Order, plan: Plan, made: Sequence[tuple[Seat, Made]], outcomes: Outcomes) -> None:
    events: list[Event] = []
    sure: list[tuple[Seat, Entry]] = []
    for seat, each in made:
        flight, key = seat.flight, order.keys[seat.number]
        luck = await Draw() if plan.terms.expiry.jitter else 0.0
        entry, objection = make_entry(each, plan.terms, luck)
        events.append(Computed(key, each.cost, entry.size))
        if flight.superseded:
            objection = "it was invalidated or written while being computed"
        if objection:
            events.append(NotKept(key, objection))
        else:
            sure.append((seat, entry))
        shareable = UNCOPIABLE not in objection
        outcome = Outcome(entry, Status.MISS, kept=not objection, shareable=shareable)
        outcomes[seat.number] = outcome
    await TellMany(events)
    if sure:
        items = [(seat.flight.key, entry) for seat, entry in sure]
        lost: list[bool] = await KeepMany(items, [seat.flight for seat, _ in sure])
        for (seat, _), gone in zip(sure, lost, strict=True):
            if gone:
                outcomes[seat.number] = msgspec.structs.replace(outcomes[seat.number], kept=False)
    await LandMany([(seat.flight, outcomes[seat.number]) for seat, _ in made])
