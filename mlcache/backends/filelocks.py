"""Locks for keys, as files in a folder, which the operating system frees when their holder dies."""

from __future__ import annotations

import errno
from contextlib import suppress
from pathlib import Path

import xxhash
from filelock import FileLock, Timeout

from mlcache.backends.folders import FileId, file_id
from mlcache.entry import Key

OPENING = 30.0
"""Seconds to wait for other processes that open the same folder."""


def one_at_a_time(folder: Path) -> FileLock:
    """What a process holds while it opens the index in ``folder``.

    SQLite answers that the file is locked, without waiting, to whoever connects while another one
    switches it to its write-ahead log.
    """
    return FileLock(folder / "opening.lock", timeout=OPENING, mode=0o600)


class KeyLock:
    """The lock of one key.

    Its file is removed while it is held, so that the folder does not fill up with one for every
    key there ever was. Whoever has opened the removed file in the meantime finds, once it gets the
    lock, that the file is no longer the one in the folder, and tries again.

    Who invalidates the key, or clears its namespace, removes the file, too. So others need not wait for an
    answer that rests on older facts, and its holder finds at the end that it is not the one in the folder.

    Args:
        file: in a folder that exists.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        # Not the thread's own: on an event loop, one thread may take it and another let go of it.
        self._lock = FileLock(file, thread_local=False, mode=0o600)
        self._id: FileId = None

    def acquire(self) -> bool:
        """Take it, if nobody holds it, without waiting; whether we may go on.

        Where no file can be written there is no lock, and nobody is held back: the write that
        follows will say what is wrong.

        Raises:
            OSError: there can be no more open files; nothing else would say so.
        """
        try:
            self._lock.acquire(blocking=False)
            self._id = file_id(self._file)
        except Timeout:
            return False
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise
        return True

    def superseded(self) -> bool:
        """Whether somebody else has taken its file out of the folder."""
        return self._lock.is_locked and file_id(self._file) != self._id

    def release(self) -> bool:
        """Let go of it; whether the key was invalidated meanwhile. It is no error not to hold it."""
        if not self._lock.is_locked:
            return False
        superseded = self.superseded()
        if not superseded:
            supersede(self._file)
        self._lock.release()
        return superseded


def supersede(file: Path) -> None:
    """Take a lock's file out of the folder, and so the lock from its holder, if it has one."""
    with suppress(OSError):
        file.unlink()


def supersede_all(folder: Path, namespace: str) -> None:
    """The same for all keys of a namespace. Only of those that are held there are files."""
    for file in folder.glob(f"{_tag(namespace)}-*"):
        supersede(file)


def lock_file(folder: Path, key: Key) -> Path:
    """The file that is the lock of a key; its name begins with what stands for the namespace."""
    return folder / f"{_tag(key.namespace)}-{key.digest.hex()}.lock"


def _tag(namespace: str) -> str:
    return xxhash.xxh3_64_hexdigest(namespace.encode())
