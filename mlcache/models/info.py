"""What a cache of models holds, and what it has done."""

from __future__ import annotations

from typing import NamedTuple

from mlcache.events import Counter


class ModelCacheInfo(NamedTuple):
    """What a ``CachedModelRepository`` holds, and what it has done so far.

    ``models`` and ``bytes`` count what is in memory, with what is being loaded or closed; ``leased`` of
    them are in use. ``hits`` are leases on a model that was there, ``coalesced`` those that waited for
    another one's load, ``loads`` loads that succeeded, ``failures`` those that did not. ``evictions`` made
    room, ``idle`` models went because nobody used them, ``refreshes`` were replaced by newer versions, and
    ``check_failures`` looks at a version failed. ``churn`` counts loads that brought back an evicted model:
    with more room they were not needed.
    """

    models: int
    bytes: int
    max_models: int | None
    max_bytes: int
    leased: int
    hits: int
    coalesced: int
    loads: int
    failures: int
    idle: int
    refreshes: int
    check_failures: int
    evictions: int
    churn: int


class Tally:
    """The counters that threads add to."""

    __slots__ = ("coalesced", "failures", "hits", "idle", "loads")

    def __init__(self) -> None:
        self.hits = Counter()
        self.coalesced = Counter()
        self.loads = Counter()
        self.failures = Counter()
        self.idle = Counter()
