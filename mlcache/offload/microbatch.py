"""Micro-batching: single requests, put together into batches while others are being computed.

The rule is to conserve work: a request that finds a free slot is computed at once, by itself;
only while all slots are busy do requests gather. Under light load nobody waits, and under
heavy load batches grow by themselves (Crankshaw et al., "Clipper", NSDI 2017, has the idea of batches that
adapt; here the load alone adapts them).
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine, Hashable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any

import msgspec

from mlcache import clock

if TYPE_CHECKING:
    import asyncio


class Ticket:
    """One request.

    Args:
        bucket: only requests with the same are put into one batch.
        tenant: whose it is; tenants take turns.
        weights: shares of what one batch may have of each of several things, such as bytes.
        ends: the reading of ``clock.ticks`` at which it is too late to begin; None: never.
    """

    __slots__ = ("bucket", "ends", "since", "tenant", "weights")

    def __init__(
        self,
        bucket: Hashable,
        tenant: Hashable = None,
        weights: tuple[float, ...] = (),
        ends: float | None = None,
    ) -> None:
        self.bucket = bucket
        self.tenant = tenant
        self.weights = weights
        self.ends = ends
        self.since = clock.ticks()

    def is_wanted(self) -> bool:
        """Whether anybody still waits for the answer."""
        return True

    def leave(self, *, late: bool) -> None:
        """Note that it will not be computed, because nobody wants it or it is too late."""


class Rules(msgspec.Struct, frozen=True):
    """What a batch is made of.

    Args:
        max_size: requests at most; None: any number.
        max_wait: seconds for which a request waits for others even where a slot is free.
        slots: batches that may be computed at a time.
    """

    max_size: int | None = None
    max_wait: float = 0.0
    slots: int = 1


class Queue:
    """The requests that wait. Not for several threads at once.

    Args:
        rules: what a batch is made of.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._buckets: OrderedDict[Hashable, OrderedDict[Hashable, deque[Ticket]]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, ticket: Ticket) -> None:
        """Take a request."""
        tenants = self._buckets.setdefault(ticket.bucket, OrderedDict())
        tenants.setdefault(ticket.tenant, deque()).append(ticket)
        self._size += 1

    def remove(self, ticket: Ticket) -> bool:
        """Give a request back; whether it was still waiting."""
        tenants = self._buckets.get(ticket.bucket)
        line = tenants.get(ticket.tenant) if tenants else None
        if line is None or ticket not in line:
            return False
        line.remove(ticket)
        self._size -= 1
        self._tidy(ticket.bucket, ticket.tenant)
        return True

    def take(self, now: float) -> tuple[list[Ticket], list[Ticket], float]:
        """The next batch, those that left because they are late or unwanted, and a time to wait.

        With a batch there is nothing to wait for. Without one, there may be one after the time to wait,
        in seconds, unless it is 0: then nobody is left.
        """
        gone = self._sweep(now)
        if not self._size:
            return [], gone, 0.0
        bucket = min(self._buckets, key=self._oldest)
        wait = self._oldest(bucket) + self._rules.max_wait - now if self._rules.max_wait else 0.0
        if wait > 0:
            full = [each for each in self._buckets if self._is_full(each)]
            if not full:
                return [], gone, wait
            bucket = full[0]
        return self._fill(bucket), gone, 0.0

    def _sweep(self, now: float) -> list[Ticket]:
        gone = [
            ticket
            for tenants in self._buckets.values()
            for line in tenants.values()
            for ticket in line
            if not ticket.is_wanted() or (ticket.ends is not None and ticket.ends <= now)
        ]
        for ticket in gone:
            self.remove(ticket)
        return gone

    def _oldest(self, bucket: Hashable) -> float:
        return min(line[0].since for line in self._buckets[bucket].values())

    def _is_full(self, bucket: Hashable) -> bool:
        batch = list(self._choose(bucket))
        most = self._rules.max_size
        waiting = sum(map(len, self._buckets[bucket].values()))
        return len(batch) == most or len(batch) < waiting

    def _fill(self, bucket: Hashable) -> list[Ticket]:
        """Take as many as fit out of one bucket; the tenant who was served last comes last next time."""
        batch = list(self._choose(bucket))
        tenants = self._buckets[bucket]
        for ticket in batch:
            tenants[ticket.tenant].popleft()
            tenants.move_to_end(ticket.tenant)
        self._size -= len(batch)
        for ticket in batch:
            self._tidy(bucket, ticket.tenant)
        return batch

    def _choose(self, bucket: Hashable) -> Iterator[Ticket]:
        """Requests in turns of the tenants, until the batch is full; one at least."""
        lines = deque(iter(line) for line in self._buckets[bucket].values())
        most, count = self._rules.max_size, 0
        sums: list[float] = []
        while lines and count != most:
            line = lines.popleft()
            ticket = next(line, None)
            if ticket is None:
                continue
            sums = [a + b for a, b in zip(sums or [0.0] * len(ticket.weights), ticket.weights, strict=True)]
            if count and any(each > 1 for each in sums):
                return
            yield ticket
            count += 1
            lines.append(line)

    def _tidy(self, bucket: Hashable, tenant: Hashable) -> None:
        tenants = self._buckets.get(bucket)
        if tenants is not None and not tenants.get(tenant, True):
            del tenants[tenant]
            if not tenants:
                del self._buckets[bucket]


_inside: ContextVar[bool] = ContextVar("mlcache_inside_microbatch", default=False)
"""Whether what runs here runs for a batch, which holds a slot that others may wait for."""


@contextmanager
def _being_inside() -> Iterator[None]:
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)


class MicroBatcher:
    """Requests of many threads, computed in batches.

    Whoever adds a request that finds a free slot is given that slot, and has to ``serve``: a thread by
    itself, so that a lone request is computed without a change of threads.

    Args:
        compute: computes a batch; it must not raise, but for what ends the thread.
        rules: what a batch is made of.
    """

    def __init__(self, compute: Callable[[list[Any]], object], rules: Rules) -> None:
        self._compute = compute
        self._rules = rules
        self._queue = Queue(rules)
        self._busy = 0
        self._changed = threading.Condition(threading.RLock())

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._queue)

    def add(self, ticket: Ticket) -> bool:
        """Take a request; whether the caller has been given a slot, and must ``serve``.

        A request that is made by a batch waits for no slot, since the batch may hold it.
        """
        with self._changed:
            self._queue.add(ticket)
            free = self._busy < self._rules.slots or _inside.get()
            self._busy += free
            if not free:
                self._changed.notify()
            return free

    def withdraw(self, ticket: Ticket) -> bool:
        """Take a request back; whether it had not begun."""
        with self._changed:
            return self._queue.remove(ticket)

    def serve(self, until: Callable[[], bool] = lambda: False) -> None:
        """Compute batches until none is left, or ``until`` says so: another thread sees to the rest then."""
        try:
            while batch := self._next():
                with _being_inside():
                    self._compute(batch)
                if until():
                    break
        finally:
            self._hand_over()

    def serve_elsewhere(self) -> None:
        """Serve in a thread that is made for it, and ends when there is nothing to do."""
        threading.Thread(target=self.serve, name="mlcache-batches", daemon=True).start()

    def _next(self) -> list[Ticket]:
        """The next batch, waited for if it is to wait for others; none if nobody is left."""
        while True:
            batch, wait = self.take()
            if batch or not wait:
                return batch
            with self._changed:
                self._changed.wait(wait)

    def take(self) -> tuple[list[Ticket], float]:
        """The next batch; or none, and how long to wait for one, where 0 says that nobody is left."""
        with self._changed:
            batch, gone, wait = self._queue.take(clock.ticks())
        for ticket in gone:
            ticket.leave(late=ticket.is_wanted())
        return batch, wait

    def release(self) -> bool:
        """Give the slot back, unless there are requests: whether it has to go on being served."""
        with self._changed:
            if len(self._queue):
                return True
            self._busy -= 1
            return False

    def _hand_over(self) -> None:
        if self.release():
            self.serve_elsewhere()

    def after_fork(self) -> None:
        """Begin anew in a child, which has none of the threads that serve."""
        self._changed = threading.Condition(threading.RLock())
        self._queue = Queue(self._rules)
        self._busy = 0


class LoopBatcher(MicroBatcher):
    """Requests of the tasks of one event loop, computed in batches by tasks of the same loop.

    Args:
        compute: a coroutine function.
        rules: as for ``MicroBatcher``.
    """

    def __init__(self, compute: Callable[[list[Any]], Coroutine[Any, Any, object]], rules: Rules) -> None:
        super().__init__(compute, rules)
        self._compute_suspending = compute
        self._news: asyncio.Event | None = None
        self.task: asyncio.Task[None] | None = None

    def add(self, ticket: Ticket) -> bool:
        """Take a request, and have it computed; whether a task was started for that."""
        started = super().add(ticket)
        if started:
            self._start()
        elif self._news is not None:
            self._news.set()
        return started

    async def _serve(self) -> None:
        import asyncio

        self._news = asyncio.Event()
        try:
            while True:
                batch, wait = self.take()
                if batch:
                    with _being_inside():
                        await self._compute_suspending(batch)
                elif wait:
                    self._news.clear()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._news.wait(), wait)
                else:
                    break
        finally:
            if self.release():
                self._start()

    def _start(self) -> None:
        import asyncio

        # In a context of its own: a batch belongs to none of those who asked.
        self.task = asyncio.get_running_loop().create_task(self._serve(), context=Context())
        _tasks.add(self.task)
        self.task.add_done_callback(_tasks.discard)


_tasks: set[Any] = set()
"""The event loop itself keeps only weak references to tasks."""
