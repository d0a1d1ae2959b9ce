"""What the user of one function asked of its entries, and what that means for one that was found."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import msgspec

from mlcache import units
from mlcache.backends.tiered import Found
from mlcache.call import Call, Values
from mlcache.entry import FOREVER, Expiry, Span, Verdict, judge
from mlcache.flight.shared import WAIT
from mlcache.sealing import Sealed
from mlcache.steps import Outcome, Status


def max_age_seconds(max_age: Span) -> float:
    """How old an answer may be for a caller who asks for a fresher one, in seconds."""
    return units.seconds(max_age, what="max_age", instead="refresh() computes anew whatever is kept")


class Use(enum.Enum):
    """What to do with an entry that was found."""

    SERVE = "serve"
    SERVE_AND_RENEW = "serve, and compute anew in the background"
    COMPUTE = "compute anew"


class Terms(msgspec.Struct, frozen=True):
    """What one function's user asked of its entries.

    Args:
        expiry: how long they may be used.
        when: whether a value is to be kept; None: always.
        seal: brings a value into the form in which it is kept.
        max_age: seconds after which an entry is too old for this caller, whatever its deadline.
        shared: whether a tier may have locks that processes share.
        wait: seconds to wait for another process that computes the same.
        digest: of bound arguments.
    """

    expiry: Expiry
    when: Callable[[Any], object] | None
    seal: Callable[[Any], Sealed]
    max_age: float = FOREVER
    shared: bool = False
    wait: float = WAIT
    digest: Callable[[Values], bytes] | None = None

    def asks_for(self, call: Call) -> bool:
        """Whether the arguments of a call are still those that its key was made of."""
        try:
            return self.digest is None or self.digest(call.values) == call.key.digest
        except Exception:  # noqa: BLE001 - what cannot be keyed any more is not what it was
            return False

    def is_fresh(self, found: Found) -> bool:
        """Whether an entry is within its time, and this caller's."""
        return self.is_young(found) and judge(found.entry, found.at) is Verdict.FRESH

    def is_young(self, found: Found) -> bool:
        """Whether an entry is not too old for this caller."""
        return found.at - found.entry.created <= self.max_age

    def is_simply_served(self, found: Found) -> bool:
        """Whether an entry is the answer, and there is nothing else to do."""
        return self.max_age == FOREVER and not self.expiry.early and found.at < found.entry.fresh_until

    def use_of(self, found: Found, luck: float) -> Use:
        """What to do with an entry; ``luck`` is drawn between 0 and 1."""
        if self.is_fresh(found):
            due = self.expiry.is_due(found.entry, found.at, luck)
            return Use.SERVE_AND_RENEW if due else Use.SERVE
        stale = self.is_young(found) and self.expiry.is_served_stale(found.entry, found.at)
        return Use.SERVE_AND_RENEW if stale else Use.COMPUTE

    def outlives_errors(self, found: Found) -> bool:
        """Whether an entry is this caller's answer after computing it anew has failed."""
        return self.is_young(found) and self.expiry.is_served_on_error(found.entry, found.at)

    def accepts(self, outcome: Outcome, asked: float) -> bool:
        """Whether what somebody else computed, or had found, does for who asked at the time ``asked``."""
        found = Found(outcome.entry, "", asked)
        if outcome.status is Status.STALE:  # as computing it anew failed
            return self.outlives_errors(found)
        return outcome.entry.created >= asked or self.is_fresh(found)

    def may_outlive_errors(self, found: Found) -> bool:
        """Whether an entry may still be served, to whoever asks, after computing it anew has failed."""
        entry, at = found.entry, found.at
        return self.expiry.is_served_stale(entry, at) or self.expiry.is_served_on_error(entry, at)
