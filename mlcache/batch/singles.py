"""Single items, each answered under its own key, and computed in batches with others."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from mlcache import clock, forks
from mlcache.batch.collating import Collate
from mlcache.batch.flow import Outcomes, TakeOff
from mlcache.batch.items import Collected
from mlcache.batch.leading import Plan, Seat, convoy_of, lead
from mlcache.batch.options import Batch
from mlcache.batch.order import Order
from mlcache.batch.steps import CrashMany
from mlcache.cache import Cache
from mlcache.drive import ACTIONS, AWAITED, Parts, blocking, suspending
from mlcache.errors import BatchTimeoutError, ConfigurationError
from mlcache.flight import Flight, Flights, Job, waiting_for
from mlcache.offload.microbatch import LoopBatcher, MicroBatcher, is_inside
from mlcache.offload.tickets import Rules, Ticket
from mlcache.steps import Outcome, Step

if TYPE_CHECKING:
    import asyncio


class Rider(Ticket):
    """A single item that waits for its batch.

    Args:
        item: as it was passed.
        order: of this item alone.
        flight: of its key.
        flights: whose it is.
        batch: the options.
    """

    __slots__ = ("flight", "flights", "item", "order", "patience")

    def __init__(self, item: Any, order: Order, flight: Flight, flights: Flights, batch: Batch) -> None:
        bucket = (order.group if batch.collate is None else order.others, _of(batch, "bucket", item))
        weights = batch.limits.weight(item) if batch.limits.weighs else ()
        ends = None if batch.timeout is None else clock.ticks() + batch.timeout
        super().__init__(bucket, _of(batch, "tenant", item), weights, ends)
        self.item = item
        self.order = order
        self.flight = flight
        self.flights = flights
        self.patience = batch.timeout

    def is_wanted(self) -> bool:
        """Whether anybody still waits for the answer."""
        return self.flight.waiters > 0

    def leave(self, *, late: bool) -> None:
        """End the flight of an item that will not be computed."""
        if late:
            about = f"no batch began within {self.patience:g} s: all were busy with others"
            self.flights.crash(self.flight, BatchTimeoutError(about))
        else:
            self.flights.land(self.flight, None)


class Board(Step, frozen=True, eq=False):
    """Wait for the batch that an item is computed in. Answered with its outcome; None if there was none."""

    rider: Rider
    singles: Singles


class Tasks:
    """Where tasks hand in what tasks of the same event loop compute.

    Args:
        batcher: of the event loop.
    """

    def __init__(self, batcher: LoopBatcher) -> None:
        self._batcher = batcher
        self.withdraw = batcher.withdraw

    def add(self, rider: Rider) -> None:
        """Queue an item."""
        rider.flight.hurry = partial(self._batcher.hurry, rider)
        self._batcher.add(rider)
        if self._batcher.task is not None:
            rider.flight.belong_to(self._batcher.task)


class Turns:
    """Where tasks hand in what threads compute. What comes in one turn of their event loop is one batch.

    Args:
        batcher: of all threads.
    """

    def __init__(self, batcher: MicroBatcher) -> None:
        self._batcher = batcher
        self._opening: Job | None = None
        self.withdraw = batcher.withdraw

    def add(self, rider: Rider) -> None:
        """Queue an item."""
        if is_inside():  # the batch that asks may have the only slot
            if self._batcher.add(rider):
                self._batcher.serve_elsewhere()
            return
        rider.flight.hurry = partial(self._batcher.hurry, rider)
        self._batcher.put(rider)
        if self._opening is None:
            import asyncio

            self._opening = Context().run(Job, self._batcher.open)
            asyncio.get_running_loop().call_soon(self._end_turn, self._opening)
        rider.flight.offer(self._opening)  # to whoever waits for it: that may hold up the loop

    def _end_turn(self, opening: Job) -> None:
        self._opening = None
        opening.run()


class Singles:
    """What puts single items into batches.

    Args:
        cache: the parts of the function.
        batch: the options.
        collate: makes a container of single items.
        plan: makes the plan of how batches are computed.
    """

    def __init__(self, cache: Cache, batch: Batch, collate: Collate, plan: Callable[..., Plan]) -> None:
        self.collate = collate
        self._cache = cache
        self._batch = batch
        self._plan: Plan = plan(cache.terms, isolate=batch.isolate)
        slots = batch.concurrency or cache.workers
        self._rules = Rules(max_size=batch.limits.max_size, max_wait=batch.max_wait, slots=slots)
        self.batcher = MicroBatcher(self._compute, self._rules)
        self._of_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Tasks | Turns]
        self._of_loops = weakref.WeakKeyDictionary()
        forks.tend(self)

    def boarding(self, item: Any, order: Order) -> TakeOff:
        """How an item that is missing is computed."""

        async def take_off(led: list[Seat]) -> Outcomes:
            flight = led[0].flight
            try:
                rider = Rider(item, order, flight, self._cache.flights, self._batch)
            except BaseException as error:
                await CrashMany([flight], error)
                raise
            outcome: Outcome | None = await Board(rider, self)
            return {} if outcome is None else {0: outcome}

        return take_off

    def of_loop(self, *, suspends: bool) -> Tasks | Turns:
        """Where tasks of the running event loop hand in what they ask for.

        Args:
            suspends: whether the function is a coroutine function, which tasks compute; else threads do.
        """
        import asyncio

        loop = asyncio.get_running_loop()
        desk = self._of_loops.get(loop)
        if desk is None:
            for each in [each for each in self._of_loops if each.is_closed()]:
                self._of_loops.pop(each, None)  # its last task refers to it
            tasks = LoopBatcher(self._compute_suspending, self._rules) if suspends else None
            desk = self._of_loops[loop] = Turns(self.batcher) if tasks is None else Tasks(tasks)
        return desk

    def after_fork(self) -> None:
        """Wait for no batch that is computed in the parent."""
        self.batcher.after_fork()

    def _compute(self, riders: Sequence[Rider]) -> None:
        with suppress(Exception):  # it has landed in the flights
            blocking(self._ride(riders), self._cache)

    async def _compute_suspending(self, riders: Sequence[Rider]) -> None:
        with suppress(Exception):
            await suspending(self._ride(riders), self._cache)

    def _ride(self, riders: Sequence[Rider]) -> Any:
        first = riders[0].order
        numbers = list(range(len(riders)))
        keys = [rider.order.keys[0] for rider in riders]
        items = Collected([rider.item for rider in riders], self.collate)
        order = msgspec.structs.replace(first, items=items, keys=keys, firsts=numbers, seats=numbers)
        seats = [Seat(number, rider.flight) for number, rider in enumerate(riders)]
        return lead(order, self._plan, seats, convoy_of(seats))


def _of(batch: Batch, what: str, item: Any) -> Any:
    """The bucket or the tenant of an item, which must be of use as the key of a dict."""
    function: Callable[[Any], Any] | None = getattr(batch, what)
    answer = None if function is None else function(item)
    try:
        hash(answer)
    except TypeError:
        raise ConfigurationError(
            f"{what} returned {answer!r:.80}, which has no hash to compare it by: return a number, a text "
            "or a tuple of these"
        ) from None
    return answer


def _board(step: Board, _: Parts) -> Outcome | None:
    rider, batcher = step.rider, step.singles.batcher
    rider.flight.watched = True
    with waiting_for(rider.flight):
        rider.flight.hurry = partial(batcher.hurry, rider)
        if batcher.add(rider):
            batcher.serve(until=lambda: rider.flight.landed)
        future = rider.flight.future
        if rider.patience is not None:
            with suppress(TimeoutError):
                future.exception(rider.patience)
            if not future.done() and batcher.withdraw(rider):
                rider.leave(late=True)
        outcome: Outcome | None = future.result() or rider.flight.own
        return outcome


async def _board_suspending(step: Board, parts: Parts) -> Outcome | None:
    rider, flight = step.rider, step.rider.flight
    flight.watched = True
    arrival = flight.arrival()
    with waiting_for(flight):
        batcher = step.singles.of_loop(suspends=parts.suspends)
        batcher.add(rider)
        if rider.patience is not None:
            await _within(rider.patience, arrival)
            if not flight.landed and batcher.withdraw(rider):
                rider.leave(late=True)
        await arrival.wait()
    outcome: Outcome | None = flight.outcome() or flight.own
    return outcome


async def _within(seconds: float, arrival: asyncio.Event) -> None:
    import asyncio

    with suppress(TimeoutError):
        await asyncio.wait_for(arrival.wait(), seconds)


ACTIONS[Board] = _board
AWAITED[Board] = _board_suspending
