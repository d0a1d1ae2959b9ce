"""What the leader of some items' flights goes by: the plan, the items that he leads, and chunks of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from mlcache.backends.tiered import Found
from mlcache.batch.options import Limits
from mlcache.batch.order import Order
from mlcache.entry import FOREVER
from mlcache.flight import Flight
from mlcache.steps import Outcome
from mlcache.terms import Terms

LOCKED_AT_ONCE = 256
"""Items of one call at most where processes share locks: each lock may be an open file."""

Outcomes = dict[int, Outcome]


def unnoticed(_count: int) -> None:
    """What is told of progress where nobody follows it."""


def _never() -> bool:
    """Of callers who wait for the answer."""
    return False


class Plan(msgspec.Struct, frozen=True, eq=False):
    """How what is missing is computed.

    Args:
        terms: of the function.
        limits: what one call of the function gets at most.
        isolate: whether a call that fails is tried item by item, and no error raised here.
        advance: told of the number of items that have been answered.
        workers: calls that are computed at a time.
        copies: whether what is kept are copies of what the function returned.
    """

    terms: Terms
    limits: Limits
    isolate: bool = False
    advance: Callable[[int], object] = unnoticed
    workers: int = 1
    copies: bool = True


class Seat(msgspec.Struct, frozen=True, eq=False):
    """One item that we lead.

    Args:
        number: of the item among the distinct ones.
        flight: of the item.
        after: an entry created later than this will do as well.
        old: an entry, to be served if the function raises.
        left: whether the caller whose item it is has gone on by now.
    """

    number: int
    flight: Flight
    after: float = -FOREVER
    old: Found | None = None
    left: Callable[[], bool] = _never

    @property
    def renews(self) -> bool:
        """Whether it is computed anew in the background, as its caller was served what there is."""
        return -FOREVER < self.after < FOREVER

    @property
    def is_unsure(self) -> bool:
        """Whether the caller has gone on, and may have changed the item: where it is renewed, he has."""
        return self.renews or self.left()


def flights_of(seats: Sequence[Seat]) -> list[Flight]:
    """The flights of seats."""
    return [seat.flight for seat in seats]


def convoy_of(seats: Sequence[Seat]) -> Flight:
    """One flight that carries those of all seats: what computes them runs for it."""
    flights = flights_of(seats)
    convoy = Flight(flights[0].key)
    convoy.carry(flights)
    return convoy


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
