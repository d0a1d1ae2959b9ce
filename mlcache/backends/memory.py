"""Entries in the memory of this process, bounded in bytes and in number."""

from __future__ import annotations

import os
import threading
import weakref
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from mlcache.backends.address import MEMORY_BYTES, Address, Defaults, Opener, a_count, a_size
from mlcache.backends.protocol import Usage
from mlcache.entry import Entry, Key
from mlcache.errors import ConfigurationError, EntryTooLargeError
from mlcache.units import show_size

if TYPE_CHECKING:
    from mlcache.backends.listing import Description

USES_REMEMBERED = 1024
"""How many uses between two writes a policy that counts them can tell apart from no use."""


class Memory:
    """What all stores in memory share; a policy adds what is evicted first.

    A lookup takes no lock: ``find`` and ``touch`` are single steps of C, and an entry evicted
    between the two is still a right answer. Writing takes one, and makes room before it adds,
    so the bounds hold at every moment.

    Args:
        max_bytes: bound on the entries' sizes together, with what keeping them takes.
        max_items: bound on their number; None: no bound.

    Raises:
        ConfigurationError: a bound is not above zero.
    """

    name: str
    holds: ClassVar[Literal["entries"]] = "entries"
    blocking = False
    overhead: int
    """Bytes that keeping an entry takes beside its value: the entry, its key, its places in the tables."""
    touch: Callable[[bytes], Any]

    def __init__(self, *, max_bytes: int, max_items: int | None = None) -> None:
        for what, bound in (("max_bytes", max_bytes), ("max_items", max_items)):
            if bound is not None and bound <= 0:
                raise ConfigurationError(f"{what} is {bound!r}: it must be above zero")
        self._max_bytes = max_bytes
        self._max_items = max_items
        self._bytes = 0
        self._entries = self._new_table()
        self._keys: dict[bytes, Key] = {}
        self._counts: Counter[str] = Counter()
        self._lock = threading.RLock()  # a value's destructor may call a cached function while we evict it
        self.find = self._entries.get
        _alive.add(self)

    def get(self, key: Key) -> Entry | None:
        entry = self.find(key.digest)
        if entry is not None:
            try:  # noqa: SIM105 - contextlib.suppress takes longer than the lookup
                self.touch(key.digest)
            except KeyError:  # evicted since
                pass
        return entry

    def put(self, key: Key, entry: Entry) -> None:
        size = entry.size + self.overhead
        if size > self._max_bytes:
            self.delete(key)
            raise EntryTooLargeError(
                f"a value of {show_size(entry.size)} does not fit into the {show_size(self._max_bytes)} "
                f"of {self.name}: raise max_bytes or MLCACHE_MAX_BYTES"
            )
        with self._lock:
            replaced = self._take(key.digest)
            evicted = self._make_room(size)
            self._entries[key.digest] = entry
            self._keys[key.digest] = key
            self._counts[key.namespace] += 1
            self._bytes += size
            self._admit(key.digest, entry)
        del replaced, evicted  # outside of the lock: destructors of values may do anything

    def delete(self, key: Key) -> bool:
        with self._lock:
            gone = self._drop(key.digest)
        return gone is not None

    def clear(self, namespace: str) -> int:
        with self._lock:
            gone = [self._drop(key.digest) for key in self.keys(namespace)]
        return len(gone)

    def keys(self, namespace: str) -> Iterator[Key]:
        with self._lock:
            found = [key for key in self._keys.values() if key.namespace == namespace]
        return iter(found)

    def entries(self, namespace: str | None = None) -> Iterator[Description]:
        from mlcache.backends.listing import Description  # which only tools need

        with self._lock:
            found = [(key, self._entries[digest]) for digest, key in self._keys.items()]
        for key, entry in found:
            if namespace in (None, key.namespace):
                times = (entry.created, entry.fresh_until, entry.stale_until)
                yield Description(key, entry.size + self.overhead, *times, entry.cost)

    def count(self, namespace: str) -> int:
        return self._counts[namespace]

    def usage(self) -> Usage:
        return Usage(len(self._entries), self._bytes, self._max_items, self._max_bytes)

    def _new_table(self) -> dict[bytes, Entry]:
        return {}

    def _make_room(self, size: int) -> list[Entry | None]:
        """Evict until an entry of ``size`` fits; what was evicted."""
        evicted: list[Entry | None] = []
        while self._entries and not self._has_room(size):
            evicted.append(self._evict())
        return evicted

    def _has_room(self, size: int) -> bool:
        too_many = self._max_items is not None and len(self._entries) >= self._max_items
        return not too_many and self._bytes + size <= self._max_bytes

    def _drop(self, digest: bytes) -> Entry | None:
        """Forget an entry, and what the policy knows of it."""
        entry = self._take(digest)
        if entry is not None:
            self._release(digest)
        return entry

    def _take(self, digest: bytes) -> Entry | None:
        """Take an entry out of the tables that are not the policy's."""
        entry = self._entries.pop(digest, None)
        if entry is not None:
            self._discount(digest, entry)
        return entry

    def _discount(self, digest: bytes, entry: Entry) -> None:
        namespace = self._keys.pop(digest).namespace
        self._counts[namespace] -= 1
        if not self._counts[namespace]:
            del self._counts[namespace]
        self._bytes -= entry.size + self.overhead

    def _admit(self, digest: bytes, entry: Entry) -> None:
        """Note a new entry, or one that has replaced the one under its digest."""

    def _release(self, digest: bytes) -> None:
        """Forget an entry that was deleted."""

    def _evict(self) -> Entry | None:
        """Take out what goes first; None if the policy alone still knew of it."""
        raise NotImplementedError

    def _reset(self) -> None:
        """Forget everything, whatever state the tables are in."""
        self._entries.clear()
        self._keys.clear()
        self._counts.clear()
        self._bytes = 0

    def after_fork(self) -> None:
        """In a forked child: start empty if a thread that is not in the child was writing just then."""
        if not self._lock.acquire(blocking=False):
            self._reset()
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        used = self.usage()
        return f"<{self.name}: {used.items} entries, {show_size(used.bytes)} of {show_size(self._max_bytes)}>"


class Lru(Memory):
    """Keeps what was used last; evicts the least recently used (LRU)."""

    name = "lru"
    overhead = 500
    _entries: OrderedDict[bytes, Entry]

    def __init__(self, *, max_bytes: int, max_items: int | None = None) -> None:
        super().__init__(max_bytes=max_bytes, max_items=max_items)
        self.touch = self._entries.move_to_end

    def _new_table(self) -> OrderedDict[bytes, Entry]:
        return OrderedDict()

    def _evict(self) -> Entry | None:
        # One step of C: between two, a lookup in another thread may change the order.
        digest, entry = self._entries.popitem(last=False)
        self._discount(digest, entry)
        return entry


class Counting(Memory):
    """A store whose policy counts uses.

    A use is written down in one step of C and counted at the next write, before anything is
    evicted. Of more uses than ``USES_REMEMBERED`` between two writes, the last count.
    """

    def __init__(self, *, max_bytes: int, max_items: int | None = None) -> None:
        super().__init__(max_bytes=max_bytes, max_items=max_items)
        self._uses: deque[bytes] = deque(maxlen=USES_REMEMBERED)
        self.touch = self._uses.append

    def _make_room(self, size: int) -> list[Entry | None]:
        for _ in range(len(self._uses)):
            self._used(self._uses.popleft())
        return super()._make_room(size)

    def _used(self, digest: bytes) -> None:
        """Count a use of an entry, which may be gone since."""
        raise NotImplementedError


_alive: weakref.WeakSet[Memory] = weakref.WeakSet()


def _after_fork() -> None:
    """A fork copies locks as they are, and nobody in the child will release one that was held."""
    for store in _alive:
        store.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def opener(kind: type[Memory]) -> Opener:
    """What a module says of the URLs of a store in memory."""

    def open_(address: Address, defaults: Defaults) -> Memory:
        max_items = address.option("max_items")
        return kind(
            max_bytes=address.size("max_bytes", defaults.max_bytes or MEMORY_BYTES),
            max_items=None if max_items is None else int(max_items),
        )

    return Opener(open_, {"max_bytes": a_size, "max_items": a_count})


OPENERS = {"lru": opener(Lru)}
