"""Tells those who wait for a lease that its holder has let go of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

from mlcache import clock
from mlcache.backends.redis.subscription import QUIET, Subscription
from mlcache.backends.redis.target import Target

Ring = Callable[[], object]
"""Wakes somebody who waits; called in the bell's thread, and must not block it."""


class Bell(Subscription):
    """One connection, and a thread that is there while anybody in this process waits for a lease.

    All leases of a database ring on one channel, and only those that somebody waits for, so that no
    waiting begins with a round trip to subscribe. Where the connection is lost, all are woken.

    Args:
        target: of the server.
        clients: the module that makes its clients.
    """

    def __init__(self, target: Target, clients: ModuleType) -> None:
        self._wanted_until = 0.0
        super().__init__("mlcache-bell", channel_of(target), target, clients)

    def _begin(self) -> None:
        super()._begin()
        self._waiting: dict[bytes, list[Ring]] = {}

    @contextmanager
    def waiting(self, name: str, ring: Ring) -> Iterator[bool]:
        """Have ``ring`` called when the lease ``name`` is let go of; whether that can be heard by now."""
        key = name.encode()
        with self._lock:
            self._start()
            self._waiting.setdefault(key, []).append(ring)
        try:
            yield self.is_listening
        finally:
            with self._lock:
                self._wanted_until = clock.ticks() + QUIET  # who polls comes again and again
                self._leave(key, ring)

    def _leave(self, key: bytes, ring: Ring) -> None:
        rings = self._waiting.get(key, [])  # none where we have been forked meanwhile
        if ring in rings:
            rings.remove(ring)
        if not rings:
            self._waiting.pop(key, None)

    def _is_wanted(self) -> bool:
        return bool(self._waiting) or clock.ticks() < self._wanted_until

    def _take(self, data: bytes) -> None:
        with self._lock:
            rings = tuple(self._waiting.get(data, ()))
        for ring in rings:
            ring()

    def _lose(self) -> None:
        with self._lock:
            rings = [ring for each in list(self._waiting.values()) for ring in each]
        for ring in rings:
            ring()


def channel_of(target: Target) -> str:
    """Where the names of leases are published that have ended."""
    return f"{target.prefix}:free:{target.db}"
