"""The index of a cache folder, asked for many entries at once: one statement for them, or one transaction.

This module imports diskcache, so nobody imports it before a cache folder is opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import diskcache.core
from diskcache.core import MODE_RAW

from mlcache.backends.index import Index, whole
from mlcache.backends.mapped import MappedFile

AT_ONCE = 500
"""Keys in one statement: SQLite may be built to take no more than 999 variables."""

Row = tuple[bytes, bytes, float | None, str]
"""The arguments of ``Index.keep``: a digest, a frame, the seconds after which it may go, and a tag."""

_FIND = "SELECT key, rowid, mode, filename, value FROM Cache WHERE raw = 1 AND key IN ({})"
_FIND_LIVE = (
    "SELECT key, rowid, filename FROM Cache WHERE raw = 1 AND (expire_time IS NULL OR expire_time > ?)"
    " AND key IN ({})"
)
_FIND_ANY = "SELECT key, rowid, filename FROM Cache WHERE raw = 1 AND key IN ({})"
_DELETE = "DELETE FROM Cache WHERE rowid IN ({})"


class ManyIndex(Index):
    """``Index``, of which many entries can be had, kept or deleted in about the time of a few."""

    def frames(self, digests: Sequence[bytes]) -> list[bytes | MappedFile | Exception | None]:
        """By digest, what ``frame`` gives, or in its place the error of reading its file."""
        found: dict[bytes, Any] = {}
        for some in _parts(digests):
            for digest, mode, filename, value in self._looked_up(some):
                raw = type(value) is bytes and mode == MODE_RAW  # as in ``frame``
                found[digest] = value if raw else self._fetched(digest, mode, filename, value)
        return [found.get(digest) for digest in digests]

    @whole
    def _looked_up(self, digests: Sequence[bytes]) -> list[tuple[bytes, Any, Any, Any]]:
        rows = self._con.execute(_FIND.format(_marks(digests)), digests).fetchall()
        if rows and self._policy["get"] is not None:
            self._note_use([rowid for _, rowid, *_ in rows])
        return [(bytes(key), *about) for key, _, *about in rows]

    def _fetched(self, digest: bytes, mode: int, filename: str | None, value: object) -> Any:
        try:
            return self._disk.fetch(mode, filename, value, read=False)
        except FileNotFoundError:  # evicted since, or replaced
            return self.frame(digest)
        except Exception as error:  # noqa: BLE001 - that of one item
            return error

    @whole
    def keep_many(self, rows: Sequence[Row]) -> list[bool]:
        """``keep``, of many; by row, whether there is room for it. No more than ``AT_ONCE`` of them.

        Where nothing is evicted and there is no room for all, each is tried by itself: the small ones may
        have room where a large one has none.
        """
        size = sum(len(data) for _, data, *_ in rows)
        if self._policy["cull"] is None and self.volume() + size > self._max_bytes:
            return [self.keep(*row) for row in rows]
        self._store({row[0]: row for row in rows})
        refused: set[bytes] = set()
        for digest, *_ in reversed(rows):
            if self._fits(digest):
                break
            self.delete(digest)
            refused.add(digest)
        return [row[0] not in refused for row in rows]

    def _store(self, rows: dict[bytes, Row]) -> None:
        """Write rows in one transaction; their files before it, so that it holds nobody up for long."""
        now = _now()
        files: list[str] = []
        try:
            columns = [self._columns(row, now, files) for row in rows.values()]
            with self._transact() as (sql, cleanup):
                there = sql(_FIND_ANY.format(_marks(rows)), tuple(rows)).fetchall()
                old = {bytes(key): rowid for key, rowid, _ in there}
                for digest, values in zip(rows, columns, strict=True):
                    if digest in old:
                        self._row_update(old[digest], now, values)
                    else:
                        self._row_insert(digest, True, now, values)  # noqa: FBT003 - diskcache's
                for _, _, filename in there:
                    cleanup(filename)
                self._cull(now, sql, cleanup, limit=self.cull_limit * len(rows))
        except BaseException:
            for filename in files:
                self._disk.remove(filename)
            raise

    def _columns(self, row: Row, now: float, files: list[str]) -> tuple[Any, ...]:
        """What diskcache writes of a row; a file that was written for it is added to ``files``."""
        digest, data, expire, tag = row
        size, mode, filename, value = self._disk.store(data, False, key=digest)  # noqa: FBT003
        if filename is not None:
            files.append(filename)
        return None if expire is None else now + expire, tag, size, mode, filename, value

    @whole
    def delete_many(self, digests: Sequence[bytes]) -> list[bool]:
        """``delete``, of many; by digest, whether there was anything."""
        gone: dict[bytes, bool] = {}
        for some in _parts(digests):
            with self._transact() as (sql, cleanup):
                now = _now()
                rows = sql(_FIND_LIVE.format(_marks(some)), (now, *some)).fetchall()
                for _, _, filename in rows:
                    cleanup(filename)
                sql(_DELETE.format(_marks(rows)), [rowid for _, rowid, _ in rows])
            gone.update((bytes(key), True) for key, *_ in rows)
        return [gone.pop(digest, False) for digest in digests]


def _parts(digests: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Distinct digests, no more at a time than a statement takes."""
    distinct = list(dict.fromkeys(digests))
    return (distinct[start : start + AT_ONCE] for start in range(0, len(distinct), AT_ONCE))


def _now() -> float:
    """The time by diskcache's own clock, by which its rows expire."""
    return float(diskcache.core.time.time())


def _marks(values: Iterable[object]) -> str:
    return ",".join("?" for _ in values)
