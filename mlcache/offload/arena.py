"""Memory that a parent shares with its workers: nameless, in segments, which the parent alone divides.

A segment is a memfd on Linux, elsewhere shared memory whose name is removed at once, so that nothing
stays behind however a process ends. Its pages are used again and again, because the first touch of
a page costs many times what copying into it does. Segments cannot be made smaller by a worker, so
that the parent never reads what is not there.
"""

from __future__ import annotations

import bisect
import itertools
import mmap
import os
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlcache.offload.transport import Array, Buffer
from mlcache.offload.wire import INLINE, Payload
from mlcache.offload.wire import Segment as Described

ALIGNMENT = 64
FIRST = 8 << 20
"""Bytes of the first segment; each further one is twice as large."""
LARGEST = 32 << 20
"""Bytes of a payload up to which it shares a segment with others; a larger one has its own."""
KEPT = 256 << 20
"""Bytes of segments that are kept for use again."""
_PAGE = mmap.PAGESIZE

_numbers = itertools.count(1)


class Segment:
    """Shared memory of this process, which can be sent to others by its descriptor.

    Args:
        length: its bytes.
        once: whether it is for one payload only.
        writable: whether others may write to it.

    Raises:
        OSError: there is not so much memory, or no descriptor left.
    """

    def __init__(self, length: int, *, once: bool = False, writable: bool = False) -> None:
        self.number = next(_numbers)
        self.size = -(-length // _PAGE) * _PAGE
        self.once = once
        file = _make_file(self.size)
        # What one result has alone becomes the caller's own, who may fork.
        flags = mmap.MAP_PRIVATE if once and writable else mmap.MAP_SHARED
        try:
            self.memory: Array = np.frombuffer(mmap.mmap(file, self.size, flags), np.uint8)
            self.file = file if writable else _read_only(file)
        except BaseException:
            os.close(file)
            raise

    @property
    def described(self) -> Described:
        """What a worker has to know of it."""
        return Described(self.number, self.size, self.once)

    def close_file(self) -> None:
        """Close the descriptor, once whoever needs the segment has it."""
        file, self.file = self.file, -1
        if file >= 0:
            os.close(file)

    def close(self) -> None:
        """Give it back; memory that something still refers to stays until then."""
        self.close_file()
        self.memory = np.empty(0, np.uint8)


class Slot:
    """A part of a segment that is in use."""

    __slots__ = ("length", "memory", "offset", "segment")

    def __init__(self, segment: Segment, offset: int, length: int) -> None:
        self.segment = segment
        self.offset = offset
        self.length = length
        self.memory = segment.memory[offset : offset + length]


class Arena:
    """The segments that arguments are copied into. Workers can only read them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: dict[Segment, list[tuple[int, int]]] = {}
        self._alone: set[Segment] = set()
        self._closed = False

    def take(self, length: int) -> Slot:
        """Room for ``length`` bytes.

        Raises:
            OSError: there is none.
        """
        length = -(-length // ALIGNMENT) * ALIGNMENT
        with self._lock:
            for segment, holes in self._free.items():
                for index, (offset, free) in enumerate(holes):
                    if free >= length:
                        holes[index : index + 1] = [(offset + length, free - length)] * (free > length)
                        return Slot(segment, offset, length)
            return self._new(length)

    def give_back(self, slot: Slot) -> None:
        """Make the room of ``slot`` free."""
        with self._lock:
            holes = self._free.get(slot.segment)
            if holes is None:
                self._alone.discard(slot.segment)
                slot.segment.close()
                return
            start, end = slot.offset, slot.offset + slot.length
            at = bisect.bisect(holes, (start, 0))
            if at < len(holes) and holes[at][0] == end:
                end += holes.pop(at)[1]
            if at and sum(holes[at - 1]) == start:
                at -= 1
                start = holes.pop(at)[0]
            holes.insert(at, (start, end - start))

    def close(self) -> None:
        """Give all memory back."""
        with self._lock:
            self._closed = True
            self.forget()

    def forget(self) -> None:
        """In a fork of the process, where another thread may have held the lock: give all memory back."""
        for segment in (*self._free, *self._alone):
            segment.close()
        self._free.clear()
        self._alone.clear()

    @property
    def held(self) -> int:
        """Bytes of all segments."""
        return sum(segment.size for segment in (*self._free, *self._alone))

    def _new(self, length: int) -> Slot:
        kept = sum(segment.size for segment in self._free)
        shared = max(FIRST, kept)
        if self._closed or length > LARGEST or kept + max(shared, length) > KEPT:
            segment = Segment(length, once=True)
            self._alone.add(segment)
        else:
            segment = Segment(max(shared, length))
            self._free[segment] = [(length, segment.size - length)] * (segment.size > length)
        return Slot(segment, 0, length)


def lay_out(parts: Sequence[Buffer]) -> tuple[list[tuple[int, int]], int]:
    """The offset and length of each part, aligned, and what they take together."""
    places, offset = [], 0
    for part in parts:
        places.append((offset, len(part)))
        offset += -(-len(part) // ALIGNMENT) * ALIGNMENT
    return places, offset


def copy_into(memory: Array, parts: Sequence[Buffer], places: Sequence[tuple[int, int]]) -> None:
    """Copy each part to its place."""
    for part, (offset, length) in zip(parts, places, strict=True):
        if length:
            memory[offset : offset + length] = np.frombuffer(part, np.uint8)


def as_message(parts: Sequence[Buffer], size: int) -> Payload | None:
    """The parts, of so many bytes together, in the payload itself; None if they are too large for that."""
    return Payload([bytes(part) for part in parts]) if size <= INLINE else None


def store(parts: Sequence[Buffer], arena: Arena) -> tuple[Payload, Slot | None]:
    """A copy of the parts: in the payload itself if they are small, else in the arena.

    Raises:
        OSError: there is no memory for it.
    """
    places, total = lay_out(parts)
    if (payload := as_message(parts, total)) is not None:
        return payload, None
    slot = arena.take(total)
    copy_into(slot.memory, parts, places)
    placed = [(slot.offset + offset, length) for offset, length in places]
    return Payload([], slot.segment.number, placed), slot


def _make_file(length: int) -> int:
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("mlcache", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        _prepare(file, length)
        _seal(file)
        return file
    try:
        return _shared_memory(length)
    except OSError:  # where that is smaller than what is asked for
        return _unlinked_file(length)


def _prepare(file: int, length: int, *, fill: bool = False) -> None:
    try:
        os.truncate(file, length)
        if fill and hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file, 0, length)  # else a full disk ends whoever touches the memory
    except BaseException:
        os.close(file)
        raise


def _seal(file: int) -> None:
    import fcntl

    fixed: Any = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, fixed)


def _shared_memory(length: int) -> int:
    from multiprocessing import resource_tracker, shared_memory

    memory = shared_memory.SharedMemory(create=True, size=length)
    file = os.dup(memory._fd)  # type: ignore[attr-defined]  # noqa: SLF001 - there is no other way to it
    memory.close()
    memory.unlink()
    del resource_tracker
    if sys.platform == "linux":
        _prepare(file, length, fill=True)
    return file


def _unlinked_file(length: int) -> int:
    number, path = tempfile.mkstemp(prefix="mlcache-")
    Path(path).unlink()
    _prepare(number, length, fill=True)
    return number


def _read_only(file: int) -> int:
    """A descriptor through which the same file can only be read, where the system has a way to it."""
    try:
        reader = os.open(f"/proc/self/fd/{file}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return file
    os.close(file)
    return reader
