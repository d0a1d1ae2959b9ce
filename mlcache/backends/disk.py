"""Frames in a folder, shared by all processes of one user, on diskcache.

diskcache keeps its index in SQLite, small frames there and large ones in files of their own,
which are only ever replaced whole. It would also pickle and unpickle what is not bytes, from a
folder that others may have written to; ours, in ``index``, knows bytes alone, and takes a row of
any other kind for a miss.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator
from typing import Any, ClassVar, Literal, TypeVar

from mlcache import clock
from mlcache.backends.address import DISK_BYTES, Address, Defaults, Opener, a_compression, a_size
from mlcache.backends.disk_many import ManyFrames, a_row
from mlcache.backends.filesystems import shared_kind
from mlcache.backends.folders import FileId, absolute, claim, default_directory, file_id
from mlcache.backends.listing import Head
from mlcache.backends.mapped import MappedFile, Verified
from mlcache.backends.protocol import Decode, Usage
from mlcache.codec.protocol import HEAD_BYTES
from mlcache.entry import Key
from mlcache.errors import BackendError, ConfigurationError, EntryTooLargeError, MissingExtraError
from mlcache.units import show_size
from mlcache.warning import warn

T = TypeVar("T")

FILE = "cache.db"
"""Where diskcache has its tables."""

RETRY_AFTER, RATIO = 5.0, 5.0
"""Seconds for which a folder that could not be opened is left alone, or so many times what trying it took."""

POLICIES = ("least-recently-stored", "least-recently-used", "least-frequently-used", "none")
"""What goes first when there is no more room: the names are diskcache's."""


class Disk(ManyFrames):
    """Keeps frames in a folder, bounded in bytes; large ones are read back as maps into memory.

    The folder is made at first use, for its owner alone (0700), and again if it was removed meanwhile.

    Args:
        directory: the folder.
        max_bytes: bound on its size. It is held by evicting at each write, so it may be
            exceeded for a moment.
        policy: what is evicted first, one of ``POLICIES``. Those that go by use write at each
            lookup. With ``"none"``, nothing is evicted before it has expired, and what has no
            room is refused.
        compress: compress frames; what is compressed has to be expanded rather than mapped.

    Raises:
        ConfigurationError: there is no such policy, or no working directory that the folder is relative to.
        MissingExtraError: diskcache or filelock is not installed.
    """

    name = "disk"
    holds: ClassVar[Literal["bytes"]] = "bytes"
    blocking = True

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        max_bytes: int,
        policy: str = POLICIES[0],
        compress: bool = False,
    ) -> None:
        self.directory = absolute(directory)
        self.compress = compress
        self._max_bytes = max_bytes
        self._policy = a_policy(policy, "policy")
        self._verified = Verified()
        self._shared_kind: str | None = None
        self._is_new = True
        self._file = self.directory / FILE
        self._locks = self.directory / "locks"
        self._opened: tuple[Any, FileId] | None = None
        self._failure: tuple[float, str] | None = None
        self._lock = threading.Lock()
        _index_class()  # says at once what to install
        _alive.add(self)

    def get(self, key: Key) -> bytes | memoryview | None:
        found: bytes | MappedFile | None = self._asked("frame", key.digest)
        return found.data if isinstance(found, MappedFile) else found

    def get_decoded(self, key: Key, decode: Decode[T]) -> T | None:
        found: bytes | MappedFile | None = self._asked("frame", key.digest)
        return None if found is None else self._decoded(found, decode)

    def _decoded(self, found: bytes | MappedFile, decode: Decode[T]) -> T:
        if not isinstance(found, MappedFile):
            return decode(found, verified=False)
        verified = self._verified.has(found)
        value = decode(found.data, verified=verified)
        if not verified:
            self._verified.note(found)
        return value

    def put(self, key: Key, data: bytes, expires_at: float) -> None:
        if len(data) > self._max_bytes:
            self.delete(key)
            raise self._too_large(data)
        self._index_in_place()
        if not self._asked("keep", *a_row(key, data, expires_at)):
            raise self._too_large(data)

    def delete(self, key: Key) -> bool:
        return bool(self._asked("delete", key.digest))

    def clear(self, namespace: str) -> int:
        from mlcache.backends.filelocks import supersede_all

        supersede_all(self._locks, namespace)
        return int(self._asked("evict", namespace))

    def keys(self, namespace: str) -> Iterator[Key]:
        return (Key(namespace, digest) for digest in self._asked("digests", namespace))

    def count(self, namespace: str) -> int:
        return int(self._asked("number_of", namespace))

    def heads(self, namespace: str | None = None) -> Iterator[Head]:
        for tag, digest, size, data in self._asked("beginnings", namespace, HEAD_BYTES):
            yield Head(Key(tag, digest), size, data)

    def usage(self) -> Usage:
        return Usage(self._asked("__len__"), int(self._asked("volume")), None, self._max_bytes)

    def lock(self, key: Key) -> Any:
        from mlcache.backends.filelocks import KeyLock, lock_file

        try:
            self._index_in_place()  # nothing is written to a folder that is not ours
            self._locks.mkdir(mode=0o700, exist_ok=True)
        except (BackendError, OSError):
            return None  # the write that follows will say what is wrong with the folder
        return KeyLock(lock_file(self._locks, key))

    def supersede(self, key: Key) -> None:
        from mlcache.backends.filelocks import lock_file, supersede

        supersede(lock_file(self._locks, key))

    def close(self) -> None:
        with self._lock:
            self._let_go()

    def _index(self) -> Any:
        opened = self._opened
        return self._index_in_place() if opened is None else opened[0]

    def _asked(self, operation: str, *args: Any) -> Any:
        """What the index answers; asked anew if it failed because somebody removed the folder."""
        index = self._index()
        try:
            return getattr(index, operation)(*args)
        except Exception:
            in_place = self._index_in_place()
            if in_place is index:
                raise
            return getattr(in_place, operation)(*args)

    def _index_in_place(self) -> Any:
        """The index, sure to be that of the file that is in the folder now.

        Somebody may have removed the folder. What is written to a removed file is lost, and a
        lookup there that finds nothing is followed by a write; so it is enough that writes look.
        """
        with self._lock:
            if self._opened is not None and self._opened[1] == file_id(self._file) and not self._is_due():
                return self._opened[0]
            return self._open()

    def _is_due(self) -> bool:
        """Whether a folder that could not be written is to be tried again."""
        return self._failure is not None and clock.now() >= self._failure[0]

    def _open(self) -> Any:
        if self._failure is not None and clock.now() < self._failure[0]:
            raise BackendError(self._failure[1])
        self._let_go()
        started = clock.ticks()
        try:
            claim(self.directory)
            index = self._open_index()
        except Exception as error:
            reason = f"the cache folder {self.directory} cannot be used: {error}"
            pause = max(RETRY_AFTER, RATIO * (clock.ticks() - started))
            self._failure = (clock.now() + pause, reason)
            raise BackendError(reason) from error
        self._opened = (index, file_id(self._file))
        return index

    def _open_index(self) -> Any:
        mapping = not self._is_shared()
        try:
            index = _index_class().open(self.directory, self._max_bytes, self._policy, mapping=mapping)
        except Exception as error:
            from mlcache.backends.readonly import ReadOnlyIndex, is_refusal

            if not (is_refusal(error) and self._file.exists()):
                raise
            self._failure = (clock.now() + RETRY_AFTER, str(error))
            return ReadOnlyIndex(self.directory, mapping=mapping)
        self._failure = None
        return index

    def _is_shared(self) -> bool:
        """Whether other hosts may use the folder; a warning, once, if so."""
        if self._is_new:
            self._is_new = False
            self._shared_kind = shared_kind(self.directory)
            if self._shared_kind is not None:
                warn(
                    f"the cache folder {self.directory} is on {self._shared_kind}, a file system for several "
                    "hosts, on which SQLite can fail or lose entries: keep it on a disk of this machine "
                    "(MLCACHE_DIR), and share entries between hosts by Redis"
                )
        return self._shared_kind is not None

    def _too_large(self, data: bytes) -> EntryTooLargeError:
        return EntryTooLargeError(
            f"an entry of {show_size(len(data))} does not fit into the {show_size(self._max_bytes)} "
            f"of {self.name}: raise max_bytes or MLCACHE_MAX_BYTES"
        )

    def _let_go(self) -> None:
        if self._opened is not None:
            self._opened[0].close()
            self._opened = None

    def after_fork(self) -> None:
        """Open anew in a forked child, which must neither use nor close the connections of its parent."""
        self._lock = threading.Lock()
        if self._opened is not None:
            _inherited.append(self._opened[0])
            self._opened = None

    def __repr__(self) -> str:
        return f"<disk: {self.directory}, at most {show_size(self._max_bytes)}>"


def a_policy(text: str, what: str) -> str:
    """Check the name of a policy."""
    if text not in POLICIES:
        raise ConfigurationError(f"{what} is {text!r}: give one of {', '.join(POLICIES)}")
    return text


def _index_class() -> type[Any]:
    try:
        from mlcache.backends.index_many import ManyIndex
    except ImportError as error:
        package = (error.name or "diskcache").partition(".")[0]
        raise MissingExtraError("backend 'disk'", package, "disk") from None
    return ManyIndex


_alive: weakref.WeakSet[Disk] = weakref.WeakSet()
_inherited: list[Any] = []
"""Indexes of the parent of a forked child, kept so that nothing closes their connections."""


def _after_fork() -> None:
    for store in _alive:
        store.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _open(address: Address, defaults: Defaults) -> Disk:
    directory = address.location or defaults.directory or default_directory()
    return Disk(
        directory,
        max_bytes=address.size("max_bytes", defaults.max_bytes or DISK_BYTES),
        policy=address.option("policy") or POLICIES[0],
        compress=address.option("compress") is not None,
    )


_OPTIONS = {"max_bytes": a_size, "policy": a_policy, "compress": a_compression}
OPENERS = {"disk": Opener(_open, _OPTIONS, located=True, folder=True)}
