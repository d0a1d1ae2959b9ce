"""The worker's side of shared memory: arguments as views that cannot be written to, and room for results."""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Sequence

import numpy as np

from mlcache.offload.arena import copy_into, lay_out
from mlcache.offload.transport import Array, Buffer, part_of
from mlcache.offload.wire import INLINE, Call, Line, Need, Payload, Room, Segment


class Inbox:
    """The segments of the parent that this worker has mapped, and who still refers to what in them."""

    def __init__(self) -> None:
        self._memory: dict[int, Array] = {}
        self._views: list[weakref.ref[Array]] = []
        self._kept: dict[int, list[weakref.ref[Array]]] = {}

    def parts(self, payload: Payload, opens: Segment | None, files: list[int]) -> Sequence[Buffer]:
        """The buffers of a payload.

        Raises:
            OSError: the segment cannot be mapped, or this process has no descriptor left for it.
        """
        if opens is not None:
            self._map(opens, files)
        if not payload.segment:
            return payload.parts
        memory = self._memory[payload.segment]
        views = [part_of(memory, offset, offset + length) for offset, length in payload.places]
        self._views = [weakref.ref(view) for view in views]
        return [view.data for view in views]

    def done(self, call: Call) -> bool:
        """Forget about the call's arguments; True if something still refers to them."""
        if call.opens is not None and call.opens.once:
            self._memory.pop(call.opens.number, None)
        views, self._views = self._views, []
        kept = [view for view in views if view() is not None]
        if kept:
            self._kept[call.number] = kept
        return bool(kept)

    def freed(self) -> list[int]:
        """The calls whose arguments were kept and are not any more."""
        freed = [number for number, views in self._kept.items() if all(view() is None for view in views)]
        for number in freed:
            del self._kept[number]
        return freed

    def forget(self, segment: Segment | None) -> None:
        """Let go of a segment."""
        self._views = []
        if segment is not None:
            self._memory.pop(segment.number, None)

    def _map(self, segment: Segment, files: list[int]) -> None:
        if not files:
            raise OSError("the memory of the call did not arrive: has this process no descriptor left?")
        self._memory[segment.number] = _mapped(files[0], segment.size, mmap.PROT_READ)


class Outbox:
    """The segment that this worker writes its results to; it asks the parent for a larger one."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._number = 0
        self._memory: Array = np.empty(0, np.uint8)
        self._once = False

    def put(self, parts: Sequence[Buffer]) -> Payload:
        """A copy of the parts, where the parent can read it.

        Raises:
            ConnectionError: the parent has ended.
            OSError: there is no memory for it.
        """
        places, total = lay_out(parts)
        if total <= INLINE:
            return Payload([bytes(part) for part in parts])
        if total > len(self._memory):
            self._ask_for(total)
        copy_into(self._memory, parts, places)
        payload = Payload([], self._number, places)
        if self._once:
            self._memory = np.empty(0, np.uint8)
        return payload

    def _ask_for(self, size: int) -> None:
        self._line.send(Need(size))
        arrived = self._line.receive()
        if arrived is None or not isinstance(arrived[0], Room):
            raise ConnectionResetError("the parent has ended")
        segment, files = arrived[0].segment, arrived[1]
        if segment is not None:
            self._memory = np.empty(0, np.uint8)  # the parent has another now, whether we have it or not
        if segment is None or not files:
            raise OSError(f"there is no shared memory or no descriptor left for a result of {size} bytes")
        self._memory = _mapped(files[0], segment.size, mmap.PROT_READ | mmap.PROT_WRITE)
        self._number, self._once = segment.number, segment.once


def _mapped(file: int, size: int, protection: int) -> Array:
    try:
        return np.frombuffer(mmap.mmap(file, size, prot=protection), np.uint8)
    finally:
        os.close(file)
