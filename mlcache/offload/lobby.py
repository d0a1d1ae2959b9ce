"""Who may come into the queue, and the calls for which there is no room in it yet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sized

from mlcache.offload.item import Item
from mlcache.offload.queue import Queue


class Lobby:
    """The way into the queue: calls that have a place but are still being copied, and calls that have none.

    The latter wait in the order in which they are to be computed; their arguments are still where the
    caller has them. Whoever uses it holds the pool's lock.

    Args:
        queue: that they want to come into.
        idle: the workers without a call, of which each makes room for one.
    """

    def __init__(self, queue: Queue, idle: Sized) -> None:
        self._queue = queue
        self._idle = idle
        self._reserved = 0
        self._reserved_bytes = 0
        self._outside = Queue(math.inf, math.inf)
        self._come_in: dict[int, Callable[[], None]] = {}

    def __len__(self) -> int:
        """How many have no place."""
        return len(self._outside)

    def enter(self, size: int) -> bool:
        """Reserve a place for a call of so many bytes, if there is one and nobody waits for it."""
        if not self.is_open(size):
            return False
        self._reserve(size)
        return True

    def is_open(self, size: int) -> bool:
        """Whether there is a place for a call of so many bytes, and nobody waits for it."""
        return not self._come_in and self._has_room(size)

    def leave(self, size: int) -> None:
        """Return what was reserved, as it is used now or will not be."""
        self._reserved -= 1
        self._reserved_bytes -= size

    def wait(self, item: Item, come_in: Callable[[], None]) -> None:
        """Have ``item`` wait for a place; ``come_in`` is called once it is reserved."""
        self._outside.push(item)
        self._come_in[item.number] = come_in

    def let_in(self) -> None:
        """Give those who wait the places that there are."""
        while self._come_in and (item := self._outside.first()) and self._has_room(item.size):
            self._outside.discard(item)
            self._reserve(item.size)
            self._come_in.pop(item.number)()

    def discard(self, item: Item) -> bool:
        """Have a call wait for a place no more; False if it does not."""
        self._come_in.pop(item.number, None)
        return self._outside.discard(item)

    def next_deadline(self) -> float:
        """When the first of those who wait comes too late; infinity if none does."""
        return self._outside.next_deadline()

    def expired(self, now: float) -> list[Item]:
        """Those that come too late, which wait no more."""
        late = self._outside.expired(now)
        for item in late:
            del self._come_in[item.number]
        return late

    def clear(self) -> list[Item]:
        """All who wait, who wait no more."""
        self._come_in.clear()
        return self._outside.clear()

    def _has_room(self, size: int) -> bool:
        return len(self._idle) > self._reserved or self._queue.has_room(
            size, self._reserved, self._reserved_bytes
        )

    def _reserve(self, size: int) -> None:
        self._reserved += 1
        self._reserved_bytes += size
