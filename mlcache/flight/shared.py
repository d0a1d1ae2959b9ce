"""Flights shared by processes: the lock that a leader holds while it computes.

A backend that several processes use may offer one for a key (``backends.protocol.Locks``).
Where it does, the leader of a local flight takes it before it computes. Who does not get it tries
again and looks into the store from time to time, since the holder may bring the answer before it
lets go, or never let go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from mlcache import clock

SHORTEST, LONGEST, GROWTH = 0.001, 0.025, 1.5
"""Seconds of the first pause between two tries and of the longest one, and the ratio of one to the next."""

WAIT = 60.0
"""Seconds after which who waits for another process computes by itself."""


GRACE = 0.05
"""Seconds that all tries together may take before they count as waiting."""


class Lock(Protocol):
    """A lock that one of all processes holds. It is free again when its holder has died."""

    def acquire(self) -> bool:
        """Take it, if nobody holds it; whether we hold it.

        The first try does not wait. A later one may, for a fraction of a second, where it is told
        when the lock is free.
        """
        ...

    def release(self) -> None:
        """Let go of it. It is no error not to hold it."""


def pauses(limit: float) -> Iterator[float]:
    """How long to pause between one try and the next, in seconds.

    They add up to ``limit``, or end before if the tries take long themselves.
    """
    pause, waited, since = SHORTEST, 0.0, clock.ticks()
    while waited < limit:
        yield min(pause, limit - waited)
        waited = max(waited + pause, clock.ticks() - since - GRACE)
        pause = min(pause * GROWTH, LONGEST)
