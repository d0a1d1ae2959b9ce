"""Connections to one SQLite file, one for each thread."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from mlcache import clock

if TYPE_CHECKING:
    import sqlite3


RETRY, PATIENCE = 0.005, 10.0
"""Seconds between two tries to connect to a file that is locked, and in all."""


class Connections:
    """Connections to one SQLite file, one for each thread, that can be closed from any.

    A connection of a thread that ended is closed when the next thread connects.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._local = threading.local()
        self._by_thread: dict[threading.Thread, sqlite3.Connection] = {}

    def mine(self, timeout: float) -> sqlite3.Connection:
        """The connection of this thread.

        Args:
            timeout: seconds to wait for others who write, for a connection made now.
        """
        mine: sqlite3.Connection | None = getattr(self._local, "connection", None)
        return self._connect(timeout) if mine is None else mine

    def close(self) -> None:
        """Close all of them; who asks again gets a new one.

        In a forked child it does nothing: SQLite must not be told there to close what the parent uses.
        """
        if self._process == os.getpid():
            with self._lock:
                self._local = threading.local()
                while self._by_thread:
                    self._by_thread.popitem()[1].close()

    def __del__(self) -> None:
        self.close()

    def _connect(self, timeout: float) -> sqlite3.Connection:
        import sqlite3

        made = sqlite3.connect(self._path, timeout=timeout, isolation_level=None, check_same_thread=False)
        try:
            _set_up(made)
        except BaseException:
            made.close()
            raise
        with self._lock:
            self._local.connection = made
            for thread in [thread for thread in self._by_thread if not thread.is_alive()]:
                self._by_thread.pop(thread).close()
            self._by_thread[threading.current_thread()] = made
        return made


def _set_up(connection: sqlite3.Connection) -> None:
    """Prepare a connection.

    While another process opens or closes the write-ahead log, SQLite says that the file is locked
    without waiting for the connection's timeout, so the waiting is done here.
    """
    import sqlite3

    until = clock.ticks() + PATIENCE
    while True:
        try:
            connection.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost entries, never the file
            connection.execute("PRAGMA cache_size = 8192")  # pages
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or clock.ticks() >= until:
                raise
            threading.Event().wait(RETRY)
        else:
            return
