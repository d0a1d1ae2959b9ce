"""What the messages of an Arrow stream say of themselves, before anything is made of them.

Arrow expands compressed buffers as it reads them, to any size, and cannot be told not to. No
stream of ours has any, so one that has is refused. Whether it has stands in the metadata of each
message, a FlatBuffer: https://arrow.apache.org/docs/format/Columnar.html#format-ipc. In messages
of an older version it may also stand among the pairs of texts that anybody may add to a message.
"""

from __future__ import annotations

import struct
from typing import Any

import pyarrow as pa

_VERSION, _HEADER, _PAIRS = 0, 2, 4
"""Numbers of the fields of a message."""

_DATA, _COMPRESSION = 1, 3
"""Numbers of fields of a dictionary batch, and of a record batch."""

_V5 = 4
"""The number of the version of which all our messages are."""


def check_uncompressed(stream: Any) -> None:
    """Sees to it that nothing in ``stream`` takes more memory than it has bytes.

    Raises:
        ValueError: something in it is compressed, or could be.
    """
    for message in pa.ipc.MessageReader.open_stream(stream):
        if message.type != "schema":
            _check_batch(memoryview(message.metadata), message.type)


def _check_batch(metadata: memoryview, kind: str) -> None:
    message = _inner(metadata, 0, None)
    version = _place(metadata, message, _VERSION)
    if version is None or struct.unpack_from("<h", metadata, version)[0] != _V5:
        raise ValueError("an Arrow stream of another version than this codec writes")
    if _place(metadata, message, _PAIRS) is not None:
        raise ValueError("an Arrow stream with metadata beside its batches, of which this codec writes none")
    if _is_compressed(metadata, message, kind):
        raise ValueError("an Arrow stream with compressed buffers, of which this codec writes none")


def _is_compressed(metadata: memoryview, message: int, kind: str) -> bool:
    batch = _inner(metadata, message, _HEADER)
    if kind == "dictionary":
        batch = _inner(metadata, batch, _DATA)
    return _place(metadata, batch, _COMPRESSION) is not None


def _inner(data: memoryview, table: int, field: int | None) -> int:
    """Where the table begins that a field of another table refers to; of None, the outermost."""
    place = table if field is None else _place(data, table, field)
    if place is None:
        raise ValueError("a message of Arrow without a batch")
    return place + int(struct.unpack_from("<I", data, place)[0])


def _place(data: memoryview, table: int, field: int) -> int | None:
    """Where a field of a table is; None if it has no such field."""
    layout = table - struct.unpack_from("<i", data, table)[0]
    slot = 4 + 2 * field
    if slot >= struct.unpack_from("<H", data, layout)[0]:
        return None
    offset = struct.unpack_from("<H", data, layout + slot)[0]
    return table + int(offset) if offset else None
