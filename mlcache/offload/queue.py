"""The calls that wait for a worker: bounded in number and bytes, by priority, each until its deadline."""

from __future__ import annotations

import heapq
import math

from mlcache.offload.item import Item


class Queue:
    """Calls in the order in which they are to be computed. Whoever uses it holds the pool's lock.

    Args:
        max_items: calls that may wait.
        max_bytes: bytes of arguments that may wait; a single call may be larger.
    """

    def __init__(self, max_items: float, max_bytes: float) -> None:
        self._max_items = max_items
        self._max_bytes = max_bytes
        # Numbers of calls: what was taken out stays in here for a while, and would keep its result.
        self._heap: list[tuple[int, int]] = []
        self._deadlines: list[tuple[float, int]] = []
        self._waiting: dict[int, Item] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def has_room(self, size: int, others: int = 0, others_bytes: int = 0) -> bool:
        """Whether a call of ``size`` bytes may wait here, beside ``others`` that are about to."""
        number = len(self._waiting) + others
        if number >= self._max_items:
            return False
        return not number or self.bytes + others_bytes + size <= self._max_bytes

    def push(self, item: Item) -> None:
        """Have ``item`` wait; one that came earlier goes first."""
        self._waiting[item.number] = item
        self.bytes += item.size
        heapq.heappush(self._heap, (-item.priority, item.number))
        if item.deadline is not None:
            heapq.heappush(self._deadlines, (item.deadline, item.number))

    def first(self) -> Item | None:
        """The one that is next, which goes on to wait; None if there is none."""
        while self._heap and self._heap[0][1] not in self._waiting:
            heapq.heappop(self._heap)
        return self._waiting[self._heap[0][1]] if self._heap else None

    def pop(self) -> Item | None:
        """The next one; None if there is none."""
        while self._heap:
            item = self._waiting.get(heapq.heappop(self._heap)[1])
            if item is not None:
                self.discard(item)
                return item
        return None

    def discard(self, item: Item) -> bool:
        """Have it wait no more; False if it does not."""
        if self._waiting.pop(item.number, None) is None:
            return False
        self.bytes -= item.size
        if len(self._heap) > 64 + 2 * len(self._waiting):  # most of them were taken back
            self._heap = [each for each in self._heap if each[1] in self._waiting]
            heapq.heapify(self._heap)
        if len(self._deadlines) > 64 + 2 * len(self._waiting):
            self._deadlines = [each for each in self._deadlines if each[1] in self._waiting]
            heapq.heapify(self._deadlines)
        return True

    def next_deadline(self) -> float:
        """When the first of them comes too late; infinity if none does."""
        while self._deadlines and self._deadlines[0][1] not in self._waiting:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else math.inf

    def expired(self, now: float) -> list[Item]:
        """Those that come too late, which wait no more."""
        late = []
        while self.next_deadline() <= now:
            item = self._waiting[heapq.heappop(self._deadlines)[1]]
            self.discard(item)
            late.append(item)
        return late

    def clear(self) -> list[Item]:
        """All of them, which wait no more."""
        items = sorted(self._waiting.values(), key=lambda item: item.number)
        self._waiting.clear()
        self._heap.clear()
        self._deadlines.clear()
        self.bytes = 0
        return items
