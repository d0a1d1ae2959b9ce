"""What a parent and a worker say to each other, one message at a time over a socket of their own.

A message is a small frame that always parses: eight bytes of a header, then MessagePack of types
that are checked. What users send, their values and exceptions, is opaque bytes in it, so that what
cannot be read fails one call, and never the conversation.
"""

from __future__ import annotations

import array
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import msgspec

from mlcache.errors import MlcacheError

_HEADER = struct.Struct("<4sI")
_MAGIC = b"MLO1"
_LONGEST = 64 << 20
_CHUNK = 1 << 16
_FILES = 4
"""Descriptors that may come with one message."""
_ANCILLARY = socket.CMSG_SPACE(_FILES * array.array("i").itemsize) if hasattr(socket, "CMSG_SPACE") else 0

INLINE = 16 << 10
"""Bytes of a payload up to which it travels in the message itself."""


class WireError(MlcacheError):
    """Bytes that are no message: whoever sent them has gone wrong."""


class Payload(msgspec.Struct, array_like=True, frozen=True):
    """Buffers: in the message itself, or where they lie in a segment of shared memory.

    Args:
        parts: the buffers, if they are here.
        segment: the number of the segment they lie in; 0 for none.
        places: the offset and the length of each in the segment.
    """

    parts: list[bytes] = []
    segment: int = 0
    places: list[tuple[int, int]] = []


class Segment(msgspec.Struct, array_like=True, frozen=True):
    """Shared memory whose descriptor comes with the message.

    Args:
        number: by which payloads refer to it.
        size: its bytes.
        once: whether only this call uses it.
    """

    number: int
    size: int
    once: bool


class Setup(msgspec.Struct, array_like=True, frozen=True, tag=True):
    """To a new worker: what to load and how to behave. The payload holds a packed factory for each name."""

    names: list[str]
    payload: Payload
    threads: int
    journal: bytes
    opens: Segment | None = None


class Call(msgspec.Struct, array_like=True, frozen=True, tag=True):
    """To a worker: the payload is the packed function, then stream and buffers of (args, kwargs).

    Args:
        number: of the call.
        names: the resources that it is given.
        payload: what it is.
        opens: the segment of the payload, if the worker does not have it yet.
    """

    number: int
    names: tuple[str, ...]
    payload: Payload
    opens: Segment | None = None


class Room(msgspec.Struct, array_like=True, frozen=True, tag=True):
    """To a worker that needs it: where to put its result; None if there is no memory for it."""

    segment: Segment | None


class Stop(msgspec.Struct, array_like=True, frozen=True, tag=True):
    """To a worker: end."""


class Ready(msgspec.Struct, array_like=True, frozen=True, tag=True):
    """From a worker: it takes calls.

    Args:
        memory: bytes that it holds.
        journal: what it logged meanwhile.
    """

    memory: int
    journal: bytes


class Unready(msgspec.Struct, array_like=True, frozen=True, tag=True):
    """From a worker: its resources could not be loaded, as the packed failure says."""

    failure: bytes
    journal: bytes


class Need(msgspec.Struct, array_like=True, frozen=True, tag=True):
    """From a worker: its result takes so many bytes, and there is no room for it."""

    size: int


class Said(msgspec.Struct, array_like=True, frozen=True, tag=True):
    """From a worker in the middle of a call: what it has just logged."""

    journal: bytes


class Answer(msgspec.Struct, array_like=True, frozen=True, tag=True):
    """From a worker: what came of a call.

    Args:
        number: of the call.
        ok: whether the payload is a value; else it is a packed failure.
        payload: stream and buffers.
        seconds: that the function took.
        memory: bytes that the worker holds.
        journal: what was logged meanwhile.
        keeps: whether something in the worker still refers to the call's arguments.
        freed: calls whose arguments nothing refers to any more, having been kept.
    """

    number: int
    ok: bool
    payload: Payload
    seconds: float
    memory: int
    journal: bytes
    keeps: bool = False
    freed: list[int] = []


Message: TypeAlias = Setup | Call | Room | Stop | Ready | Unready | Need | Said | Answer

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode


class Line:
    """One end of the socket between a parent and a worker.

    Args:
        end: the socket; the parent's does not block.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._sending = threading.Lock()
        self._arrived = bytearray()
        self._files: list[int] = []

    def fileno(self) -> int:
        """The descriptor, for a selector."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close this end, and what came over it and was not taken."""
        self._socket.close()
        for file in self._files:
            os.close(file)
        self._files.clear()

    def send(self, message: Message, files: Sequence[int] = ()) -> None:
        """Send a message, and descriptors with it.

        Raises:
            OSError: the other end is gone, or (where this end does not block) takes no more.
        """
        with self._sending:
            self._send(message, files)

    def interject(self, make: Callable[[], Message | None]) -> None:
        """Send what ``make`` makes now, unless this end is sending: then it comes with what is sent later.

        Raises:
            OSError: the other end is gone.
        """
        if self._sending.acquire(blocking=False):
            try:
                if (message := make()) is not None:
                    self._send(message)
            finally:
                self._sending.release()

    def _send(self, message: Message, files: Sequence[int] = ()) -> None:
        body = _encode(message)
        frame = _HEADER.pack(_MAGIC, len(body)) + body
        sent = socket.send_fds(self._socket, [frame], [*files]) if files else self._socket.send(frame)
        if sent < len(frame):
            self._socket.sendall(memoryview(frame)[sent:])

    def receive(self) -> tuple[Message, list[int]] | None:
        """The next message and its descriptors, which are the caller's to close; None at the end.

        Raises:
            WireError: it is no message.
        """
        while (message := self._take()) is None:
            data, ancillary, flags, _ = self._socket.recvmsg(_CHUNK, _ANCILLARY)
            if not data:
                return None
            if ancillary or flags & socket.MSG_CTRUNC:
                self._keep_files(ancillary)
            self._arrived += data
        files, self._files = self._files, []
        return message, files

    def _keep_files(self, ancillary: Sequence[tuple[int, int, bytes]]) -> None:
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                numbers = array.array("i")
                numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
                self._files.extend(numbers)

    def arrived(self) -> Iterator[Message]:
        """The messages that are there, without waiting.

        Raises:
            EOFError: after the last one, if the other end is gone.
            WireError: it is no message.
        """
        while True:
            try:
                data = self._socket.recv(_CHUNK)
            except BlockingIOError:
                return
            except OSError:  # reset by the other end
                data = b""
            if not data:
                raise EOFError
            self._arrived += data
            while (message := self._take()) is not None:
                yield message
            if len(data) < _CHUNK:
                return

    def _take(self) -> Message | None:
        if len(self._arrived) < _HEADER.size:
            return None
        magic, length = _HEADER.unpack_from(self._arrived)
        if magic != _MAGIC or length > _LONGEST:
            raise WireError("the header of a message was expected, and other bytes came")
        end = _HEADER.size + length
        if len(self._arrived) < end:
            return None
        try:
            message: Message = _decode(self._arrived[_HEADER.size : end])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise WireError(f"a message cannot be read: {error}") from None
        del self._arrived[:end]
        return message
