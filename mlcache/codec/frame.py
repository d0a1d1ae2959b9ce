"""The frame: an entry as bytes that can be verified, and read in place.

    0    4s  magic
    4    u16 format version
    6    u16 flags
    8    u64 XXH3-64 of everything from 16 on, seeded with version and flags
    16   f64 created, fresh until, stale until (seconds since the epoch), cost (seconds)
    48   u64 size in memory (bytes, 0 for unknown)
    56   u64 length of the tree
    64       the tree, in msgpack
    ...      buffers, each at a multiple of 64

All numbers are little-endian. The first 64 bytes can be read without the rest. What follows
them, the *body*, may be compressed as a whole.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec
import xxhash

from mlcache.codec.compression import compress, decompress
from mlcache.entry import Entry
from mlcache.errors import CannotEncodeError, CorruptEntryError

MAGIC = b"mlc\x93"
FORMAT_VERSION = 1
READABLE = frozenset({1})
"""Every version that this one reads."""

PICKLED = 1
"""Flag: the tree is a signed pickle."""

COMPRESSED = 2
"""Flag: the body is compressed by Zstandard."""

ALIGNMENT = 64

Buffers: TypeAlias = Sequence[tuple[int, Any]]
"""Contiguous bytes and where they begin, counted from the first buffer."""

_Fields: TypeAlias = tuple[bytes, int, int, int, float, float, float, float, int, int]

_START = struct.Struct("<4sHHQ")
_REST = struct.Struct("<4dQQ")
_HEAD = struct.Struct("<4sHHQ4dQQ")
_COVERED, _BODY = _START.size, _HEAD.size
"""Where that begins what the checksum is over, and the tree, if it is not compressed."""

_digest = xxhash.xxh3_64_intdigest


class Metadata(msgspec.Struct, frozen=True):
    """What a frame says of its entry without the value.

    Args:
        version: the format version it was written in.
        pickled: whether the value is a signed pickle.
        compressed: whether its bytes are compressed.
        created: as in :class:`mlcache.entry.Entry`, like all that follow.
        fresh_until: from when on it is stale.
        stale_until: from when on it is dead.
        cost: seconds that computing it took.
        size: bytes that it takes in memory, 0 for unknown.
    """

    version: int
    pickled: bool
    compressed: bool
    created: float
    fresh_until: float
    stale_until: float
    cost: float
    size: int


def read_metadata(data: bytes | memoryview) -> Metadata:
    """What the first 64 bytes of a frame say; ``data`` may end after them.

    Nothing is verified but that they are the beginning of a frame: the checksum is over the whole.

    Raises:
        CorruptEntryError: they are not, or are of a version that this one does not read.
    """
    _, version, flags, _, created, fresh, stale, cost, size, _ = _read_head(data)
    return Metadata(
        version, bool(flags & PICKLED), bool(flags & COMPRESSED), created, fresh, stale, cost, size
    )


def seal(entry: Entry, flags: int, tree: bytes, buffers: Buffers, *, shrink: bool = False) -> bytes:
    """The frame of a tree and its buffers.

    Args:
        entry: whose timestamps, cost and size go into the frame.
        flags: what a reader must know of the tree.
        tree: the value, in msgpack.
        buffers: what the tree refers to.
        shrink: compress the body, if that makes it clearly smaller.

    Raises:
        CannotEncodeError: a timestamp, the cost or the size is no number of its kind.
    """
    parts = [tree, *_pad(len(tree), buffers)]
    if shrink and (packed := compress(b"".join(parts))) is not None:
        flags, parts = flags | COMPRESSED, [packed]
    try:
        rest = _REST.pack(
            entry.created, entry.fresh_until, entry.stale_until, entry.cost, entry.size, len(tree)
        )
    except struct.error as error:
        raise CannotEncodeError(f"an entry's timestamps, cost and size must be numbers: {error}") from error
    state = xxhash.xxh3_64(rest, seed=_seed(FORMAT_VERSION, flags))
    for part in parts:
        state.update(part)
    return b"".join([_START.pack(MAGIC, FORMAT_VERSION, flags, state.intdigest()), rest, *parts])


def unseal(data: bytes | memoryview, *, verified: bool) -> tuple[_Fields, memoryview, memoryview]:
    """The fields of a frame's head, its tree and the bytes of its buffers; both read-only.

    Raises:
        CorruptEntryError: it is no whole, unchanged frame of a version that this one reads.
    """
    head = _read_head(data)
    _, version, flags, checksum, _, _, _, _, _, length = head
    view = memoryview(data) if type(data) is bytes else memoryview(data).toreadonly().cast("B")
    if not verified and _digest(view[_COVERED:], _seed(version, flags)) != checksum:
        raise CorruptEntryError("the frame's checksum does not match: it was damaged or cut short")
    start = _BODY
    if flags & COMPRESSED:
        view, start = memoryview(decompress(view[start:])), 0
    return head, view[start : start + length], view[start + align(length) :]


def align(position: int) -> int:
    """The first aligned position from ``position`` on."""
    return -(-position // ALIGNMENT) * ALIGNMENT


def _pad(position: int, buffers: Buffers) -> list[Any]:
    parts: list[Any] = []
    start = align(position)
    for offset, data in buffers:
        parts += [bytes(start + offset - position), data]
        position = start + offset + len(data)
    return parts


def _read_head(data: bytes | memoryview) -> _Fields:
    try:
        head: _Fields = _HEAD.unpack_from(data)
    except struct.error as error:
        raise CorruptEntryError(f"{len(data)} bytes are too few to be a frame") from error
    if head[0] != MAGIC:
        raise CorruptEntryError("no frame: it does not begin as one")
    if head[1] not in READABLE:
        raise CorruptEntryError(f"a frame of version {head[1]}, and this mlcache reads {sorted(READABLE)}")
    return head


def _seed(version: int, flags: int) -> int:
    # The two fields that stand before the checksum are covered by it as well.
    return version << 16 | flags
