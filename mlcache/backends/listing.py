"""What a backend can tell of its entries without their values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import msgspec

from mlcache.entry import Key


class Description(msgspec.Struct, frozen=True):
    """An entry without its value.

    Args:
        key: what it is found by.
        size: bytes that it takes where it is kept.
        created: when it was computed, in seconds since the epoch.
        fresh_until: from when on it is stale.
        stale_until: from when on it is dead.
        cost: seconds that computing it took.
    """

    key: Key
    size: int
    created: float
    fresh_until: float
    stale_until: float
    cost: float

    def age(self, now: float) -> float:
        """Seconds since it was computed."""
        return max(now - self.created, 0.0)


@runtime_checkable
class Describes(Protocol):
    """A backend of entries that can list them."""

    def entries(self, namespace: str | None = None) -> Iterator[Description]:
        """The entries of ``namespace``, or without one all of them, in no order."""
        ...


class Head(msgspec.Struct, frozen=True):
    """Where a frame begins.

    Args:
        key: what the frame is found by.
        size: of the whole frame, in bytes.
        data: its first bytes.
    """

    key: Key
    size: int
    data: bytes


@runtime_checkable
class ListsHeads(Protocol):
    """A backend of bytes that can list where they begin, which is where a frame tells of its entry."""

    def heads(self, namespace: str | None = None) -> Iterator[Head]:
        """The first 64 bytes of each frame of ``namespace``, or without one of all, in no order."""
        ...
