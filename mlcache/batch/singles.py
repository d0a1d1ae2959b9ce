"""Single items, each answered under its own key, and computed in batches with others."""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any

from mlcache import clock, forks
from mlcache.batch.collating import Collate, kind_teller
from mlcache.batch.flow import Outcomes
from mlcache.batch.items import Collected, Items
from mlcache.batch.leading import lead
from mlcache.batch.options import Batch
from mlcache.batch.order import Order
from mlcache.batch.riders import Desk, Rider, Tasks, Turns, landing_of
from mlcache.batch.seats import Plan, Seat, convoy_of
from mlcache.batch.steps import recursion
from mlcache.cache import Cache
from mlcache.call import Values
from mlcache.drive import ACTIONS, AWAITED, Parts, blocking, suspending
from mlcache.errors import RecursiveCallError
from mlcache.flight import Flight, is_needed_by, waiting_for
from mlcache.flight.waking import Arrival
from mlcache.offload.loopbatch import LoopBatcher
from mlcache.offload.microbatch import MicroBatcher
from mlcache.offload.tickets import Rules
from mlcache.steps import Outcome, Step

if TYPE_CHECKING:
    import asyncio


class Board(Step, frozen=True, eq=False):
    """Wait for the batch that an item is computed in. Answered with its outcome; None if there was none."""

    rider: Rider
    singles: Singles


class Renew(Step, frozen=True, eq=False):
    """Have an item computed in a batch, and do not wait for it."""

    rider: Rider
    singles: Singles


class Passenger:
    """How one single item is computed in a batch; see ``flow.Boarding``."""

    def __init__(self, singles: Singles, item: Any, order: Order) -> None:
        self._singles = singles
        self._item = item
        self._order = order
        self._begun = clock.ticks()

    async def take_off(self, seat: Seat) -> Outcomes:
        """Its outcome, if it was computed."""
        rider = self._singles.seated(self._item, self._order, seat, begun=self._begun)
        outcome: Outcome | None = await Board(rider, self._singles)
        return {} if outcome is None else {0: outcome}

    async def renew(self, seat: Seat) -> None:
        """Have it computed, with nobody waiting for it."""
        with suppress(Exception):  # of the user's options; whoever asked is served what there is
            await Renew(self._singles.seated(self._item, self._order, seat), self._singles)


class Singles:
    """What puts single items into batches.

    Args:
        cache: the parts of the function.
        batch: the options.
        collate: makes a container of single items.
        place: of the items among the bound arguments.
        plan: makes the plan of how batches are computed.
        digests_of: tells the digests of items in a call with bound arguments.
    """

    def __init__(
        self,
        cache: Cache,
        batch: Batch,
        collate: Collate,
        place: int,
        plan: Callable[..., Plan],
        digests_of: Callable[[Values, Items], list[bytes]],
    ) -> None:
        self.collate = collate
        self.kind_of = kind_teller(collate)
        self._cache = cache
        self._batch = batch
        self._place = place
        self._digests_of = digests_of
        self._convoys: dict[Flight, None] = {}
        self._plan: Plan = plan(cache.terms, isolate=batch.isolate)
        slots = batch.concurrency or cache.workers
        self._rules = Rules(max_size=batch.limits.max_size, max_wait=batch.max_wait, slots=slots)
        self.batcher = MicroBatcher(self._compute, self._rules)
        self._of_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Desk]
        self._of_loops = weakref.WeakKeyDictionary()
        forks.tend(self)

    def boarding(self, item: Any, order: Order) -> Passenger:
        """How an item is computed in one batch with those of others."""
        return Passenger(self, item, order)

    def seated(self, item: Any, order: Order, seat: Seat, begun: float | None = None) -> Rider:
        """The rider for an item whose flight we lead; see ``Rider``.

        Raises:
            Exception: what an option of the user's raises; the flight has ended with it.
        """
        flights = self._cache.flights
        try:
            return Rider(item, order, seat.flight, flights, self._batch, seat.after, begun)
        except BaseException as error:
            flights.crash(seat.flight, error)
            raise

    def rider(self, item: Any, order: Order) -> Rider | None:
        """An item that is missing, and that we have to see to; None if somebody does so already."""
        flights = self._cache.flights
        try:
            flight, ours = flights.join(order.keys[0])
        except RecursiveCallError:
            raise recursion(order.keys[0]) from None
        return self.seated(item, order, Seat(0, flight)) if ours else None

    def renew(self, rider: Rider) -> None:
        """Have an item computed with others, as soon as a slot is free, with nobody waiting for it."""
        rider.join(self.batcher)
        self.batcher.put(rider)
        self.batcher.open(1)

    def wait(self, rider: Rider) -> None:
        """Have an item computed, in this thread where it is idle, and wait for it."""
        flight, batcher = rider.flight, self.batcher
        flight.watched = True
        with waiting_for(flight):
            rider.join(batcher)
            if batcher.add(rider):
                batcher.serve(until=lambda: flight.landed)
            elif is_needed_by(self._under_way()):
                batcher.push(rider)
            if rider.ends is not None:
                with suppress(TimeoutError):
                    flight.future.exception(rider.remaining)
                if not flight.landed and batcher.withdraw(rider):
                    rider.leave(late=True)
            if not flight.landed:
                flight.future.exception()

    def arrival(self, rider: Rider, *, suspends: bool) -> Awaitable[None]:
        """Have an item computed; what waits for it on the event loop.

        Args:
            rider: the item.
            suspends: whether the function is a coroutine function, which tasks compute; else threads do.
        """
        flight = rider.flight
        flight.watched = True
        arrival = flight.arrival()
        desk = self.of_loop(suspends=suspends)
        desk.add(rider)
        if rider.batcher is not None and is_needed_by(self._under_way()):
            rider.batcher.push(rider)
        return arrival.wait() if rider.ends is None else _patiently(rider, desk, arrival)

    def of_loop(self, *, suspends: bool) -> Desk:
        """Where tasks of the running event loop hand in what they ask for."""
        import asyncio

        loop = asyncio.get_running_loop()
        desk = self._of_loops.get(loop)
        if desk is None:
            self._forget_closed_loops()
            desk = self._of_loops[loop] = self._new_desk(suspends=suspends)
        return desk

    def _forget_closed_loops(self) -> None:
        for reference in self._of_loops.keyrefs():  # loops of other threads may be added meanwhile
            loop = reference()
            if loop is not None and loop.is_closed():
                self._of_loops.pop(loop, None)  # its last task refers to it

    def _new_desk(self, *, suspends: bool) -> Desk:
        if suspends:
            return Tasks(LoopBatcher(self._compute_suspending, self._rules))
        return Turns(self.batcher)

    def after_fork(self) -> None:
        """Wait for no batch that is computed in the parent."""
        self.batcher.after_fork()
        self._convoys = {}

    def _compute(self, riders: Sequence[Rider]) -> None:
        try:
            blocking(self._ride(riders), self._cache)
        except KeyboardInterrupt:  # of this thread, whosever batch it hit
            raise
        except BaseException:  # noqa: BLE001, S110 - it has landed in the flights
            pass

    async def _compute_suspending(self, riders: Sequence[Rider]) -> None:
        with suppress(Exception):
            await suspending(self._ride(riders), self._cache)

    def _digest_anew(self, riders: Sequence[Rider]) -> list[bytes]:
        return [self._digests_of(rider.values, Collected([rider.item], self.collate))[0] for rider in riders]

    def _ride(self, riders: Sequence[Rider]) -> Any:
        first = riders[0]
        numbers = list(range(len(riders)))
        keys = [rider.flight.key for rider in riders]
        items = Collected([rider.item for rider in riders], self.collate)
        alike = first.group, first.others
        anew = partial(self._digest_anew, riders)
        order = Order(
            self._cache.apply, first.values, self._place, items, keys, numbers, numbers, *alike, anew
        )
        seats = [
            Seat(number, rider.flight, after=rider.after, left=rider.has_left)
            for number, rider in enumerate(riders)
        ]
        return self._lead(order, seats, convoy_of(seats))

    async def _lead(self, order: Order, seats: Sequence[Seat], convoy: Flight) -> None:
        self._convoys[convoy] = None
        try:
            await lead(order, self._plan, seats, convoy)
        finally:
            self._convoys.pop(convoy, None)

    def _under_way(self) -> list[Flight]:
        """The batches that hold slots."""
        return list(self._convoys)


async def _patiently(rider: Rider, desk: Desk, arrival: Arrival) -> None:
    import asyncio

    with suppress(TimeoutError):
        await asyncio.wait_for(arrival.wait(), rider.remaining)
    if not rider.flight.landed and desk.withdraw(rider):
        rider.leave(late=True)
    await arrival.wait()


def _board(step: Board, _: Parts) -> Outcome | None:
    step.singles.wait(step.rider)
    return landing_of(step.rider.flight)


async def _board_suspending(step: Board, parts: Parts) -> Outcome | None:
    rider = step.rider
    try:
        with waiting_for(rider.flight):
            await step.singles.arrival(rider, suspends=parts.suspends)
    except BaseException:
        rider.left = True
        raise
    return landing_of(rider.flight)


async def _renew_suspending(step: Renew, parts: Parts) -> None:
    if not parts.suspends:
        step.singles.renew(step.rider)
        return
    desk = step.singles.of_loop(suspends=True)
    Context().run(desk.add, step.rider)  # it waits for a slot, though a batch may have asked for it


ACTIONS[Renew] = lambda step, _: step.singles.renew(step.rider)
AWAITED[Renew] = _renew_suspending
ACTIONS[Board] = _board
AWAITED[Board] = _board_suspending
