"""The index of a cache folder: diskcache's, made such that it knows bytes alone and lets go of its file."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from mlcache.backends.connections import Connections
from mlcache.errors import MissingExtraError

FILE = "cache.db"
"""Where diskcache has its tables."""

LOCK_TIMEOUT = 10
"""Seconds to wait for another process that writes; after that, the tier failed."""


@cache
def index_class() -> type[Any]:
    """The index, as subclasses of diskcache's classes, which are not imported before they are needed.

    Raises:
        MissingExtraError: diskcache is not installed.
    """
    try:
        import diskcache
        from diskcache.core import MODE_BINARY, MODE_RAW
    except ImportError:
        raise MissingExtraError("backend 'disk'", "diskcache", "disk") from None

    class BytesDisk(diskcache.Disk):  # type: ignore[misc] # diskcache has no types
        """Never pickles and never unpickles."""

        def put(self, key: bytes) -> Any:
            return key, True

        def get(self, key: bytes, raw: bool) -> bytes:  # noqa: ARG002, FBT001 - diskcache's signature
            return bytes(key)

        def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> Any:  # noqa: FBT001
            if mode == MODE_RAW and isinstance(value, bytes):
                return value
            return super().fetch(mode, filename, value, read) if mode == MODE_BINARY else None

    class Index(diskcache.Cache):  # type: ignore[misc] # diskcache has no types
        """diskcache with listing by tag, whose connections can be closed from any thread.

        The file is not mapped into memory: if somebody truncates a mapped file, reading it is no
        error but a signal that ends the process.
        """

        def __init__(self, directory: Path, max_bytes: int) -> None:
            self._connections = Connections(directory / FILE)
            settings = {"size_limit": max_bytes, "tag_index": True, "sqlite_mmap_size": 0}
            super().__init__(str(directory), LOCK_TIMEOUT, disk=BytesDisk, **settings)

        @property
        def _con(self) -> Any:
            return self._connections.mine(self._timeout)

        def close(self) -> None:
            self._connections.close()

        def read(self, digest: bytes) -> bytes | None:  # type: ignore[override] # diskcache's gives a file
            """The bytes under ``digest``, expired or not: the verdict is passed elsewhere."""
            found = self._sql("SELECT mode, filename, value FROM Cache WHERE key = ? AND raw = 1", (digest,))
            try:
                return next((self.disk.fetch(*row, read=False) for row in found.fetchall()), None)
            except FileNotFoundError:  # evicted since
                return None

        def digests(self, tag: str) -> list[bytes]:
            return [bytes(key) for (key,) in self._sql("SELECT key FROM Cache WHERE tag = ?", (tag,))]

        def number_of(self, tag: str) -> int:
            ((number,),) = self._sql("SELECT COUNT(*) FROM Cache WHERE tag = ?", (tag,)).fetchall()
            return int(number)

    return Index
