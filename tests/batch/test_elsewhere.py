"""Batches some of whose items another process computes, which tells when it is done."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mlcache import clock, ml_cache
from mlcache.backends.memory import Lru
from mlcache.entry import Entry, Key


class Leases(Lru):
    """A store with locks, which tell who was refused when they are free."""

    def __init__(self) -> None:
        super().__init__(max_bytes=1 << 20)
        self.held: set[Key] = set()
        self.awaited = threading.Event()
        self.freed = threading.Event()

    def __ml_cache_key__(self) -> str:
        return "leases"

    def lock(self, key: Key) -> Lease:
        return Lease(self, key)


class Lease:
    """The lock of a key: the first try does not wait, and the second does."""

    def __init__(self, store: Leases, key: Key) -> None:
        self._store = store
        self._key = key
        self._refused = False

    def acquire(self) -> bool:
        if self._refused:
            self._store.awaited.set()
            assert self._store.freed.wait(20)
        self._refused = self._key in self._store.held
        if not self._refused:
            self._store.held.add(self._key)
        return not self._refused

    def release(self) -> None:
        self._store.held.discard(self._key)


@pytest.mark.parametrize("on_loop", [False, True], ids=["thread", "loop"])
@pytest.mark.parametrize("brings", [True, False], ids=["answer", "nothing"])
def test_who_waits_for_another_process_is_told_when_it_is_done(*, on_loop: bool, brings: bool) -> None:
    store, calls = Leases(), list[list[str]]()

    @ml_cache(backend=store, batch="texts")
    def upper(texts: list[str]) -> list[str]:
        calls.append(texts)
        return [text.upper() for text in texts]

    keys: Any = upper.cache_key(["a"])
    store.held.add(keys[0])
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(lambda: asyncio.run(upper.aio(["a", "b"])) if on_loop else upper(["a", "b"]))
        assert store.awaited.wait(20)
        if brings:
            store.put(keys[0], Entry((b"list", "theirs"), clock.now()))
        store.held.clear()
        store.freed.set()
        assert asked.result(20) == ["theirs" if brings else "A", "B"]
    assert calls == ([["b"]] if brings else [["b"], ["a"]])
    assert not store.held
