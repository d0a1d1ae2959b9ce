"""Waiting for the answers that other processes compute."""

from __future__ import annotations

from mlcache.entry import Key
from mlcache.flight.shared import Lock
from mlcache.steps import GetLock, Pause, TryLock, Unlock


class Watch:
    """The lock of one item that another process computes, of which some tell when they are free.

    One is enough: whoever waits needs the answers to all items, and looks for all of them then.
    """

    def __init__(self) -> None:
        self._key: Key | None = None
        self._lock: Lock | None = None

    async def wait(self, key: Key, pause: float) -> None:
        """Pause, and then until the lock of ``key`` is free, if it tells; else until it has been tried once.

        Args:
            key: of an item that is missing; better the same as the last time.
            pause: in seconds.
        """
        await Pause(pause)
        if key != self._key:
            self._key, self._lock = key, await GetLock(key)
        if self._lock is not None and await TryLock(self._lock):
            await Unlock(self._lock)  # it is taken with those of the other items, if the answer is not there
            self._key = None
