"""One flight: who waits for it, and what they get."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mlcache.entry import Entry, Key
from mlcache.flight.aboard import waiting_for
from mlcache.flight.job import Job
from mlcache.flight.waking import Arrival, wake

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future


class Flight:
    """One computation under way.

    Attributes:
        key: what is computed.
        error: what ended the leader, where it is no matter of those who wait.
        queued: set when ``job`` is there to be done; None where the leader computes by itself.
        job: the computation, where it may be waiting in a queue.
        task: the asyncio task of the computation, where it is one, until that has ended.
        superseded: whether the key was written or invalidated meanwhile, so that the result,
            which may rest on older facts, must not be kept.
        newest: what the key is to hold in the end, once the result is being written; None: nothing.
        needs: the flights that the computation waits for now, and how many of its tasks wait for each.
        own: what the leader made, where it cannot be shared with those who wait.
        watched: whether anybody but a leading thread waits for the result.
        waiters: how many wait at the moment.
        hurry: called by whoever begins to wait, where he does; it must not block.
        hasten: called by a batch that needs the result, where the leader waits for others; it must not block.
        carried: the flights that land by what this one does, where it is a convoy.
        suspects: the keys that what ended it may be about, where these are more than its own.
    """

    __slots__ = (
        "_arrivals",
        "_end",
        "_future",
        "_lock",
        "carried",
        "error",
        "hasten",
        "hurry",
        "job",
        "key",
        "needs",
        "newest",
        "own",
        "queued",
        "superseded",
        "suspects",
        "task",
        "waiters",
        "watched",
    )

    def __init__(self, key: Key, *, queued: bool = False) -> None:
        self.key = key
        self.error: BaseException | None = None
        self.queued = threading.Event() if queued else None
        self.job: Job | None = None
        self.task: asyncio.Task[Any] | None = None
        self.superseded = False
        self.newest: Entry | None = None
        self.needs: dict[Flight, int] = {}
        self.own: Any = None
        self.watched = False
        self.waiters = 0
        self.hurry: Callable[[], object] | None = None
        self.hasten: Callable[[], object] | None = None
        self.carried: tuple[Flight, ...] = ()
        self.suspects: frozenset[Key] = frozenset()
        # Nothing is called or made while it is held: a finalizer that came then might wait for this flight.
        self._lock = threading.Lock()
        self._future: Future[Any] | None = None
        self._arrivals: dict[Any, Arrival] = {}
        self._end: tuple[Any, BaseException | None] | None = None

    @property
    def future(self) -> Future[Any]:
        """The result, once landed: None if the leader gave up, so that somebody else must lead.

        It is made when it is first asked for: most flights land with nobody waiting.
        """
        if self._future is None:
            made, end = _running(), None
            with self._lock:
                if self._future is None:
                    self._future, end = made, self._end
            if end is not None:
                _set(made, *end)
        return self._future

    def arrival(self) -> Arrival:
        """What is set once it has landed: one for all tasks of the running event loop."""
        import asyncio

        loop = asyncio.get_running_loop()
        event = self._arrivals.get(loop)
        if event is None:
            event = Arrival()
            with self._lock:
                flies = self._end is None
                if flies:
                    self._arrivals[loop] = event
            if not flies:
                event.set()
        return event

    def outcome(self) -> Any:
        """What it has landed with; raises what the computation raised."""
        result, error = self._end or (None, None)
        if error is not None:
            raise error
        return result

    @property
    def landed(self) -> bool:
        """Whether it has ended."""
        return self._end is not None

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """Give all who wait the result or the error, unless it was ended before."""
        end = result, error
        with self._lock:
            if self._end is not None:
                return
            self._end, future = end, self._future
            self.waiters = 0
        self.hurry = self.hasten = None  # which hold what holds this flight
        if future is not None:
            _set(future, *end)
        for loop, event in self._arrivals.items():  # to which nothing is added any more
            wake(loop, event)

    def supersede(self, newest: Entry | None = None) -> None:
        """Keep no result; if one is being written, leave ``newest`` in its place, or nothing."""
        self.superseded = True
        self.newest = newest

    def after_fork(self) -> None:
        """Be of use in a child that was forked while another thread held the lock."""
        self._lock = threading.Lock()

    def offer(self, job: Job) -> None:
        """Let whoever waits do the job, if nobody has begun it."""
        self.job = job
        if self.queued is not None:
            self.queued.set()
        for flight in self.carried:
            flight.offer(job)

    def belong_to(self, task: asyncio.Task[Any]) -> None:
        """Note the task of the computation."""
        self.task = task
        for flight in self.carried:
            flight.task = task

    def carry(self, flights: Sequence[Flight]) -> None:
        """Be the convoy of these: what computes them runs for this one, and they need it."""
        self.carried = tuple(flights)
        for flight in flights:
            flight.needs[self] = 1

    def disband(self) -> None:
        """Be the convoy of none any more."""
        for flight in self.carried:
            flight.needs.pop(self, None)
        self.carried = ()

    def count_waiter(self, number: int) -> None:
        """Note that somebody begins to wait, or with -1 that somebody gave up; nobody does once it landed."""
        if self._end is not None:  # many go on then, and should have as little to do as may be
            return
        with self._lock:
            self.waiters += number
        hurry = self.hurry
        if number > 0 and hurry is not None:
            hurry()

    @property
    def is_stranded(self) -> bool:
        """Whether nobody works on it, because its task belongs to an event loop that does not run."""
        task = self.task
        return task is not None and not task.get_loop().is_running()

    @property
    def is_queued(self) -> bool:
        """Whether it may be in a queue: its job is yet to be offered, or nobody has begun that."""
        return self.queued is not None and not self.landed and (self.job is None or not self.job.begun)

    def take_off(self) -> None:
        """Do the job here, for those who wait elsewhere, once it is offered, if nobody has begun it."""
        job = self._offered()
        if job is not None:
            job.run_aside()

    def wait(self) -> Any:
        """Block until it has landed, lending a hand if it has not taken off.

        Raises:
            BaseException: what the computation raised; if it was done here, an interrupt, too.
        """
        with waiting_for(self):
            job = self._offered()
            if job is not None:
                job.run()
            return self.future.result()

    def _offered(self) -> Job | None:
        if self.queued is not None:
            self.queued.wait()
        return self.job


def _running() -> Future[Any]:
    from concurrent.futures import (
        Future,  # with all its logging, which a program without misses can do without
    )

    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()  # else a task that gives up waiting would cancel it for all
    return future


def _set(future: Future[Any], result: Any, error: BaseException | None) -> None:
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
