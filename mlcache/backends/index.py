"""The index of a cache folder: diskcache's, made such that it knows bytes alone and lets go of its file.

This module imports diskcache, so nobody imports it before a cache folder is opened.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from io import FileIO
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import diskcache
from diskcache.core import EVICTION_POLICY, MODE_BINARY, MODE_RAW, UNKNOWN

from mlcache import clock
from mlcache.backends.concurrent import ConcurrentCache
from mlcache.backends.filelocks import one_at_a_time
from mlcache.backends.mapped import MappedFile, read_file
from mlcache.backends.orphans import remove_orphans

LOOKS = 3
"""How often to look for a value that others replace at the same time."""

BATCH = 1000
"""How many entries to evict at most while nobody else can write."""

MOST_SPARE = 4 * 2**20
"""Bytes to evict at most beyond what has to be, so that not every write has to evict."""


class BytesDisk(diskcache.Disk):  # type: ignore[misc] # diskcache has no types
    """Never pickles and never unpickles."""

    mapping = True
    """Whether large files may be mapped into memory."""

    def put(self, key: bytes) -> Any:
        """A key as it stands in the table."""
        return key, True

    def get(self, key: bytes, raw: bool) -> bytes:  # noqa: ARG002, FBT001 - diskcache's signature
        """A key from the table."""
        return bytes(key)

    def store(self, value: bytes, read: bool, key: Any = UNKNOWN) -> Any:  # noqa: ARG002, FBT001
        """The columns of a value. diskcache itself writes a file line by line, as if it were text."""
        if len(value) < self.min_file_size:
            return 0, MODE_RAW, None, value
        filename, path = self.filename()
        self._write(path, [value], "xb")
        return len(value), MODE_BINARY, filename, None

    def _write(self, full_path: str, iterator: Any, mode: str, encoding: str | None = None) -> Any:
        try:
            return super()._write(full_path, iterator, mode, encoding)
        except BaseException:  # a disk that is full must not stay so for files that no row knows of
            Path(full_path).unlink(missing_ok=True)
            raise

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> Any:  # noqa: ARG002, FBT001
        """The bytes of a row; None for a row that holds none.

        Raises:
            FileNotFoundError: its file was removed since.
        """
        if mode == MODE_RAW:
            return value if isinstance(value, bytes) else None
        if mode != MODE_BINARY or not _is_ours(filename):
            return None
        return read_file(f"{self._directory}/{filename}", mapping=self.mapping)

    def remove(self, file_path: str) -> None:
        if _is_ours(file_path):
            super().remove(file_path)


def _is_ours(filename: object) -> bool:
    """Whether it is a name that diskcache gives, and so within the folder: rows may say anything."""
    return isinstance(filename, str) and _FILE.fullmatch(filename) is not None


_FILE = re.compile(r"[0-9a-f]{2}[/\\][0-9a-f]{2}[/\\][0-9a-f]{28}\.val")

_FIND = "SELECT rowid, mode, filename, value FROM Cache WHERE key = ? AND raw = 1"
_SIZE = "size + ifnull(length(value), 0)"
_ABOUT = (
    f"SELECT tag, key, {_SIZE}, mode, filename, substr(value, 1, ?) FROM Cache"  # noqa: S608 - a constant
    " WHERE raw = 1 AND typeof(key) = 'blob' AND tag = ?"
)
_ABOUT_ALL = _ABOUT.replace("tag =", "typeof(tag) =")


P = ParamSpec("P")
R = TypeVar("R")
Self = TypeVar("Self", bound="Index")


def whole(operation: Callable[Concatenate[Self, P], R]) -> Callable[Concatenate[Self, P], R]:
    """``operation``, during which nobody closes the connection of this thread."""

    @wraps(operation)
    def held(index: Self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with index.connections.own():
            return operation(index, *args, **kwargs)

    return held


class Index(ConcurrentCache):
    """diskcache with listing by tag, and a bound that is kept.

    diskcache's own eviction removes ten entries at a time, whatever their size, which may be all there
    are, or too few. So it is told that there is none, and this one removes as many bytes as it must.

    The file of the index is not mapped into memory: if somebody truncates a mapped file, reading it is
    no error but a signal that ends the process.

    Args:
        directory: the folder.
        max_bytes: bound on the index and the files together.
        policy: the name of one of diskcache's eviction policies.
        mapping: whether large files may be mapped into memory.
    """

    _disk: Any
    cull_limit: int

    def __init__(self, directory: Path, max_bytes: int, policy: str, *, mapping: bool) -> None:
        self._max_bytes = max_bytes
        self._policy: Mapping[str, str | None] = EVICTION_POLICY[policy]
        settings = {"eviction_policy": "none", "cull_limit": 10, "tag_index": True, "sqlite_mmap_size": 0}
        try:
            super().__init__(directory, disk=BytesDisk, **settings)
            self._disk.mapping = mapping
            if self._policy["init"] is not None:
                self._sql(self._policy["init"])
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, directory: Path, max_bytes: int, policy: str, *, mapping: bool) -> Index:
        """The index in ``directory``, while no other process opens it."""
        with one_at_a_time(directory):
            index = cls(directory, max_bytes, policy, mapping=mapping)
            remove_orphans(directory, index.files)
            return index

    delete: Any = whole(diskcache.Cache.delete)
    evict: Any = whole(diskcache.Cache.evict)
    volume: Any = whole(diskcache.Cache.volume)
    __len__: Any = whole(diskcache.Cache.__len__)

    def frame(self, digest: bytes) -> bytes | MappedFile | None:
        """The bytes under ``digest``, expired or not: the verdict is passed elsewhere."""
        own = self.connections.own()
        for _ in range(LOOKS):
            with own:
                row = (own.connection or self._con).execute(_FIND, (digest,)).fetchone()
                if row is None:
                    return None
                rowid, mode, filename, value = row
                if self._policy["get"] is not None:
                    self._note_use([rowid])
            if type(value) is bytes and mode == MODE_RAW:  # as ``fetch`` would say, but most hits come here
                return value
            try:
                found: bytes | MappedFile | None = self._disk.fetch(mode, filename, value, read=False)
            except FileNotFoundError:  # evicted since, or replaced
                continue
            return found
        return None

    @whole
    def keep(self, digest: bytes, data: bytes, expire: float | None, tag: str) -> bool:
        """Keep ``data`` under ``digest``, and evict what has no room beside it.

        Args:
            digest: in place of what was there.
            data: a frame.
            expire: seconds after which it may be removed; None: never.
            tag: what it is listed by.

        Returns:
            Whether there is room for it. If not, nothing is under ``digest`` any more.
        """
        self.set(digest, data, expire=expire, tag=tag)
        if self._fits(digest):
            return True
        self.delete(digest)
        return False

    def _fits(self, newest: bytes) -> bool:
        """Evict until the bound is held, but not ``newest``; False if it still is not."""
        while self.volume() > self._max_bytes:
            if not self._make_room(newest):
                return False
        return True

    @whole
    def files(self) -> list[str]:
        """The files of all entries, as paths within the folder."""
        return [str(name) for (name,) in self._sql("SELECT filename FROM Cache WHERE filename IS NOT NULL")]

    @whole
    def digests(self, tag: str) -> list[bytes]:
        """The keys with this tag."""
        found = self._sql("SELECT key FROM Cache WHERE tag = ? AND raw = 1 AND typeof(key) = 'blob'", (tag,))
        return [bytes(key) for (key,) in found]

    @whole
    def number_of(self, tag: str) -> int:
        """How many keys have this tag."""
        ((number,),) = self._sql("SELECT COUNT(*) FROM Cache WHERE tag = ?", (tag,)).fetchall()
        return int(number)

    def beginnings(self, tag: str | None, length: int) -> Iterator[tuple[str, bytes, int, bytes]]:
        """Of each entry with this tag, or of all: its tag, key and size, and its first ``length`` bytes."""
        asked = (length, "text") if tag is None else (length, tag)
        for *about, mode, filename, beginning in self._rows(_ABOUT_ALL if tag is None else _ABOUT, asked):
            if mode == MODE_RAW and isinstance(beginning, bytes):
                yield *about, beginning
            elif mode == MODE_BINARY and _is_ours(filename):
                with suppress(FileNotFoundError), FileIO(f"{self._directory}/{filename}") as file:
                    yield *about, file.read(length)

    @whole
    def _rows(self, statement: str, given: tuple[Any, ...]) -> list[Any]:
        return list(self._sql(statement, given))

    def _note_use(self, rowids: Sequence[int]) -> None:
        """Write down that entries were used, if that can be done: an answer is worth more than its rank."""
        use = str(self._policy["get"]).format(now=clock.now())
        marks = ",".join("?" * len(rowids))
        with suppress(sqlite3.OperationalError), self._in_time():
            self._sql(f"UPDATE Cache SET {use} WHERE rowid IN ({marks})", rowids)  # noqa: S608 - diskcache's words

    def _make_room(self, newest: bytes) -> bool:
        """Remove what goes first, but not ``newest``; False if there is nothing to remove."""
        with self.transact():
            excess = self.volume() - self._max_bytes
            if excess <= 0:  # another process was faster
                return True
            leaving = self._first_to_go(excess + min(self._max_bytes // 100, MOST_SPARE), newest)
            self._con.executemany("DELETE FROM Cache WHERE rowid = ?", [(rowid,) for rowid, _ in leaving])
        for _, filename in leaving:
            self._disk.remove(filename)
        return bool(leaving)

    def _first_to_go(self, wanted: int, newest: bytes) -> list[tuple[int, Any]]:
        """Row and file of those to remove for ``wanted`` bytes, at most a batch of them."""
        leaving: list[tuple[int, Any]] = []
        if self._policy["cull"] is None:
            return leaving
        fields = f"rowid, key, filename, {_SIZE}"
        rows = self._sql(self._policy["cull"].format(fields=fields, now=clock.now()), (BATCH + 1,))
        for rowid, key, filename, size in rows:
            if wanted <= 0:
                break
            if key != newest:
                leaving.append((rowid, filename))
                wanted -= size
        return leaving
