"""Exceptions that are kept for items: as their answers, or beside those that they must not replace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlcache.backends.tiered import Found
from mlcache.batch.landing import changed
from mlcache.batch.order import Order
from mlcache.batch.seats import Plan, Seat
from mlcache.batch.steps import FindMany, KeepMany
from mlcache.entry import FOREVER
from mlcache.keeping import beside, failure_entry, is_of_use, keep_error, may_have_failed, rests, span_of
from mlcache.steps import Now
from mlcache.terms import Terms


async def resting(order: Order, terms: Terms, old: Mapping[int, Found]) -> set[int]:
    """The numbers of those items whose old answers are to do, as computing them anew has failed lately."""
    numbers = [number for number, found in old.items() if may_have_failed(terms, found)]
    if not numbers:
        return set()
    failures: list[Found | None] = await FindMany([beside(order.keys[number]) for number in numbers])
    return {number for number, failure in zip(numbers, failures, strict=True) if rests(failure, old[number])}


async def keep_failure(order: Order, plan: Plan, chunk: Sequence[Seat], error: Exception) -> None:
    """Keep an exception for the items of one call, for as long as the terms say.

    That of several is about none of them in particular, so it is no answer. But where each has an old one
    that is still of use, it is kept beside these, which then do without another try.
    """
    terms = plan.terms
    if not span_of(error, terms):
        return
    seats = _sure(order, chunk)
    if len(chunk) == 1:
        for seat in seats:
            await keep_error(seat.flight.key, error, terms, seat.flight, seat.old)
        return
    old = [seat.old for seat in seats]
    if chunk[0].after == FOREVER:  # nobody has looked
        old = await FindMany([seat.flight.key for seat in seats], again=True)
    if seats and all(is_of_use(found, terms) for found in old):
        entry = failure_entry(error, terms, await Now())
        await KeepMany([(beside(seat.flight.key), entry) for seat in seats])


def _sure(order: Order, chunk: Sequence[Seat]) -> list[Seat]:
    """The seats of items that are still what their keys say, of which nothing newer was put meanwhile."""
    unsure = [seat for seat in chunk if seat.is_unsure]
    lost = changed(order, unsure) if unsure else set()
    return [seat for seat in chunk if seat.number not in lost and not seat.flight.superseded]
