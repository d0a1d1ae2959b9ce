"""Connections to one SQLite file, one for each thread."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mlcache import clock

if TYPE_CHECKING:
    import sqlite3

T = TypeVar("T")

RETRY, PATIENCE = 0.005, 10.0
"""Seconds between two tries of what finds the file locked, and in all."""


class Own:
    """The connection of one thread. While the thread is inside ``with``, nobody closes it.

    To close a connection while another thread runs a statement on it can end the process.
    """

    def __init__(self) -> None:
        self.connection: sqlite3.Connection | None = None
        self._held = threading.RLock()
        self._depth = 0
        self._unwanted = False

    def __enter__(self) -> None:
        self._held.acquire()
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        self._held.release()
        if self._unwanted:
            self.let_go()

    def let_go(self) -> None:
        """Close it: at once, or, if its thread is using it, as soon as that has done."""
        self._unwanted = True  # before we look whether it is in use: who leaves meanwhile must see it
        if self._held.acquire(blocking=False):
            try:
                if not self._depth:
                    self._unwanted = False
                    self.close()
            finally:
                self._held.release()

    def close(self) -> None:
        """Close it, although its thread may be using it: for threads that have ended."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()


class Connections:
    """Connections to one SQLite file, one for each thread, that can be closed from any.

    A connection of a thread that ended is closed when the next thread connects.

    Args:
        path: of the file.
        read_only: whether nothing is to be written, to no file beside it either.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._path = path
        self._read_only = read_only
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._local = threading.local()
        self._by_thread: dict[threading.Thread, Own] = {}

    def own(self) -> Own:
        """What this thread has, to be held (``with``) during each whole operation."""
        return getattr(self._local, "own", None) or self._begin()

    def mine(self, timeout: float) -> sqlite3.Connection:
        """The connection of this thread.

        Args:
            timeout: seconds to wait for others who write, for a connection made now.
        """
        own: Own = getattr(self._local, "own", None) or self._begin()
        if own.connection is None:
            own.connection = self._connect(timeout)
        return own.connection

    def close(self) -> None:
        """Close all of them, those in use as soon as they no longer are; who asks again gets a new one.

        In a forked child it does nothing: SQLite must not be told there to close what the parent uses.
        """
        if self._process == os.getpid():
            with self._lock:
                self._close_those_of_ended_threads()
                for own in self._by_thread.values():
                    own.let_go()

    def __del__(self) -> None:
        self.close()

    def _begin(self) -> Own:
        own = Own()
        with self._lock:
            self._close_those_of_ended_threads()
            self._by_thread[threading.current_thread()] = own
        self._local.own = own
        return own

    def _close_those_of_ended_threads(self) -> None:
        for thread in [thread for thread in self._by_thread if not thread.is_alive()]:
            self._by_thread.pop(thread).close()

    def _connect(self, timeout: float) -> sqlite3.Connection:
        import sqlite3

        if not self._read_only:
            return _connect(str(self._path), timeout)
        try:
            return _connect(f"{self._path.as_uri()}?mode=ro", timeout)
        except sqlite3.OperationalError:  # there is no write-ahead log, so nobody writes
            return _connect(f"{self._path.as_uri()}?immutable=1", timeout)


def _connect(name: str, timeout: float) -> sqlite3.Connection:
    import sqlite3

    uri = name.startswith("file:")
    made = sqlite3.connect(name, timeout=timeout, isolation_level=None, check_same_thread=False, uri=uri)
    try:
        _set_up(made)
    except BaseException:
        made.close()
        raise
    return made


def _set_up(connection: sqlite3.Connection) -> None:
    """Prepare a connection."""
    persistently(connection.execute, "PRAGMA synchronous = NORMAL")  # a power cut costs entries alone
    persistently(connection.execute, "PRAGMA cache_size = 8192")  # pages


def persistently(execute: Callable[..., T], *statement: Any) -> T:
    """What a statement gives, tried again for a while if the file is locked.

    While another process opens or closes the write-ahead log, SQLite says so without waiting for the
    connection's timeout, so the waiting is done here.
    """
    import sqlite3

    until = clock.ticks() + PATIENCE
    while True:
        try:
            return execute(*statement)
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or clock.ticks() >= until:
                raise
            threading.Event().wait(RETRY)
