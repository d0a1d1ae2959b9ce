"""What a cached function tells of itself."""

from __future__ import annotations

from typing import NamedTuple


class CacheInfo(NamedTuple):
    """What a cached function has done so far. The first four are those of ``functools.lru_cache``.

    ``hits`` are answers from a tier, ``misses`` computations. ``maxsize`` and ``max_bytes``
    bound the nearest tier, None where there is no bound; ``currsize`` is the number of this
    function's entries in it, kept exceptions among them, ``bytes`` its size with all who share it.
    ``coalesced`` calls waited for another one's computation, ``bypasses`` went past the cache,
    ``not_kept`` values were delivered only, ``errors`` are failures of tiers and of the functions
    ``ttl`` and ``when``, ``stale`` answers past their time.
    """

    hits: int
    misses: int
    maxsize: int | None
    currsize: int
    max_bytes: int | None
    bytes: int
    coalesced: int
    bypasses: int
    not_kept: int
    errors: int
    stale: int
