"""Micro-batching: single requests, put together into batches while others are being computed.

The rule is to conserve work: a request that finds a free slot is computed at once, by itself; only while
all slots are busy do requests gather. Under light load nobody waits, and under heavy load batches grow
(Crankshaw et al., "Clipper", NSDI 2017, adapt their size; here the load alone does).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

from mlcache import clock
from mlcache.offload.tickets import Queue, Rules, Ticket

_inside: ContextVar[bool] = ContextVar("mlcache_inside_microbatch", default=False)
"""Whether what runs here runs for a batch, which holds a slot that others may wait for."""


def is_inside() -> bool:
    """Whether what runs here runs for a batch."""
    return _inside.get()


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
        self._computing = 0
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._queue)

    def add(self, ticket: Ticket) -> bool:
        """Take a request; whether the caller has been given a slot, and must ``serve``.

        A request that is made by a batch waits for no slot, since the batch may hold it.
        """
        with self._lock:
            self._queue.add(ticket)
            free = self._busy < self._rules.slots or _inside.get()
            self._busy += free
            if not free and self._rules.max_wait:
                self._changed.notify()
            return free

    def put(self, ticket: Ticket) -> bool:
        """Take a request without giving anybody a slot; ``open`` is to be called soon.

        Returns:
            Whether it is to be called now, as what waits is a batch already.
        """
        with self._lock:
            self._queue.add(ticket)
            if self._rules.max_wait:  # for which somebody may wait
                self._changed.notify()
            begin = self._busy - self._computing  # and will each take a batch
            return self._busy < self._rules.slots and self._queue.has_batches(ticket.bucket, begin + 1)

    def open(self, most: int | None = None) -> None:
        """Serve what waits, as far as slots are free, in threads that are made for it: ``most`` of them.

        Where none can be made, and nobody else serves, all that waits fails.
        """
        with self._lock:
            free = min(self._rules.slots - self._busy, len(self._queue))
            free = free if most is None else min(free, most)
            self._busy += max(free, 0)
        for begun in range(free):
            try:
                self.serve_elsewhere()
            except RuntimeError as error:
                self._give_back(free - begun - 1)
                self._fail(error)
                return

    @property
    def gathers(self) -> bool:
        """Whether requests wait for others even where a slot is free."""
        return self._rules.max_wait > 0

    def hasten(self) -> None:
        """Have those who wait now wait for no others any more; from any thread."""
        with self._lock:
            self._queue.hasten(clock.ticks())
            self._changed.notify_all()

    def hurry(self, ticket: Ticket) -> None:
        """Have a request for which a batch waits computed by itself, as that batch may hold its slot."""
        if _inside.get():
            self.push(ticket)

    def push(self, ticket: Ticket) -> None:
        """Have a request computed by itself, beyond the slots, if it still waits."""
        if not self.withdraw(ticket):
            return
        with self._lock:
            self._busy += 1
            self._computing += 1
        self.serve_elsewhere([ticket])

    def withdraw(self, ticket: Ticket) -> bool:
        """Take a request back; whether it had not begun."""
        with self._lock:
            return self._queue.remove(ticket)

    def _fail(self, error: RuntimeError) -> None:
        """Fail all requests, unless somebody serves them."""
        with self._lock:
            left = [] if self._busy else self._queue.clear()
        for ticket in left:
            ticket.fail(error)

    def serve(self, until: Callable[[], bool] = lambda: False, *, first: list[Ticket] | None = None) -> None:
        """Compute batches until none is left, or ``until`` says so: another thread sees to the rest then.

        Args:
            until: asked after each batch.
            first: a batch that was taken from the queue before.
        """
        try:
            while batch := first or self._next():
                first = None
                with self._being_busy():
                    self._compute(batch)
                if until():
                    break
        finally:
            self._hand_over()

    @contextmanager
    def _being_busy(self) -> Iterator[None]:
        try:
            with _being_inside():
                yield
        finally:
            with self._lock:
                self._computing -= 1

    def serve_elsewhere(self, first: list[Ticket] | None = None) -> None:
        """Serve in a thread that is made for it, and ends when there is nothing to do.

        Raises:
            RuntimeError: there can be no more threads; the slot is free again, and ``first`` waits.
        """
        serve = partial(self.serve, first=first)
        try:
            threading.Thread(target=serve, name="mlcache-batches", daemon=True).start()
        except BaseException:
            self._give_back(1, first or [])
            raise

    def _give_back(self, slots: int, batch: Sequence[Ticket] = ()) -> None:
        """Have slots free again that nobody can serve, and a batch that was taken for one of them wait."""
        with self._lock:
            self._busy -= slots
            self._computing -= bool(batch)
            for ticket in batch:
                self._queue.add(ticket)

    def _next(self) -> list[Ticket]:
        """The next batch, waited for if it is to wait for others; none if nobody is left."""
        while True:
            batch, wait = self.take()
            if batch or not wait:
                return batch
            with self._lock:
                self._changed.wait(wait)

    def take(self) -> tuple[list[Ticket], float]:
        """The next batch; or none, and how long to wait for one, where 0 says that nobody is left.

        Where several slots are idle, those who have them share what waits.
        """
        with self._lock:
            now = clock.ticks()
            batch, gone, wait = self._queue.take(now, max(self._busy - self._computing, 1))
            self._computing += bool(batch)
        for ticket in gone:
            ticket.leave(late=ticket.is_late(now))
        return batch, wait

    def release(self) -> bool:
        """Give the slot back, unless there are requests: whether it has to go on being served."""
        with self._lock:
            if len(self._queue):
                return True
            self._busy -= 1
            return False

    def _hand_over(self) -> None:
        if not self.release():
            return
        try:
            self.serve_elsewhere()
        except RuntimeError as error:  # no thread can be started
            self._fail(error)

    def after_fork(self) -> None:
        """Begin anew in a child, which has none of the threads that serve."""
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._queue = Queue(self._rules)
        self._busy = self._computing = 0
