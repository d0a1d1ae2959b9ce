"""Single items that wait for their batches, and the desks where tasks of an event loop hand them in."""

from __future__ import annotations

from contextvars import Context
from typing import Any, Protocol

from mlcache import clock
from mlcache.batch.options import Batch
from mlcache.batch.order import Order
from mlcache.call import Values
from mlcache.entry import FOREVER
from mlcache.errors import BatchTimeoutError, ConfigurationError
from mlcache.flight import Flight, Flights, Job
from mlcache.flight.carried import CarriedError, carried
from mlcache.offload.loopbatch import LoopBatcher
from mlcache.offload.microbatch import MicroBatcher, is_inside
from mlcache.offload.tickets import Ticket
from mlcache.steps import Outcome


class Rider(Ticket):
    """A single item that waits for its batch.

    A thousand may wait at a time: what each holds is looked through time and again by the collector of
    garbage, so it does not hold its order, but what a batch needs of it.

    Args:
        item: as it was passed.
        order: of this item alone.
        flight: of its key.
        flights: whose it is.
        batch: the options.
        after: when the entry was created that is to be renewed, of an item that nobody waits for.
        begun: the reading of ``clock.ticks`` at which it was asked for; None: now.
    """

    __slots__ = (
        "after",
        "batcher",
        "flight",
        "flights",
        "group",
        "item",
        "left",
        "others",
        "patience",
        "values",
    )

    def __init__(
        self,
        item: Any,
        order: Order,
        flight: Flight,
        flights: Flights,
        batch: Batch,
        after: float = -FOREVER,
        begun: float | None = None,
    ) -> None:
        bucket: Any = order.group if batch.collate is None else order.others
        if batch.bucket is not None:
            bucket = bucket, _of(batch, "bucket", item)
        weights = batch.limits.weight(item) if batch.limits.weighs else ()
        tenant = None if batch.tenant is None else _of(batch, "tenant", item)
        self.after = after
        self.left = False
        self.patience = batch.timeout if after == -FOREVER else None
        ends = self.patience and (clock.ticks() if begun is None else begun) + self.patience
        super().__init__(bucket, tenant, weights, ends)
        self.item = item
        self.values: Values = order.values
        self.group = order.group
        self.others = order.others
        self.flight = flight
        self.flights = flights
        self.batcher: MicroBatcher | None = None

    def join(self, batcher: MicroBatcher) -> None:
        """Note whose queue it waits in, for whoever begins to wait for it with a batch or from within one."""
        self.batcher = batcher
        self.flight.hurry = self._hurry
        if batcher.gathers:
            self.flight.hasten = batcher.hasten

    def _hurry(self) -> None:
        if self.batcher is not None:
            self.batcher.hurry(self)

    @property
    def remaining(self) -> float | None:
        """Seconds for which it may go on waiting for its batch to begin; None: for ever."""
        return None if self.ends is None else max(self.ends - clock.ticks(), 0.0)

    def has_left(self) -> bool:
        """Whether whoever asked first has given up waiting."""
        return self.left

    def is_wanted(self) -> bool:
        """Whether anybody still waits for the answer."""
        return self.flight.waiters > 0 or self.after > -FOREVER

    def leave(self, *, late: bool) -> None:
        """End the flight of an item that will not be computed.

        If it is too late that is raised in whoever asked first, while those who came later have time left.
        """
        if late:
            about = f"no batch began within {self.patience:g} s: all were busy with others"
            self.flight.error = BatchTimeoutError(about)
        self.flights.land(self.flight, None)

    def fail(self, error: BaseException) -> None:
        """End the flight of an item that cannot be computed."""
        self.flights.crash(self.flight, error)


class Desk(Protocol):
    """Where tasks of one event loop hand in what they ask for."""

    def add(self, rider: Rider) -> None:
        """Queue an item."""

    def withdraw(self, rider: Rider) -> bool:
        """Take one back; whether it had not begun."""
        ...


class Tasks:
    """Where tasks hand in what tasks of the same event loop compute.

    Args:
        batcher: of the event loop.
    """

    def __init__(self, batcher: LoopBatcher) -> None:
        self._batcher = batcher

    def add(self, rider: Rider) -> None:
        """Queue an item."""
        rider.join(self._batcher)
        self._batcher.add(rider)
        if self._batcher.task is not None:
            rider.flight.belong_to(self._batcher.task)

    def withdraw(self, rider: Rider) -> bool:
        """Take one back; whether it had not begun."""
        return self._batcher.withdraw(rider)


class Turns:
    """Where tasks hand in what threads compute. What comes in one turn of their event loop is one batch.

    Args:
        batcher: of all threads.
    """

    def __init__(self, batcher: MicroBatcher) -> None:
        self._batcher = batcher
        self._opening: Job | None = None

    def add(self, rider: Rider) -> None:
        """Queue an item."""
        if is_inside():  # the batch that asks may have the only slot
            if self._batcher.add(rider):
                self._serve_now(rider)
            return
        rider.join(self._batcher)
        full = self._batcher.put(rider)
        opening = self._opening  # whoever does it notes that first, and then sees what was put before
        if opening is None:
            import asyncio

            opening = self._opening = Context().run(Job, self._open)
            asyncio.get_running_loop().call_soon(opening.run)
        rider.flight.offer(opening)  # to whoever waits for it: that may hold up the loop
        if full:
            self._batcher.open(1)

    def withdraw(self, rider: Rider) -> bool:
        """Take one back; whether it had not begun."""
        return self._batcher.withdraw(rider)

    def _serve_now(self, rider: Rider) -> None:
        try:
            self._batcher.serve_elsewhere()
        except RuntimeError as error:  # no thread can be started, and the batch that asks would wait for ever
            if self._batcher.withdraw(rider):
                rider.fail(error)

    def _open(self) -> None:
        self._opening = None  # a thread may be early: who comes later in the turn needs another one
        self._batcher.open()


def outcome_of(flight: Flight) -> Outcome | None:
    """What the flight of a single item has landed with; None if nobody computed it.

    Raises:
        BaseException: what the computation raised.
    """
    outcome: Outcome | None
    try:
        outcome = landing_of(flight)
    except CarriedError as carrier:
        raised = carrier.error
    else:
        return outcome
    try:
        raise raised  # here, where it does not become the context of itself
    finally:
        del raised  # whose traceback holds this frame: a circle


def landing_of(flight: Flight) -> Outcome | None:
    """``outcome_of`` for a flow, which what was raised reaches in a form that coroutines pass on.

    The flight is the caller's own. What ended its batch is what computing the item came to, and to try again
    would go on for ever; but the user's interrupt, which hits any thread, is a matter of that thread alone.
    """
    outcome: Outcome | None = flight.outcome() or flight.own
    if outcome is not None or flight.error is None or isinstance(flight.error, KeyboardInterrupt):
        return outcome
    error, flight.error = flight.error, None
    try:
        raise carried(error)
    finally:
        del error  # whose traceback holds this frame: a circle


def _of(batch: Batch, what: str, item: Any) -> Any:
    """The bucket or the tenant of an item, which must be of use as the key of a dict."""
    answer = getattr(batch, what)(item)
    try:
        hash(answer)
    except TypeError:
        raise ConfigurationError(
            f"{what} returned {answer!r:.80}, which has no hash to compare it by: return a number, a text "
            "or a tuple of these"
        ) from None
    return answer
