"""Entries in the memory of this process, bounded in bytes and in number."""

from __future__ import annotations

import os
import threading
import weakref
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from typing import ClassVar, Literal

from mlcache.backends.address import MEMORY_BYTES, Address, Defaults, Opener, a_count, a_size
from mlcache.backends.protocol import Usage
from mlcache.entry import Entry, Key
from mlcache.errors import ConfigurationError, EntryTooLargeError
from mlcache.units import show_size

OVERHEAD = 600
"""Bytes that keeping an entry takes beside its value: the entry, its key and its places in the tables."""


class Lru:
    """Keeps what was used last; evicts the least recently used (LRU).

    A lookup takes no lock: ``OrderedDict.get`` and ``move_to_end`` are single steps of C,
    and an entry evicted between the two is still a right answer. Writing takes one.

    Args:
        max_bytes: bound on the entries' sizes together.
        max_items: bound on their number; None: no bound.

    Raises:
        ConfigurationError: a bound is not above zero.
    """

    name = "lru"
    holds: ClassVar[Literal["entries"]] = "entries"
    blocking = False

    def __init__(self, *, max_bytes: int, max_items: int | None = None) -> None:
        for what, bound in (("max_bytes", max_bytes), ("max_items", max_items)):
            if bound is not None and bound <= 0:
                raise ConfigurationError(f"{what} is {bound!r}: it must be above zero")
        self._max_bytes = max_bytes
        self._max_items = max_items
        self._bytes = 0
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self._keys: dict[bytes, Key] = {}
        self._counts: Counter[str] = Counter()
        self._lock = threading.RLock()  # a value's destructor may call a cached function while we evict it
        self.find = self._entries.get
        self.touch = self._entries.move_to_end
        _alive.add(self)

    def get(self, key: Key) -> Entry | None:
        entry = self.find(key.digest)
        if entry is not None:
            with suppress(KeyError):  # evicted since
                self.touch(key.digest)
        return entry

    def put(self, key: Key, entry: Entry) -> None:
        size = entry.size + OVERHEAD
        if size > self._max_bytes:
            self.delete(key)
            raise EntryTooLargeError(
                f"a value of {show_size(entry.size)} does not fit into the {show_size(self._max_bytes)} "
                f"of {self.name}: raise max_bytes or MLCACHE_MAX_BYTES"
            )
        with self._lock:
            evicted = [self._remove(key.digest)]
            self._entries[key.digest] = entry
            self._keys[key.digest] = key
            self._counts[key.namespace] += 1
            self._bytes += size
            while self._is_over():
                evicted.append(self._remove(next(iter(self._entries))))
        del evicted  # outside of the lock: destructors of values may do anything

    def delete(self, key: Key) -> bool:
        with self._lock:
            gone = self._remove(key.digest)
        return gone is not None

    def clear(self, namespace: str) -> int:
        with self._lock:
            gone = [self._remove(key.digest) for key in list(self.keys(namespace))]
        return len(gone)

    def keys(self, namespace: str) -> Iterator[Key]:
        with self._lock:
            found = [key for key in self._keys.values() if key.namespace == namespace]
        return iter(found)

    def count(self, namespace: str) -> int:
        return self._counts[namespace]

    def usage(self) -> Usage:
        return Usage(len(self._entries), self._bytes, self._max_items, self._max_bytes)

    def _is_over(self) -> bool:
        too_many = self._max_items is not None and len(self._entries) > self._max_items
        return too_many or self._bytes > self._max_bytes

    def _remove(self, digest: bytes) -> Entry | None:
        entry = self._entries.pop(digest, None)
        if entry is not None:
            namespace = self._keys.pop(digest).namespace
            self._counts[namespace] -= 1
            if not self._counts[namespace]:
                del self._counts[namespace]
            self._bytes -= entry.size + OVERHEAD
        return entry

    def _renew_lock(self) -> None:
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        used = self.usage()
        return f"<{self.name}: {used.items} entries, {show_size(used.bytes)} of {show_size(self._max_bytes)}>"


_alive: weakref.WeakSet[Lru] = weakref.WeakSet()


def _renew_locks() -> None:
    """A fork copies locks as they are, and nobody in the child will release one that was held."""
    for store in _alive:
        store._renew_lock()  # noqa: SLF001 - of this module's own class


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


def _open(address: Address, defaults: Defaults) -> Lru:
    max_items = address.option("max_items")
    return Lru(
        max_bytes=address.size("max_bytes", defaults.max_bytes or MEMORY_BYTES),
        max_items=None if max_items is None else int(max_items),
    )


OPENERS = {"lru": Opener(_open, {"max_bytes": a_size, "max_items": a_count})}
