"""Replaying a workload through a store, as the cached functions of a service would use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mlcache import clock
from mlcache.entry import Entry, Key
from mlcache.errors import EntryTooLargeError
from mlcache.trace.workload import Workload

Hits = NDArray[np.bool_]


class Store(Protocol):
    """What is replayed through: the stores in memory, which the cache itself uses, are such."""

    overhead: int
    find: Callable[[bytes], Entry | None]
    touch: Callable[[bytes], object]

    def put(self, key: Key, entry: Entry) -> None:
        """Keep an entry, and evict others for it."""
        ...


def replay(workload: Workload, store: Store, ttl: float | None = None) -> Hits:
    """Of each call, whether the store had the answer; what it had not is computed and kept.

    Args:
        workload: the calls.
        store: empty, and nobody else's.
        ttl: seconds for which an answer may be used; None: for ever. The clock of this process shows the
            time of the calls meanwhile, so let nothing else in it run that reads it.
    """
    keys = [Key("", number.to_bytes(16, "big")) for number in range(len(workload.costs))]
    numbers = workload.keys.tolist()
    if ttl is None:
        return _replay_lasting(workload, keys, numbers, store)
    return _replay_expiring(workload, keys, numbers, store, ttl)


def _replay_lasting(workload: Workload, keys: list[Key], numbers: list[int], store: Store) -> Hits:
    entries = [
        Entry(None, 0.0, cost=cost, size=size)
        for cost, size in zip(workload.costs.tolist(), workload.sizes.tolist(), strict=True)
    ]
    find, touch = store.find, store.touch
    hits = bytearray(len(numbers))
    for place, number in enumerate(numbers):
        digest = keys[number].digest
        if find(digest) is None:
            _keep(store, keys[number], entries[number])
        else:
            touch(digest)
            hits[place] = 1
    return np.frombuffer(hits, dtype=np.bool_)


def _replay_expiring(
    workload: Workload, keys: list[Key], numbers: list[int], store: Store, ttl: float
) -> Hits:
    costs, sizes = workload.costs.tolist(), workload.sizes.tolist()
    hits = bytearray(len(numbers))
    with _simulated() as time:
        for place, (number, at) in enumerate(zip(numbers, workload.times.tolist(), strict=True)):
            time[0] = at
            key = keys[number]
            entry = store.find(key.digest)
            if entry is not None and at < entry.fresh_until:
                store.touch(key.digest)
                hits[place] = 1
                continue
            if entry is not None:  # which the cache looks at twice: before it leads the flight, and then
                store.touch(key.digest)
                store.touch(key.digest)
            until = at + ttl
            _keep(store, key, Entry(None, at, until, until, costs[number], sizes[number]))
    return np.frombuffer(hits, dtype=np.bool_)


def _keep(store: Store, key: Key, entry: Entry) -> None:
    try:
        store.put(key, entry)
    except EntryTooLargeError:
        return


@contextmanager
def _simulated() -> Iterator[list[float]]:
    """A clock that shows what stands in the list, in place of the real one."""
    time = [0.0]
    real, clock.now = clock.now, lambda: time[0]
    try:
        yield time
    finally:
        clock.now = real
