"""diskcache as many threads and processes use it at once.

This module imports diskcache, so nobody imports it before a cache folder is opened.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import diskcache
from diskcache.core import DBNAME

from mlcache.backends.connections import Connections, persistently

LOCK_TIMEOUT = 10
"""Seconds to wait for another process that writes; after that, the tier failed."""

HURRY = 0.05
"""Seconds to wait once that was in vain, until it no longer is."""


class ConcurrentCache(diskcache.Cache):  # type: ignore[misc] # diskcache has no types
    """diskcache with connections that any thread can close, and with waits that come to an end.

    Args:
        directory: the folder.
        settings: as diskcache takes them.
    """

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.connections = Connections(directory / DBNAME)
        self._patience: float = LOCK_TIMEOUT
        super().__init__(str(directory), LOCK_TIMEOUT, **settings)

    @property
    def _con(self) -> Any:
        return self.connections.mine(self._timeout)

    @property
    def _txn_id(self) -> int | None:
        """The thread that is in a transaction, as far as this one is concerned.

        diskcache has one for all threads, which the lock on the file keeps apart; but where the file was
        removed, some may still be using the old one.
        """
        thread: int | None = getattr(self._local, "transaction", None)
        return thread

    @_txn_id.setter
    def _txn_id(self, thread: int | None) -> None:
        self._local.transaction = thread

    @property
    def _sql_retry(self) -> Callable[..., Any]:
        """``_sql``, tried again while the file is locked; diskcache's own goes on for a minute."""
        return partial(persistently, self._sql)

    @contextmanager
    def _transact(self, retry: bool = False, filename: str | None = None) -> Iterator[Any]:  # noqa: FBT001, FBT002
        """A transaction, as diskcache's, but that others who write are waited for as ``_in_time`` says."""
        with self._in_time(), _telling_why(), super()._transact(retry, filename) as sql_and_cleanup:
            yield sql_and_cleanup

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        """Wait for others who write, but once that was in vain, hardly at all until it no longer is.

        A process that was stopped while it wrote holds up all others for as long as it stands still.
        """
        self._con.execute(f"PRAGMA busy_timeout = {self._patience * 1000:.0f}")
        try:
            yield
        except sqlite3.OperationalError:
            self._patience = HURRY
            raise
        self._patience = LOCK_TIMEOUT

    def close(self) -> None:
        """Close the connections of all threads: of those within an operation when that ends."""
        self.connections.close()


@contextmanager
def _telling_why() -> Iterator[None]:
    """Raise what SQLite said in place of diskcache's own error, which has no text."""
    try:
        yield
    except diskcache.Timeout as error:
        raise (error.__context__ or error) from None
