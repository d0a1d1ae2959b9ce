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

All numbers are little-endian. What stands in the first 64 bytes can be read without the rest.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import msgspec
import xxhash

from mlcache.codec.nodes import NeedsPickleError, Node
from mlcache.codec.pickled import Signer, read_pickle, write_pickle
from mlcache.codec.tree import ALIGNMENT, PLAIN, TreeReader, TreeWriter
from mlcache.entry import Entry
from mlcache.errors import CannotEncodeError, CorruptEntryError

MAGIC = b"mlc\x93"
FORMAT_VERSION = 1
READABLE = frozenset({1})
"""Every version that this one reads."""

PICKLED = 1
"""Flag: the tree is a signed pickle."""

_HEAD = struct.Struct("<4sHHQ")
_BODY = struct.Struct("<4dQQ")
_WHOLE = struct.Struct("<4sHHQ4dQQ")

_encode_tree = msgspec.msgpack.Encoder().encode
_decode_tree = msgspec.msgpack.Decoder().decode
_digest = xxhash.xxh3_64_intdigest

_Buffers = Sequence[tuple[int, Any]]


class Metadata(msgspec.Struct, frozen=True):
    """What a frame says of its entry without the value.

    Args:
        version: the format version it was written in.
        pickled: whether the value is a signed pickle.
        created, fresh_until, stale_until, cost, size: as in :class:`mlcache.entry.Entry`.
    """

    version: int
    pickled: bool
    created: float
    fresh_until: float
    stale_until: float
    cost: float
    size: int


def read_metadata(data: bytes | memoryview) -> Metadata:
    """What the first 64 bytes of a frame say; ``data`` may end after them.

    Nothing is verified but that they are the beginning of a frame: the checksum is over the whole.

    Raises:
        CorruptEntryError: they are not, or of a version that this one does not read.
    """
    version, flags, _, created, fresh, stale, cost, size, _ = _unpack(data)
    return Metadata(version, bool(flags & PICKLED), created, fresh, stale, cost, size)


class FrameCodec:
    """Entries to frames and back.

    Builtins, arrays and data frames are written without pickle. Other values are pickled, and
    signed; a pickle without a right signature is never loaded.

    Args:
        signer: signs pickles and tells whose they are. None: there can be no pickles.
    """

    def __init__(self, *, signer: Signer | None = None, compress: bool = False) -> None:
        self._signer = signer
        self._compress = compress

    def encode(self, entry: Entry) -> bytes:
        """The frame of ``entry``.

        Raises:
            CannotEncodeError: the value needs pickle and there is no signer, or it cannot be pickled.
        """
        value = entry.value
        if type(value) in PLAIN:
            try:
                return _seal(entry, 0, _encode_tree(value), ())
            except (UnicodeEncodeError, OverflowError):
                pass
        return _seal(entry, *self._take_apart(value))

    def decode(self, data: bytes | memoryview, *, verified: bool = False) -> Entry:
        """The entry of a frame; its arrays are read-only views of ``data``, which must not change.

        Args:
            verified: the checksum of these very bytes was found right before, and is not looked at again.

        Raises:
            CorruptEntryError: ``data`` is no whole, unchanged frame that this version and signer can read.
        """
        try:
            return self._decode(data, verified)
        except CorruptEntryError:
            raise
        except Exception as error:
            msg = f"the frame cannot be read: {error}"
            raise CorruptEntryError(msg) from error

    def _take_apart(self, value: Any) -> tuple[int, bytes, _Buffers]:
        try:
            return 0, *_plant(value)
        except (NeedsPickleError, RecursionError) as error:
            out = TreeWriter()
            node = write_pickle(value, error, self._signer, out)
            return PICKLED, _encode_tree(node), out.buffers

    def _decode(self, data: bytes | memoryview, verified: bool) -> Entry:
        version, flags, checksum, created, fresh, stale, cost, size, length = _unpack(data)
        view = memoryview(data).toreadonly()
        if not verified and _digest(view[_HEAD.size :], _seed(version, flags)) != checksum:
            msg = "the frame's checksum does not match: it was damaged or cut short"
            raise CorruptEntryError(msg)
        end = _WHOLE.size + length
        node = _decode_tree(view[_WHOLE.size : end])
        value = node if type(node) is not list and not flags else self._put_together(node, flags, view[_align(end) :])
        return Entry(value, created, fresh, stale, cost, size or len(view))

    def _put_together(self, node: Node, flags: int, buffers: memoryview) -> Any:
        source = TreeReader(buffers)
        if flags & PICKLED:
            return read_pickle(node, self._signer, source)
        return source.value(node)


def _plant(value: Any) -> tuple[bytes, _Buffers]:
    try:
        out = TreeWriter()
        return _encode_tree(out.node(value)), out.buffers
    except (UnicodeEncodeError, OverflowError):
        out = TreeWriter(careful=True)
        return _encode_tree(out.node(value)), out.buffers


def _seal(entry: Entry, flags: int, tree: bytes, buffers: _Buffers) -> bytes:
    try:
        body = _BODY.pack(
            entry.created, entry.fresh_until, entry.stale_until, entry.cost, entry.size, len(tree)
        )
    except struct.error as error:
        msg = f"the entry's timestamps, cost and size must be numbers: {error}"
        raise CannotEncodeError(msg) from error
    if not buffers:
        body += tree
        return _HEAD.pack(MAGIC, FORMAT_VERSION, flags, _digest(body, _seed(FORMAT_VERSION, flags))) + body
    parts = [body, tree, *_pad(_WHOLE.size + len(tree), buffers)]
    state = xxhash.xxh3_64(seed=_seed(FORMAT_VERSION, flags))
    for part in parts:
        state.update(part)
    return b"".join([_HEAD.pack(MAGIC, FORMAT_VERSION, flags, state.intdigest()), *parts])


def _pad(position: int, buffers: _Buffers) -> list[Any]:
    parts: list[Any] = []
    start = _align(position)
    for offset, data in buffers:
        parts += [bytes(start + offset - position), data]
        position = start + offset + len(data)
    return parts


def _unpack(data: bytes | memoryview) -> tuple[int, int, int, float, float, float, float, int, int]:
    try:
        magic, version, *rest = _WHOLE.unpack_from(data)
    except struct.error:
        msg = f"{len(data)} bytes are too few to be a frame"
        raise CorruptEntryError(msg) from None
    if magic != MAGIC or version not in READABLE:
        msg = f"no frame, or of version {version}, and this mlcache reads {sorted(READABLE)}"
        raise CorruptEntryError(msg)
    return version, *rest


def _seed(version: int, flags: int) -> int:
    # The two fields that stand before the checksum are covered by it as well.
    return version << 16 | flags


def _align(position: int) -> int:
    return -(-position // ALIGNMENT) * ALIGNMENT
