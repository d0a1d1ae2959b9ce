"""The index of a cache folder that cannot be written, such as one that was filled when an image was built."""

from __future__ import annotations

import errno
import sqlite3
import threading
from pathlib import Path
from typing import Any, NoReturn

from diskcache.core import DBNAME, EVICTION_POLICY

from mlcache.backends.concurrent import LOCK_TIMEOUT
from mlcache.backends.connections import Connections
from mlcache.backends.index import BytesDisk
from mlcache.backends.index_many import ManyIndex
from mlcache.errors import BackendError

_REFUSALS = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


def is_refusal(error: Exception) -> bool:
    """Whether ``error`` says that nothing may be written."""
    if isinstance(error, OSError):
        return error.errno in _REFUSALS
    return isinstance(error, sqlite3.OperationalError) and "readonly" in str(error)


class ReadOnlyIndex(ManyIndex):
    """What is there is found; nothing is written down, not even which entries were used.

    Args:
        directory: the folder.
        mapping: whether large files may be mapped into memory.

    Raises:
        sqlite3.Error: there is no index that can be read.
    """

    def __init__(self, directory: Path, *, mapping: bool) -> None:  # diskcache's own would write
        self.connections = Connections(directory / DBNAME, read_only=True)
        self._directory = str(directory)
        self._timeout = LOCK_TIMEOUT
        self._local = threading.local()
        self._policy = EVICTION_POLICY["none"]
        self._disk = BytesDisk(self._directory)
        self._disk.mapping = mapping
        ((self._page_size,),) = self._sql("PRAGMA page_size").fetchall()

    def _refuse(self, *_: object) -> NoReturn:
        raise BackendError(f"the cache folder {self._directory} cannot be written: nothing new is kept in it")

    keep: Any = _refuse
    keep_many: Any = _refuse
    delete: Any = _refuse
    delete_many: Any = _refuse
    evict: Any = _refuse
