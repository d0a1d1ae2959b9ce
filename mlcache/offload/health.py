"""Whether a pool does what it is for, as a liveness or readiness probe asks."""

from __future__ import annotations

import msgspec


class Health(msgspec.Struct, frozen=True):
    """How a pool is.

    Args:
        alive: whether it takes calls, and some worker is there or will be.
        ready: whether a worker has loaded its resources, so that a call would be computed at once or
            after others.
        degraded: whether it has fewer workers than asked for, or other trouble.
        reasons: what the trouble is, in words; empty if there is none.
    """

    alive: bool
    ready: bool
    degraded: bool
    reasons: tuple[str, ...]
