"""The parent's side of one worker."""

from __future__ import annotations

import contextlib
import math
import signal
import socket
from collections.abc import Sequence

import numpy as np

from mlcache.offload.arena import LARGEST, Segment, Slot
from mlcache.offload.item import Item
from mlcache.offload.reuse import Reuse
from mlcache.offload.transport import Array, Buffer
from mlcache.offload.wire import Call, Line, Payload, Room, WireError

SMALLEST_ROOM = 1 << 20

_WRITING = (
    ". Did it write to an array among its arguments, as torch does in place and SciPy with overwrite_a=True? "
    "A worker may only read them: let it work on a copy"
)


class Member:
    """A worker, from the order for it until its death is known.

    Args:
        number: its own.
        slot: its place in the pool.
        share: of the calls and the time that one may have before it is replaced, which it may have.
        edition: of the code that it imports, or a later one.
        end: the parent's end of its socket.

    Attributes:
        state: ``"starting"``, ``"idle"``, ``"busy"`` or ``"ending"``.
        item: what it computes.
        due: when something must have happened; infinity for nothing.
        reason: why it is being ended; None if it ends of itself.
        expected: whether its end is as it should be, and says nothing about the next worker.
    """

    def __init__(self, number: int, slot: int, share: float, edition: int, end: socket.socket) -> None:
        self.number = number
        self.slot = slot
        self.share = share
        self.edition = edition
        self.line = Line(end)
        self.state = "starting"
        self.item: Item | None = None
        self.due = math.inf
        self.reason: BaseException | None = None
        self.expected = False
        self.pid: int | None = None
        self.born = 0.0
        self.calls = 0
        self.memory = 0
        self.pinned: dict[int, Slot] = {}
        self._known: set[int] = set()
        self._room: Segment | None = None

    @property
    def has_place(self) -> bool:
        """Whether its place is not to be given to another: not before it is known what it died of."""
        return self.state != "ending" or not self.expected

    @property
    def held(self) -> int:
        """Bytes of its own, and of arguments that something in it still refers to."""
        return self.memory + sum(slot.length for slot in self.pinned.values())

    @property
    def room_size(self) -> int:
        """Bytes of the memory that it has for results."""
        return 0 if self._room is None else self._room.size

    def send(self, item: Item) -> None:
        """Give it a call.

        Raises:
            OSError: it is gone.
        """
        opens, files = None, list[int]()
        if item.slot is not None and item.slot.segment.number not in self._known:
            segment = item.slot.segment
            opens, files = segment.described, [segment.file]
            if not segment.once:
                self._known.add(segment.number)
        self.line.send(Call(item.number, item.names, item.payload, opens), files)

    def forget_segments(self) -> None:
        """Send the descriptors of segments again: it may have had none left for them."""
        self._known.clear()

    def make_room(self, size: int) -> None:
        """Give it memory for a result of ``size`` bytes, or the news that there is none.

        Raises:
            OSError: it is gone.
        """
        once = size > LARGEST
        try:
            length = size if once else max(SMALLEST_ROOM, 1 << (size - 1).bit_length())
            room = Segment(length, once=once, writable=True)
        except (OSError, ValueError, OverflowError):
            self.line.send(Room(None))  # both sides keep what they have
            return
        self._close_room()
        self._room = room
        self.line.send(Room(room.described), (room.file,))
        room.close_file()

    def take(self, payload: Payload, reuse: Reuse) -> list[Buffer]:
        """The buffers of a result, which are this process's own from now on.

        Raises:
            WireError: they are not where it says.
        """
        if not payload.segment:
            return [part if index == 0 else bytearray(part) for index, part in enumerate(payload.parts)]
        room = self._room
        if room is None or room.number != payload.segment or not _lie_within(payload.places, room.size):
            raise WireError("a result was said to lie where there is no memory")
        if room.once:
            memory = room.memory
            self._room = None  # which the worker has let go of: it is handed over as it is
            return [memory[offset : offset + length].data for offset, length in payload.places]
        return [_copy(room.memory[offset : offset + length], reuse) for offset, length in payload.places]

    def end_in_words(self, status: int | None) -> str:
        """How its process ended."""
        name = f"worker process {self.pid}" if self.pid else "a worker process"
        if status is None:
            return f"{name} ended"
        if status < 0:
            with contextlib.suppress(ValueError):
                return f"{name} was killed by {signal.Signals(-status).name}"
            return f"{name} was killed by signal {-status}"
        return f"{name} ended with status {status}"

    @staticmethod
    def advice_on_end(status: int | None) -> str:
        """What to look at where its process ended so; nothing where that says nothing."""
        return _WRITING if status in {-signal.SIGSEGV, -signal.SIGBUS} else ""

    def close(self) -> None:
        """Give back what it had."""
        self.line.close()
        self._close_room()

    def _close_room(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.close()


def _lie_within(places: Sequence[tuple[int, int]], size: int) -> bool:
    return all(offset >= 0 and length >= 0 and offset + length <= size for offset, length in places)


def _copy(memory: Array, reuse: Reuse) -> memoryview:
    copy = reuse.take(len(memory))
    np.copyto(copy, memory)
    return copy.data
