"""Memory for results that is used again once nobody refers to the result any more."""

from __future__ import annotations

import threading
import weakref

import numpy as np

from mlcache.offload.transport import Array, part_of

SMALLEST = 128 << 10
"""Bytes from which on it is worth it: smaller pieces the allocator keeps at hand itself."""
LARGEST = 32 << 20
KEPT = 128 << 20
"""Bytes of free memory that are kept."""


class Reuse:
    """Blocks of memory, which come back by themselves.

    The first touch of fresh pages costs many times the copy into them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: dict[int, list[Array]] = {}
        self._kept = 0

    def take(self, length: int) -> Array:
        """Memory of ``length`` bytes, which nobody else has as long as something refers to this array."""
        if not SMALLEST <= length <= LARGEST:
            return np.empty(length, np.uint8)
        capacity = _class_of(length)
        with self._lock:
            blocks = self._free.get(capacity)
            block = blocks.pop() if blocks else None
            if block is not None:
                self._kept -= capacity
        if block is None:
            block = np.empty(capacity, np.uint8)
        lent = part_of(block, 0, length)
        weakref.finalize(lent, self._come_back, block).atexit = False
        return lent

    def _come_back(self, block: Array) -> None:
        """Keep the block, called by the interpreter at any moment: so it must not wait for the lock."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._kept + len(block) <= KEPT:
                self._kept += len(block)
                self._free.setdefault(len(block), []).append(block)
        finally:
            self._lock.release()


def _class_of(length: int) -> int:
    """``length`` rounded up by an eighth at most, so that blocks fit again."""
    step = max(1 << (length.bit_length() - 4), 1)
    return -(-length // step) * step
