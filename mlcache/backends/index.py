"""The index of a cache folder: diskcache's, made such that it knows bytes alone and lets go of its file.

This module imports diskcache, so nobody imports it before a cache folder is opened.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import diskcache
from diskcache.core import DBNAME, MODE_BINARY, MODE_RAW

from mlcache.backends.connections import Connections
from mlcache.backends.filelocks import one_at_a_time

LOCK_TIMEOUT = 10
"""Seconds to wait for another process that writes; after that, the tier failed."""


class BytesDisk(diskcache.Disk):  # type: ignore[misc] # diskcache has no types
    """Never pickles and never unpickles."""

    def put(self, key: bytes) -> Any:
        """A key as it stands in the table."""
        return key, True

    def get(self, key: bytes, raw: bool) -> bytes:  # noqa: ARG002, FBT001 - diskcache's signature
        """A key from the table."""
        return bytes(key)

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> Any:  # noqa: FBT001
        if mode == MODE_RAW and isinstance(value, bytes):
            return value
        if mode != MODE_BINARY or not _is_ours(filename):
            return None
        return super().fetch(mode, filename, value, read)

    def _write(self, full_path: str, iterator: Any, mode: str, encoding: str | None = None) -> Any:
        try:
            return super()._write(full_path, iterator, mode, encoding)
        except BaseException:  # a disk that is full must not stay so for files that no row knows of
            Path(full_path).unlink(missing_ok=True)
            raise

    def remove(self, file_path: str) -> None:
        if _is_ours(file_path):
            super().remove(file_path)


def _is_ours(filename: object) -> bool:
    """Whether it is a name that diskcache gives, and so within the folder: rows may say anything."""
    return isinstance(filename, str) and _FILE.fullmatch(filename) is not None


_FILE = re.compile(r"[0-9a-f]{2}[/\\][0-9a-f]{2}[/\\][0-9a-f]{28}\.val")


class Index(diskcache.Cache):  # type: ignore[misc] # diskcache has no types
    """diskcache with listing by tag, whose connections can be closed from any thread.

    The file is not mapped into memory: if somebody truncates a mapped file, reading it is no
    error but a signal that ends the process.
    """

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self._connections = Connections(directory / DBNAME)
        settings = {"size_limit": max_bytes, "tag_index": True, "sqlite_mmap_size": 0}
        try:
            super().__init__(str(directory), LOCK_TIMEOUT, disk=BytesDisk, **settings)
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, directory: Path, max_bytes: int) -> Index:
        """The index in ``directory``, while no other process opens it."""
        with one_at_a_time(directory):
            return cls(directory, max_bytes)

    @property
    def _con(self) -> Any:
        return self._connections.mine(self._timeout)

    def close(self) -> None:
        """Close the connections of all threads."""
        self._connections.close()

    def frame(self, digest: bytes) -> bytes | None:
        """The bytes under ``digest``, expired or not: the verdict is passed elsewhere."""
        found = self._sql("SELECT mode, filename, value FROM Cache WHERE key = ? AND raw = 1", (digest,))
        disk: Any = self.disk
        try:
            return next(
                (disk.fetch(mode, file, value, read=False) for mode, file, value in found.fetchall()), None
            )
        except FileNotFoundError:  # evicted since
            return None

    def digests(self, tag: str) -> list[bytes]:
        """The keys with this tag."""
        found = self._sql("SELECT key FROM Cache WHERE tag = ? AND raw = 1 AND typeof(key) = 'blob'", (tag,))
        return [bytes(key) for (key,) in found]

    def number_of(self, tag: str) -> int:
        """How many keys have this tag."""
        ((number,),) = self._sql("SELECT COUNT(*) FROM Cache WHERE tag = ?", (tag,)).fetchall()
        return int(number)
