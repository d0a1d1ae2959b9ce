"""One flight, who runs for it, and what it waits for."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

from mlcache.entry import Key
from mlcache.errors import RecursiveCallError
from mlcache.flight.job import Job

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
        task: the asyncio task of the computation, where it is one.
        superseded: whether the key was written or invalidated meanwhile, so that the result,
            which may rest on older facts, must not be kept.
        needs: the flights that the computation waits for now.
        own: what the leader made, where it cannot be shared with those who wait.
        watched: whether anybody but a leading thread waits for the result.
        waiters: how many wait at the moment.
        carried: the flights that land by what this one does, where it is a convoy.
        alone: whether what ended it was about its key alone.
    """

    __slots__ = (
        "_arrivals",
        "_end",
        "_future",
        "_lock",
        "alone",
        "carried",
        "error",
        "job",
        "key",
        "needs",
        "own",
        "queued",
        "superseded",
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
        self.needs: set[Flight] = set()
        self.own: Any = None
        self.watched = False
        self.waiters = 0
        self.carried: tuple[Flight, ...] = ()
        self.alone = True
        # Nothing is called or made while it is held: a finalizer that came then might wait for this flight.
        self._lock = threading.Lock()
        self._future: Future[Any] | None = None
        self._arrivals: dict[Any, asyncio.Event] = {}
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

    def arrival(self) -> asyncio.Event:
        """What is set once it has landed: one for all tasks of the running event loop."""
        import asyncio

        loop = asyncio.get_running_loop()
        event = self._arrivals.get(loop)
        if event is None:
            event = self._arrivals[loop] = asyncio.Event()
            self.future.add_done_callback(lambda _: _set_on(loop, event))
        return event

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
        if future is not None:
            _set(future, *end)

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
            flight.needs.add(self)

    def disband(self) -> None:
        """Be the convoy of none any more."""
        for flight in self.carried:
            flight.needs.discard(self)
        self.carried = ()

    def count_waiter(self, number: int) -> None:
        """Note that somebody begins to wait, or with -1 that somebody gave up or was answered."""
        with self._lock:
            self.waiters += number

    @property
    def is_stranded(self) -> bool:
        """Whether nobody works on it, because its task belongs to an event loop that does not run."""
        return self.task is not None and not self.task.get_loop().is_running()

    def wait(self) -> Any:
        """Block until it has landed, lending a hand if it has not taken off."""
        if self.queued is not None:
            self.queued.wait()
        with waiting_for(self):
            if self.job is not None:
                self.job.run()
            return self.future.result()


def _running() -> Future[Any]:
    from concurrent.futures import (
        Future,  # with all its logging, which a program without misses can do without
    )

    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()  # else a task that gives up waiting would cancel it for all
    return future


def _set_on(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    with suppress(RuntimeError):  # it is closed, and nobody waits there any more
        loop.call_soon_threadsafe(event.set)


def _set(future: Future[Any], result: Any, error: BaseException | None) -> None:
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


_leading: ContextVar[tuple[Flight, ...]] = ContextVar("mlcache_leading", default=())


def is_led_here(flight: Flight) -> bool:
    """Whether what runs here runs for ``flight``."""
    return flight in _leading.get()


class aboard:  # noqa: N801 - used as a function is; as a generator it would take several times as long
    """Note that what runs in this block runs for ``flight``.

    Raises:
        RecursiveCallError: as ``waiting_for``.
    """

    __slots__ = ("_before", "_flight", "_token")

    def __init__(self, flight: Flight) -> None:
        self._flight = flight
        self._before = _leading.get()
        self._token: Token[tuple[Flight, ...]] | None = None

    def __enter__(self) -> None:
        if self._before:
            _note_need(self._before, self._flight)
        self._token = _leading.set((*self._before, self._flight))

    def __exit__(self, *_: object) -> None:
        if self._before:
            _forget_need(self._before, self._flight)
        try:  # noqa: SIM105 - contextlib.suppress takes several times as long
            _leading.reset(self._token)  # type: ignore[arg-type]
        except ValueError:  # a coroutine that is thrown away ends in a context not its own
            pass


@contextmanager
def on_its_own() -> Iterator[None]:
    """Note that nobody waits for what runs in this block, wherever it was started."""
    token = _leading.set(())
    try:
        yield
    finally:
        _leading.reset(token)


@contextmanager
def waiting_for(flight: Flight) -> Iterator[None]:
    """Note that the flight we run for, if there is one, needs another one.

    Raises:
        RecursiveCallError: that one waits for ours, by way of other threads or tasks maybe.
    """
    ours = _leading.get()
    if ours:
        _note_need(ours, flight)
    flight.count_waiter(1)
    try:
        yield
    finally:
        flight.count_waiter(-1)
        if ours:
            _forget_need(ours, flight)


_needs_lock = threading.RLock()  # a finalizer may come at any time, and call a cached function


def _note_need(ours: tuple[Flight, ...], flight: Flight) -> None:
    with _needs_lock:
        if _needs_any(flight, set(ours)):
            raise recursion(flight.key)
        ours[-1].needs.add(flight)


def _forget_need(ours: tuple[Flight, ...], flight: Flight) -> None:
    with _needs_lock:
        ours[-1].needs.discard(flight)


def _needs_any(flight: Flight, ours: set[Flight]) -> bool:
    seen, left = set[Flight](), [flight]
    while left:
        each = left.pop()
        if each in ours:
            return True
        if each not in seen:
            seen.add(each)
            left.extend(each.needs)
    return False


def recursion(key: Key) -> RecursiveCallError:
    """The error for who would wait for itself."""
    return RecursiveCallError(
        f"{key.namespace} calls itself with the same arguments, directly or through others: "
        "it would wait for its own result"
    )


def _after_fork() -> None:
    global _needs_lock  # noqa: PLW0603 - one for the process; a thread that the child lacks may have held it
    _needs_lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
