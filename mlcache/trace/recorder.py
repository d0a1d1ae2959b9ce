"""The recorder: writes what the cached functions of this process are asked for into a trace."""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import sys
import threading
from pathlib import Path
from typing import Any, Self

from mlcache import clock, events, forks
from mlcache.errors import ConfigurationError
from mlcache.events import Coalesced, Computed, Hit, NotKept, Stale
from mlcache.trace.format import HEADER, NOT_KEPT, UNKNOWN, pack
from mlcache.warning import warn

BUFFER = 65_536
"""Bytes of records that are held back at most."""
PAUSE = 1.0
"""Seconds for which records are held back while calls go on."""
_EXHAUSTED = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)
"""What keeps a file from being made though its place is a good one: no room, or too many open files."""


class Recorder:
    """A hook that writes a record for each call that a cached function answers.

    Records are written a buffer at a time, when it is full, when a call comes a second after the last
    write, and at the end; a process that is killed loses those of its last second. A forked child goes
    on in a file of its own. When writing fails, a warning says so, and recording ends: no call fails for it.

    Args:
        path: of the trace. Where there is a file already, which may be another process's, the trace
            goes beside it, under this name with the process's number and a random part behind it.

    Raises:
        ConfigurationError: no file can be made there.
    """

    def __init__(self, path: str | Path) -> None:
        self._asked = Path(path).absolute()
        self.path: Path | None = None
        self._failed: Exception | None = None
        try:
            self.path = _create(self._asked)
        except OSError as error:
            self._failed = error
        self._buffer = bytearray()
        self._due = clock.ticks() + PAUSE
        self._lock = threading.RLock()  # a finalizer may call a cached function while we record
        self._hooked = contextlib.ExitStack()
        forks.tend(self)

    def start(self) -> Self:
        """Record from now on; where the disk is full already, warn of it, and record nothing."""
        if self._failed is not None:
            self._give_up(self._failed)
            return self
        self._hooked.enter_context(events.hook(self))
        self._stop_at_exit()
        return self

    def stop(self) -> None:
        """Record no more, and write what is held back."""
        self._hooked.close()
        atexit.unregister(self.stop)
        with self._lock:
            self._write()

    def __call__(self, event: Any) -> None:
        """Record what happened, if it was the answer to a call."""
        if isinstance(event, Hit | Stale | Computed):
            self._add(event.key.digest, event.cost, event.size)
        elif isinstance(event, Coalesced):
            self._add(event.key.digest, UNKNOWN, UNKNOWN)
        elif isinstance(event, NotKept):
            self._add(event.key.digest, UNKNOWN, NOT_KEPT)

    def after_fork(self) -> None:
        """Leave the parent's records to the parent, and its file, too."""
        self._lock = threading.RLock()
        self._buffer = bytearray()
        self.path = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _add(self, digest: bytes, cost: float, size: float) -> None:
        record = pack(digest, clock.now(), cost, size)
        with self._lock:
            if self.path is None and self._failed is None:
                self._settle()
            if self._failed is not None:  # another thread's call was under way when recording ended
                return
            self._buffer += record
            if len(self._buffer) >= BUFFER or clock.ticks() >= self._due:
                self._write()

    def _settle(self) -> None:
        """Go on in a file of this process's own, which was forked."""
        try:
            self.path = _create(self._asked)
        except (ConfigurationError, OSError) as error:
            self._give_up(error)
        self._stop_at_exit()

    def _stop_at_exit(self) -> None:
        atexit.register(self.stop)
        if "multiprocessing.util" in sys.modules:  # whose forked children run none of atexit's
            from multiprocessing import parent_process, util

            if parent_process() is not None:
                util.Finalize(None, self.stop, exitpriority=0)

    def _write(self) -> None:
        """Append the buffer. The file is open for no longer than that, so that nobody inherits it."""
        self._due = clock.ticks() + PAUSE
        data, self._buffer = self._buffer, bytearray()
        if self.path is None or not data:
            return
        try:
            with self.path.open("ab") as file:
                file.write(data)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._failed = error
        self._hooked.close()
        message = f"nothing more is recorded to {self.path or self._asked}: {error}"
        warn(message)


def _create(asked: Path) -> Path:
    """Make a trace without records, at ``asked`` or beside it, readable by this user alone.

    Raises:
        ConfigurationError: there can be no file.
        OSError: there is no room for one now.
    """
    path = asked
    while True:
        try:
            _begin(path)
        except FileExistsError as error:
            if asked.is_dir():
                raise _no_place(asked, "it is a folder") from error
            path = asked.with_name(f"{asked.name}.{os.getpid()}-{os.urandom(4).hex()}")
        else:
            return path


def _begin(path: Path) -> None:
    """Make a file with a header; leave none where the header cannot be written."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno in _EXHAUSTED:
            raise
        raise _no_place(path, error.strerror or str(error)) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(HEADER)
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()
        raise


def _no_place(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"no trace can be written to {path}: {why}; "
        "give MLCACHE_TRACE a file in a folder that is there and can be written to"
    )


_running: dict[str, Recorder] = {}
_starting = threading.Lock()


def record_to(path: str) -> None:
    """Record all calls of this process to ``path`` from now on; once, however often this is said.

    Raises:
        ConfigurationError: no file can be made there.
    """
    with _starting:
        if path not in _running:
            _running[path] = Recorder(path)
            _running[path].start()


def stop_all() -> None:
    """End what ``record_to`` began."""
    with _starting:
        while _running:
            _running.popitem()[1].stop()
