"""The codec: entries to frames and back."""

from __future__ import annotations

from typing import Any

import msgspec

from mlcache.codec.compression import zstandard
from mlcache.codec.frame import PICKLED, Buffers, read_metadata, seal, unseal
from mlcache.codec.nodes import NeedsPickleError
from mlcache.codec.pickled import read_pickle, write_pickle
from mlcache.codec.signer import Signer
from mlcache.codec.tree import PLAIN, TreeReader, TreeWriter
from mlcache.entry import Entry
from mlcache.errors import CannotEncodeError, CodecError, CorruptEntryError

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class FrameCodec:
    """Entries to frames and back.

    Builtins, arrays, data frames, tensors and sparse matrices are written without pickle. Other
    values are pickled, and signed; a pickle without a right signature is never loaded.

    Args:
        signer: signs pickles and tells whose they are. None: there can be no pickles.
        compress: compress what becomes clearly smaller by it. Reading takes it either way, and
            only what is not compressed can be read in place.

    Raises:
        MissingExtraError: ``compress`` is asked for and the package for it is not installed.
    """

    def __init__(self, *, signer: Signer | None = None, compress: bool = False) -> None:
        self._signer = signer
        self._compress = compress
        if compress:
            zstandard()

    def encode(self, entry: Entry) -> bytes:
        """The frame of ``entry``.

        Raises:
            CannotEncodeError: the value needs pickle and there is no signer, or it cannot be pickled.
        """
        try:
            return seal(entry, *self._take_apart(entry.value), shrink=self._compress)
        except CodecError:
            raise
        except Exception as error:
            kind = type(entry.value).__qualname__
            raise CannotEncodeError(f"a value of type {kind} cannot be taken apart: {error!r}") from error

    def decode(self, data: bytes | memoryview, *, verified: bool = False) -> Entry:
        """The entry of a frame.

        Its arrays are read-only views of the frame, unless that is compressed. Tensors, of which
        no view can be read-only, are copies.

        Args:
            data: the frame, which must not change while anything that was read from it is in use.
            verified: whether its checksum was found right before, and need not be looked at again.

        Raises:
            CorruptEntryError: it is no whole, unchanged frame that this version and signer can read.
        """
        try:
            head, tree, buffers = unseal(data, verified=verified)
            _, _, flags, _, created, fresh, stale, cost, size, _ = head
            node = _decode(tree)
            if flags & PICKLED:
                value = read_pickle(node, self._signer, TreeReader(buffers))
            else:
                value = TreeReader(buffers).value(node) if type(node) is list else node
            return Entry(value, created, fresh, stale, cost, size or memoryview(data).nbytes)
        except CorruptEntryError:
            raise
        except Exception as error:
            raise CorruptEntryError(f"the frame cannot be read: {error!r}") from error

    def describe(self, head: bytes | memoryview) -> Entry:
        """The entry of a frame, with None in place of its value; its first 64 bytes are enough.

        Raises:
            CorruptEntryError: it does not begin as a frame that this version can read.
        """
        about = read_metadata(head)
        return Entry(None, about.created, about.fresh_until, about.stale_until, about.cost, about.size)

    def _take_apart(self, value: Any) -> tuple[int, bytes, Buffers]:
        try:
            return 0, *_plant(value)
        except (NeedsPickleError, RecursionError) as error:
            out = TreeWriter()
            node = write_pickle(value, error, self._signer, out)
            return PICKLED, _encode(node), out.buffers


def _plant(value: Any) -> tuple[bytes, Buffers]:
    try:
        if type(value) in PLAIN:
            return _encode(value), ()
        out = TreeWriter()
        return _encode(out.node(value)), out.buffers
    except (UnicodeEncodeError, OverflowError):
        out = TreeWriter(careful=True)
        return _encode(out.node(value)), out.buffers
