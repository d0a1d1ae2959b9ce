"""Flights of one process, shared by its threads and its asyncio tasks.

The idea is Go's ``singleflight``: whoever comes first for a key leads, the others wait
for the leader. What they wait for is a ``concurrent.futures.Future``, which a thread can
block on and a task can await, so both wait in one table.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

from mlcache.entry import Entry, Key
from mlcache.flight.aboard import is_led_here, recursion
from mlcache.flight.carried import carried, is_cancellation
from mlcache.flight.flight import Flight


class Flights:
    """The flights of one cached function, by digest."""

    def __init__(self) -> None:
        self._flights: dict[bytes, Flight] = {}
        self._written: dict[bytes, tuple[Flight, ...]] = {}
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
        return _joined(flight), False

    def begin(self, key: Key) -> Flight | None:
        """A flight for ``key``, which the caller leads, unless there is one already."""
        with self._lock:
            if key.digest in self._flights:
                return None
            flight = self._flights[key.digest] = Flight(key)
        return flight

    def under_way(self, key: Key) -> Flight | None:
        """The flight for ``key``, which the caller joins, if there is one.

        Raises:
            RecursiveCallError: as ``join``.
        """
        with self._lock:
            flight = self._flights.get(key.digest)
            if flight is None:
                return None
            flight.watched = True
        return _joined(flight)

    def lead_anew(self, key: Key, *, queued: bool = False) -> Flight:
        """A new flight for ``key``, which the caller leads, in place of any that is under way."""
        self.supersede(key)
        with self._lock:
            flight = self._flights[key.digest] = Flight(key, queued=queued)
        return flight

    def supersede(self, key: Key | None = None, newest: Entry | None = None) -> None:
        """Let nobody else join the flight for ``key``, or any flight, and keep no result of it.

        Where one is being written, ``newest`` is written after it, or it is deleted.
        """
        with self._lock:
            if key is None:
                gone = list(self._flights.values())
                self._flights.clear()
            else:
                flight = self._flights.pop(key.digest, None)
                gone = [] if flight is None else [flight]
        for flight in gone:
            flight.supersede()
        for flight in self._being_written(key):
            flight.supersede(newest)

    def writing(self, flight: Flight | None, entry: Entry) -> Iterator[Entry | None]:
        """What to write for ``flight``: ``entry``, and then what its key was given meanwhile, if anything.

        None is for what was forgotten meanwhile. A write may take its time, and must not undo what is put or
        invalidated while it does. Without a flight ``entry`` is all.
        """
        if flight is None:
            yield entry
            return
        written: Any = flight
        flight.newest = entry
        self._note_writing(flight)
        try:
            while not (flight.superseded and written is flight) and written is not flight.newest:
                written = flight.newest
                yield written
        finally:
            self._forget_writing(flight)

    @contextmanager
    def being_written(self, flights: Sequence[Flight], entries: Sequence[Entry]) -> Iterator[None]:
        """The time in which results of flights are written: whoever supersedes one says what is newest."""
        for flight, entry in zip(flights, entries, strict=True):
            flight.newest = entry
            self._note_writing(flight)
        try:
            yield
        finally:
            for flight in flights:
                self._forget_writing(flight)

    def _note_writing(self, flight: Flight) -> None:
        with self._lock:
            self._written[flight.key.digest] = (*self._written.get(flight.key.digest, ()), flight)

    def _forget_writing(self, flight: Flight) -> None:
        with self._lock:
            others = self._written.pop(flight.key.digest, ())
            if others not in ((), (flight,)):
                self._written[flight.key.digest] = tuple(each for each in others if each is not flight)

    def _being_written(self, key: Key | None) -> Iterable[Flight]:
        with self._lock:
            if key is None:
                return tuple(chain.from_iterable(self._written.values()))
            return self._written.get(key.digest, ())

    def land(self, flight: Flight, result: Any) -> None:
        """Give ``result`` to all who wait; None sends them back to find another leader.

        Those that it carries, and that have not landed, have no result.
        """
        if flight.carried:
            for each in flight.carried:
                self.land(each, None)
            flight.disband()
        self._remove(flight)
        flight.end(result)

    def crash(self, flight: Flight, error: BaseException) -> None:
        """Raise ``error`` in all who wait. What only ends the leader sends them to find another one.

        A flight that has landed already stays as it is.
        """
        for each in flight.carried:
            self.crash(each, error)
        flight.disband()
        self._remove(flight)
        if not flight.watched:
            # The error holds the frames, and the frames the flight: what nobody reads would be a circle.
            flight.end()
        elif isinstance(error, Exception) and not is_cancellation(error):
            flight.end(error=carried(error))
        else:
            flight.error = error
            flight.end()

    def after_fork(self) -> None:
        """Forget the flights of threads that a forked child does not have, and would wait for in vain."""
        self._lock = threading.RLock()
        self._flights = {digest: flight for digest, flight in self._flights.items() if is_led_here(flight)}
        self._written = {}
        for flight in self._flights.values():
            flight.after_fork()

    def _remove(self, flight: Flight) -> None:
        with self._lock:
            if self._flights.get(flight.key.digest) is flight:
                del self._flights[flight.key.digest]
        if flight.queued is not None:
            flight.queued.set()


def _joined(flight: Flight) -> Flight:
    if is_led_here(flight):
        raise recursion(flight.key)
    return flight


_alive: weakref.WeakSet[Flights] = weakref.WeakSet()


def _after_fork() -> None:
    for flights in _alive:
        flights.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
