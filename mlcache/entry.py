"""An entry: a value with its timestamps, and the one judgement of what expired means."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from typing import Any

import msgspec

FOREVER = math.inf
"""The deadline of what never expires."""


class Key(msgspec.Struct, frozen=True):
    """What an entry is found by.

    Args:
        namespace: the function's name and version, such as ``app.score@3f2a90c1``.
        digest: 16 bytes over the namespace and the bound arguments. As it covers the
            namespace, a store may index by the digest alone.
    """

    namespace: str
    digest: bytes

    def __str__(self) -> str:
        return f"{self.namespace}/{self.digest.hex()}"


class Entry(msgspec.Struct, frozen=True, eq=False):
    """A value with its timestamps, its cost and its size.

    Args:
        value: what the function returned, in the form in which it is kept.
        created: when it was computed, in seconds since the epoch.
        fresh_until: from when on it is stale.
        stale_until: from when on it is dead; never before ``fresh_until``.
        cost: seconds that computing it took.
        size: bytes that it takes in memory, roughly.
        renew: makes what a caller gets from ``value``, where that cannot be ``value``
            itself because the caller could change it. It is not stored.
    """

    value: Any
    created: float
    fresh_until: float = FOREVER
    stale_until: float = FOREVER
    cost: float = 0.0
    size: int = 0
    renew: Callable[[Any], Any] | None = None


class Verdict(enum.Enum):
    """What an entry is good for."""

    FRESH = "fresh"
    STALE = "stale"
    DEAD = "dead"


def judge(entry: Entry, now: float) -> Verdict:
    """What ``entry`` is good for at the time ``now``. A deadline is the first instant past it."""
    if now < entry.fresh_until:
        return Verdict.FRESH
    return Verdict.STALE if now < entry.stale_until else Verdict.DEAD
