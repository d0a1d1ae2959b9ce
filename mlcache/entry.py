"""An entry: a value with its timestamps, and the one judgement of what expired means."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from mlcache import clock, units
from mlcache.errors import ConfigurationError

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


Span = float | str | timedelta
"""A duration: seconds, text such as ``"1h30m"``, or a timedelta."""

Lifetime = Span | datetime | None
"""How long an entry stays fresh: a duration, an aware datetime at which it ends, or None for ever."""

Ttl = Lifetime | Callable[[Any], Lifetime]
"""A lifetime, or a function that gives one for a value."""


class Expiry:
    """How long an entry may be used.

    Args:
        ttl: seconds, text such as ``"1h30m"``, a timedelta, an aware datetime at which
            every entry ends, a function of the value that returns any of these, or None
            for what never expires. An entry whose function says that its time is already
            over is delivered but not kept.

    Raises:
        ConfigurationError: it is none of these, or not above zero, or already past.
    """

    __slots__ = ("_of_value", "_ttl")

    def __init__(self, ttl: Ttl = None) -> None:
        self._of_value = ttl if callable(ttl) else None
        self._ttl: Lifetime = None if callable(ttl) else ttl
        if not callable(ttl) and _deadline(ttl, now := clock.now()) <= now:
            raise ConfigurationError(f"ttl is {ttl!r}, which is already past")

    def deadline(self, value: object, now: float) -> float:
        """The instant at which ``value``, computed at the time ``now``, stops being fresh."""
        if self._of_value is None:
            return _deadline(self._ttl, now)
        lifetime = self._of_value(value)
        span = units.read_seconds(lifetime)
        return now if span is not None and span <= 0 else _deadline(lifetime, now)

    def __repr__(self) -> str:
        return f"Expiry({self._of_value or self._ttl!r})"

    def __str__(self) -> str:
        if self._of_value is not None:
            return "ttl by value"
        if self._ttl is None:
            return "never expires"
        if isinstance(self._ttl, datetime):
            return f"until {self._ttl.isoformat()}"
        return f"ttl {units.show_seconds(units.seconds(self._ttl, what='ttl'))}"


def _deadline(lifetime: Lifetime, now: float) -> float:
    if lifetime is None:
        return FOREVER
    if isinstance(lifetime, datetime):
        if lifetime.tzinfo is None:
            raise ConfigurationError(
                f"ttl is {lifetime!r}, a datetime without a time zone: "
                "give an aware one, such as datetime.now(UTC) + timedelta(hours=1)"
            )
        return lifetime.timestamp()
    return now + units.seconds(lifetime, what="ttl")
