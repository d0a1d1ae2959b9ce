"""What ``call_with_info`` and ``peek`` give: a value and how it came about."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Generic, Literal, TypeVar

import msgspec

from mlcache import clock

T = TypeVar("T")

StatusName = Literal["hit", "stale", "coalesced", "miss", "bypass"]

_A_YEAR = 31_536_000


class Result(msgspec.Struct, Generic[T], frozen=True):
    """A value and how it came about.

    Args:
        value: what the plain call returns.
        status: ``hit`` (from a tier), ``stale`` (from a tier, past its time), ``coalesced`` (waited for
            another caller's computation), ``miss`` (computed) or ``bypass`` (computed past the cache).
        tier: the name of the backend that had it; None if it was computed.
        age: seconds since it was computed.
        created_at: when it was computed.
        expires_at: when it stops being fresh; None: never.
        kept: whether it is in the cache.
    """

    value: T
    status: StatusName
    tier: str | None
    age: float
    created_at: datetime
    expires_at: datetime | None
    kept: bool = True

    def http_headers(self) -> dict[str, str]:
        """Headers that let a client's cache end at the same instant as this entry (RFC 9111).

        ``max-age`` is what is left of the entry's time, in whole seconds, and ``Age`` is zero: so clients
        end in time that overlook ``Age``, as many do, and those that do not. What is not kept here says
        ``no-store``.
        """
        from email.utils import format_datetime  # names of days in English, whatever the locale

        if not self.kept:
            return {"Cache-Control": "no-store"}
        if self.expires_at is None:
            return {"Cache-Control": f"max-age={_A_YEAR}", "Age": "0"}
        left = max(math.floor(self.expires_at.timestamp() - clock.now()), 0)
        return {
            "Cache-Control": f"max-age={left}",
            "Age": "0",
            "Expires": format_datetime(self.expires_at, usegmt=True),
        }


def moment(timestamp: float) -> datetime:
    """A timestamp as an aware datetime; the last there is for what lies beyond."""
    try:
        return datetime.fromtimestamp(timestamp, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.max.replace(tzinfo=UTC)
