"""Frames in a folder, shared by all processes of one user, on diskcache.

diskcache keeps its index in SQLite and evicts to a bound in bytes. It would also pickle
and unpickle what is not bytes, from a folder that others may have written to; the
``Disk`` below knows bytes alone, and takes a row of any other kind for a miss.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from mlcache import clock
from mlcache.backends.protocol import Usage
from mlcache.entry import Key
from mlcache.errors import BackendError, MissingExtraError
from mlcache.units import show_size

RETRY_AFTER = 5.0
"""Seconds for which a folder that could not be opened is not tried again."""

LOCK_TIMEOUT = 10.0
"""Seconds to wait for another process that writes; after that, the tier failed."""


class Disk:
    """Keeps frames in a folder; evicts those stored longest ago.

    The folder is made at first use, for its owner alone (0700).

    Args:
        directory: the folder.
        max_bytes: bound on its size. It is held by evicting at each write, so it may be
            exceeded for a moment.
    """

    name = "disk"
    holds: ClassVar[Literal["bytes"]] = "bytes"
    blocking: ClassVar[bool] = True

    def __init__(self, directory: str | os.PathLike[str], *, max_bytes: int) -> None:
        self.directory = Path(directory).expanduser().absolute()
        self._max_bytes = max_bytes
        self._opened: Any = None
        self._failure: tuple[float, BackendError] | None = None
        self._lock = threading.Lock()
        _index_class()  # says at once what to install

    def get(self, key: Key) -> bytes | None:
        data: bytes | None = self._index().get(key.digest)
        return data

    def put(self, key: Key, data: bytes, expires_at: float) -> None:
        seconds = None if math.isinf(expires_at) else max(expires_at - clock.now(), 0.0)
        self._index().set(key.digest, data, expire=seconds, tag=key.namespace)

    def delete(self, key: Key) -> bool:
        return bool(self._index().delete(key.digest))

    def clear(self, namespace: str) -> int:
        return int(self._index().evict(namespace))

    def keys(self, namespace: str) -> Iterator[Key]:
        return (Key(namespace, digest) for digest in self._index().digests(namespace))

    def count(self, namespace: str) -> int:
        return int(self._index().number_of(namespace))

    def usage(self) -> Usage:
        index = self._index()
        return Usage(len(index), int(index.volume()), None, self._max_bytes)

    def close(self) -> None:
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def _index(self) -> Any:
        # Not "or": the truth of an index is its length, which is a query.
        return self._open() if self._opened is None else self._opened

    def _open(self) -> Any:
        with self._lock:
            if self._opened is not None:
                return self._opened
            if self._failure is not None and clock.now() < self._failure[0]:
                raise self._failure[1]
            try:
                _claim(self.directory)
                self._opened = _index_class()(str(self.directory), self._max_bytes)
            except Exception as error:
                failure = BackendError(f"the cache folder {self.directory} cannot be used: {error}")
                self._failure = (clock.now() + RETRY_AFTER, failure)
                raise failure from error
            return self._opened

    def __repr__(self) -> str:
        return f"<disk: {self.directory}, at most {show_size(self._max_bytes)}>"


def default_directory() -> Path:
    """The folder for caches of this user on this platform."""
    try:
        import platformdirs
    except ImportError:
        raise MissingExtraError("backend 'disk'", "platformdirs", "disk") from None
    return Path(platformdirs.user_cache_dir("mlcache"))


def _claim(directory: Path) -> None:
    """Make the folder for its owner alone, or see that it is ours."""
    if not directory.exists():
        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "geteuid") and directory.stat().st_uid != os.geteuid():
        raise BackendError("another user owns it")


@cache
def _index_class() -> type[Any]:
    """The index, as subclasses of diskcache's classes, which are not imported before they are needed."""
    try:
        import diskcache
        from diskcache.core import MODE_BINARY, MODE_RAW
    except ImportError:
        raise MissingExtraError("backend 'disk'", "diskcache", "disk") from None

    class BytesDisk(diskcache.Disk):  # type: ignore[misc] # diskcache has no types
        """Never pickles and never unpickles."""

        def put(self, key: bytes) -> tuple[bytes, bool]:
            return key, True

        def get(self, key: bytes, raw: bool) -> bytes:  # noqa: ARG002, FBT001 - diskcache's signature
            return bytes(key)

        def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> Any:  # noqa: FBT001
            if mode == MODE_RAW and isinstance(value, bytes):
                return value
            return super().fetch(mode, filename, value, read) if mode == MODE_BINARY else None

    class Index(diskcache.Cache):  # type: ignore[misc] # diskcache has no types
        """diskcache with listing by tag."""

        def __init__(self, directory: str, max_bytes: int) -> None:
            super().__init__(directory, LOCK_TIMEOUT, disk=BytesDisk, size_limit=max_bytes, tag_index=True)

        def digests(self, tag: str) -> list[bytes]:
            return [bytes(key) for (key,) in self._sql("SELECT key FROM Cache WHERE tag = ?", (tag,))]

        def number_of(self, tag: str) -> int:
            ((number,),) = self._sql("SELECT COUNT(*) FROM Cache WHERE tag = ?", (tag,)).fetchall()
            return int(number)

    return Index
