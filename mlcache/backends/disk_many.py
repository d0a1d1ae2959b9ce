"""Frames in a folder, many at once: one statement for many lookups, one transaction for many writes."""

from __future__ import annotations

import math
import sqlite3
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from mlcache import clock
from mlcache.backends.mapped import MappedFile
from mlcache.backends.one_by_one import one_by_one
from mlcache.backends.protocol import Decode
from mlcache.entry import Key
from mlcache.errors import EntryTooLargeError

T = TypeVar("T")

Item = tuple[Key, bytes, float]
"""The arguments of ``put``."""

MOST_ITEMS, MOST_BYTES = 500, 4 * 2**20
"""How much to write in one transaction, so that others who write wait for no longer than they notice."""


class ManyFrames:
    """The part of ``Disk`` that is about many at once.

    What fails for all, because of a row or an item that SQLite cannot deal with, is tried one by one.
    """

    _max_bytes: int

    @abstractmethod
    def get(self, key: Key) -> bytes | memoryview | None: ...

    @abstractmethod
    def get_decoded(self, key: Key, decode: Decode[T]) -> T | None: ...

    @abstractmethod
    def put(self, key: Key, data: bytes, expires_at: float) -> None: ...

    @abstractmethod
    def delete(self, key: Key) -> bool: ...

    @abstractmethod
    def _asked(self, operation: str, *args: Any) -> Any: ...

    @abstractmethod
    def _index_in_place(self) -> Any: ...

    @abstractmethod
    def _decoded(self, found: bytes | MappedFile, decode: Decode[T]) -> T: ...

    @abstractmethod
    def _too_large(self, data: bytes) -> EntryTooLargeError: ...

    def get_many(self, keys: Sequence[Key]) -> list[Any]:
        try:
            everything = self._asked("frames", [key.digest for key in keys])
        except sqlite3.Error as error:
            return _singly(error, self.get, [(key,) for key in keys])
        return [found.data if isinstance(found, MappedFile) else found for found in everything]

    def get_many_decoded(self, keys: Sequence[Key], decode: Decode[T]) -> list[T | Exception | None]:
        try:
            everything = self._asked("frames", [key.digest for key in keys])
        except sqlite3.Error as error:
            return _singly(error, self.get_decoded, [(key, decode) for key in keys])

        def read(found: bytes | MappedFile | Exception | None) -> T | Exception | None:
            return found if found is None or isinstance(found, Exception) else self._decoded(found, decode)

        return one_by_one(read, [(found,) for found in everything])

    def put_many(self, items: Sequence[Item]) -> list[Exception | None]:
        self._index_in_place()
        return [error for some in self._parts(items) for error in self._put_some(some)]

    def _put_some(self, items: Sequence[Item]) -> list[Exception | None]:
        if len(items) == 1:
            return one_by_one(self.put, items)
        try:
            kept = self._asked("keep_many", [a_row(*item) for item in items])
        except Exception as error:  # noqa: BLE001 - one item can be the cause of it
            return _singly(error, self.put, items)
        return [None if there else self._too_large(item[1]) for item, there in zip(items, kept, strict=True)]

    def _parts(self, items: Sequence[Item]) -> Iterator[Sequence[Item]]:
        """The items, so few at a time that the bound is not exceeded by much until some are evicted."""
        most = min(self._max_bytes // 100, MOST_BYTES)
        begin, size = 0, 0
        for place, (_, data, _) in enumerate(items):
            size += len(data)
            if place > begin and (size > most or place - begin == MOST_ITEMS):
                yield items[begin:place]
                begin, size = place, len(data)
        if items:
            yield items[begin:]

    def delete_many(self, keys: Sequence[Key]) -> list[Any]:
        try:
            return list(self._asked("delete_many", [key.digest for key in keys]))
        except sqlite3.Error as error:
            return _singly(error, self.delete, [(key,) for key in keys])


def a_row(key: Key, data: bytes, expires_at: float) -> tuple[bytes, bytes, float | None, str]:
    """What the index is given of an item."""
    seconds = None if math.isinf(expires_at) else max(expires_at - clock.now(), 0.0)
    return key.digest, data, seconds, key.namespace


def _singly(error: Exception, ask: Callable[..., Any], items: Sequence[tuple[Any, ...]]) -> list[Any]:
    """What ``one_by_one`` gives, unless all are held up by others: each would wait as long as all did."""
    held_up = isinstance(error, sqlite3.OperationalError) and "locked" in str(error)
    return [error] * len(items) if held_up else one_by_one(ask, items)
