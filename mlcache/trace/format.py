"""The file of a trace: a header of 16 bytes, and a record of 24 bytes for each call.

All numbers are little-endian. The header is the eight bytes ``mlctrace``, the version of the format and
the size of a record, each in four bytes. A record has four columns:

    key    8 bytes, unsigned      the first bytes of the digest of the call, as they lie in memory
    time   8 bytes, float         seconds since the epoch
    cost   4 bytes, float         seconds that computing the value took; not a number: not known
    size   4 bytes, float         bytes of the value; not a number: not known; infinite: the value
                                  that was computed last for this key was not kept, and this is no call

Records are as good as in the order of time: threads may overtake each other by a little.
A file that ends within a record was cut off there, and all records before are good.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from mlcache.errors import TraceError

MAGIC = b"mlctrace"
VERSION = 1
RECORD = np.dtype([("key", "<u8"), ("time", "<f8"), ("cost", "<f4"), ("size", "<f4")])
HEADER = struct.pack("<8sII", MAGIC, VERSION, RECORD.itemsize)
CHUNK = 65_536
"""Records that are read at a time: 1.5 MB."""

UNKNOWN = math.nan
"""The cost and the size where they are not known."""
NOT_KEPT = math.inf
"""The size in the record of what is no call: that a value was not kept."""

pack = struct.Struct("<8sdff").pack
"""The bytes of one record, from the first eight bytes of a digest, a time, a cost and a size."""

Records = NDArray[np.void]


def write_trace(path: str | Path, records: Records) -> None:
    """Write a whole trace at once.

    Args:
        path: of the file, which is replaced if it is there.
        records: of the type ``RECORD``.
    """
    with Path(path).open("wb") as file:
        file.write(HEADER)
        file.write(np.ascontiguousarray(records, dtype=RECORD).tobytes())


def read_trace(path: str | Path, chunk: int = CHUNK) -> Iterator[Records]:
    """The records of a trace, some at a time, so that a file may be larger than memory.

    Args:
        path: of the file.
        chunk: how many records to read at a time.

    Raises:
        TraceError: it is no trace, or of another version.
        OSError: it cannot be read.
    """
    with Path(path).open("rb") as file:
        _check(path, file)
        while data := file.read(chunk * RECORD.itemsize):
            whole = len(data) // RECORD.itemsize
            if whole:
                yield np.frombuffer(data, dtype=RECORD, count=whole)


def _check(path: str | Path, file: BinaryIO) -> None:
    header = file.read(len(HEADER))
    if header == HEADER or (len(header) < len(HEADER) and HEADER.startswith(header)):
        return  # cut off within the header: no records
    if not header.startswith(MAGIC):
        raise TraceError(f"{path} is no trace: give a file that MLCACHE_TRACE, or write_trace, wrote")
    version = struct.unpack_from("<I", header, len(MAGIC))[0]
    raise TraceError(
        f"{path} is a trace of version {version}, and this version of mlcache reads version {VERSION}: "
        "simulate it with the mlcache that recorded it"
    )
