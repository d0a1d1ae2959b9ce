"""Flights of one process, shared by its threads and its asyncio tasks.

The idea is Go's ``singleflight``: whoever comes first for a key leads, the others wait
for the leader. A flight is a ``concurrent.futures.Future``, which a thread can block on
and a task can await, so both wait in one table.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any

from mlcache.entry import Key
from mlcache.errors import RecursiveCallError

if TYPE_CHECKING:
    from concurrent.futures import Future

if TYPE_CHECKING:
    import asyncio


class Job:
    """Work that is to be done once, by whoever comes to it first.

    A thread that is about to wait for work still in a queue does it itself instead: so a
    bounded pool whose threads all wait for queued work cannot lock up.
    """

    __slots__ = ("_context", "_lock", "_work")

    def __init__(self, work: Callable[[], object]) -> None:
        self._work: Callable[[], object] | None = work
        self._context = copy_context()
        self._lock = threading.Lock()

    def run(self) -> None:
        """Do the work, unless somebody has begun it already."""
        with self._lock:
            work, self._work = self._work, None
        if work is not None:
            self._context.run(work)


def _future() -> Future[Any]:
    from concurrent.futures import (
        Future,  # with all its logging, which a program without misses can do without
    )

    return Future()


class Flight:
    """One computation under way.

    Attributes:
        key: what is computed.
        future: the result, once landed: None if the leader gave up, so that somebody else must lead.
        error: what ended the leader, where it is no matter of those who wait.
        queued: set when ``job`` is there to be done; None where the leader computes by itself.
        job: the computation, where it may be waiting in a queue.
        task: the asyncio task of the computation, where it is one.
        superseded: whether the key was written or invalidated meanwhile, so that the result,
            which may rest on older facts, must not be kept.
        needs: the flights that the computation waits for now.
        own: what the leader made, where it cannot be shared with those who wait.
        watched: whether anybody but a leading thread waits for the result.
    """

    __slots__ = ("error", "future", "job", "key", "needs", "own", "queued", "superseded", "task", "watched")

    def __init__(self, key: Key, *, queued: bool = False) -> None:
        self.key = key
        self.future = _future()
        # Else a task that gives up waiting would cancel it for all.
        self.future.set_running_or_notify_cancel()
        self.error: BaseException | None = None
        self.queued = threading.Event() if queued else None
        self.job: Job | None = None
        self.task: asyncio.Task[Any] | None = None
        self.superseded = False
        self.needs: set[Flight] = set()
        self.own: Any = None
        self.watched = False

    def offer(self, job: Job) -> None:
        """Let whoever waits do the job, if nobody has begun it."""
        self.job = job
        if self.queued is not None:
            self.queued.set()

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


_leading: ContextVar[tuple[Flight, ...]] = ContextVar("mlcache_leading", default=())


@contextmanager
def aboard(flight: Flight) -> Iterator[None]:
    """Note that what runs in this block runs for ``flight``."""
    with waiting_for(flight):
        token = _leading.set((*_leading.get(), flight))
        try:
            yield
        finally:
            with suppress(ValueError):  # a coroutine that is thrown away ends in a context not its own
                _leading.reset(token)


@contextmanager
def on_its_own() -> Iterator[None]:
    """Note that nobody waits for what runs in this block, wherever it was started."""
    token = _leading.set(())
    try:
        yield
    finally:
        _leading.reset(token)


_needs_lock = threading.RLock()


@contextmanager
def waiting_for(flight: Flight) -> Iterator[None]:
    """Note that the flight we run for, if there is one, needs another one.

    Raises:
        RecursiveCallError: that one waits for ours, by way of other threads or tasks maybe.
    """
    ours = _leading.get()
    if not ours:
        yield
        return
    with _needs_lock:
        if _needs_any(flight, set(ours)):
            raise _recursion(flight.key)
        ours[-1].needs.add(flight)
    try:
        yield
    finally:
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


def _recursion(key: Key) -> RecursiveCallError:
    return RecursiveCallError(
        f"{key.namespace} calls itself with the same arguments, directly or through others: "
        "it would wait for its own result"
    )


class Flights:
    """The flights of one cached function, by digest."""

    def __init__(self) -> None:
        self._flights: dict[bytes, Flight] = {}
        self._lock = threading.RLock()  # a finalizer may come at any time, and call a cached function
        _alive.add(self)

    def __len__(self) -> int:
        return len(self._flights)

    def join(self, key: Key, *, queued: bool = False) -> tuple[Flight, bool]:
        """The flight for ``key``, and whether the caller leads it.

        Args:
            key: what is to be computed.
            queued: whether the caller, if it leads, will offer the computation as a job.

        Raises:
            RecursiveCallError: the caller itself runs for that flight, and would wait for ever.
        """
        with self._lock:
            flight = self._flights.get(key.digest)
            if flight is None:
                flight = self._flights[key.digest] = Flight(key, queued=queued)
                return flight, True
            flight.watched = True
        if flight in _leading.get():
            raise _recursion(key)
        return flight, False

    def lead_anew(self, key: Key, *, queued: bool = False) -> Flight:
        """A new flight for ``key``, which the caller leads, in place of any that is under way."""
        self.supersede(key)
        with self._lock:
            flight = self._flights[key.digest] = Flight(key, queued=queued)
        return flight

    def supersede(self, key: Key | None = None) -> None:
        """Let nobody else join the flight for ``key``, or any flight, and keep no result of it."""
        with self._lock:
            if key is None:
                gone = list(self._flights.values())
                self._flights.clear()
            else:
                flight = self._flights.pop(key.digest, None)
                gone = [] if flight is None else [flight]
        for flight in gone:
            flight.superseded = True

    def land(self, flight: Flight, result: Any) -> None:
        """Give ``result`` to all who wait; None sends them back to find another leader."""
        self._remove(flight)
        _settle(flight, result)

    def crash(self, flight: Flight, error: BaseException) -> None:
        """Raise ``error`` in all who wait. What only ends the leader sends them to find another one.

        A flight that has landed already stays as it is.
        """
        self._remove(flight)
        if not flight.watched:
            # The error holds the frames, and the frames the flight: what nobody reads would be a circle.
            _settle(flight, None)
        elif isinstance(error, StopIteration):
            _settle(flight, error=_in_place_of(error))
        elif isinstance(error, Exception) and not _is_cancellation(error):
            _settle(flight, error=error)
        else:
            flight.error = error
            _settle(flight, None)

    def after_fork(self) -> None:
        """Forget the flights of threads that a forked child does not have, and would wait for in vain."""
        self._lock = threading.RLock()
        mine = _leading.get()
        self._flights = {digest: flight for digest, flight in self._flights.items() if flight in mine}

    def _remove(self, flight: Flight) -> None:
        with self._lock:
            if self._flights.get(flight.key.digest) is flight:
                del self._flights[flight.key.digest]
        if flight.queued is not None:
            flight.queued.set()


_alive: weakref.WeakSet[Flights] = weakref.WeakSet()


def _after_fork() -> None:
    for flights in _alive:
        flights.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _settle(flight: Flight, result: Any = None, error: BaseException | None = None) -> None:
    """End the waiting, unless it was ended before, as where the leader's event loop had stopped."""
    from concurrent.futures import InvalidStateError

    with suppress(InvalidStateError):
        if error is None:
            flight.future.set_result(result)
        else:
            flight.future.set_exception(error)


def _in_place_of(error: StopIteration) -> RuntimeError:
    """No coroutine may raise a StopIteration; Python itself puts such a RuntimeError in its place."""
    stand_in = RuntimeError("the cached function raised StopIteration")
    stand_in.__cause__ = error
    return stand_in


def _is_cancellation(error: Exception) -> bool:
    """``concurrent.futures`` cancels with an ``Exception``, unlike asyncio."""
    return type(error).__name__ == "CancelledError"
