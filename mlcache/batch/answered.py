"""What a call of many items was answered with, and how that came about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from mlcache import clock
from mlcache.entry import FOREVER
from mlcache.result import Result, moment
from mlcache.steps import Outcome, Status

_WORST = (Status.BYPASS, Status.MISS, Status.COALESCED, Status.STALE, Status.HIT)


class Answered(msgspec.Struct, frozen=True, eq=False):
    """The value of a call, and the outcomes that it was put together from."""

    value: Any
    outcomes: Sequence[Outcome]

    def result(self) -> Result[Any]:
        """The value and how it came about: the worst of its items' ways, the oldest, the earliest to end."""
        statuses = {outcome.status for outcome in self.outcomes}
        tiers = {outcome.tier for outcome in self.outcomes}
        created = min(outcome.entry.created for outcome in self.outcomes)
        until = min(outcome.entry.fresh_until for outcome in self.outcomes)
        return Result(
            value=self.value,
            status=next(status for status in _WORST if status in statuses).value,
            tier=tiers.pop() if len(tiers) == 1 else None,
            age=max(clock.now() - created, 0.0),
            created_at=moment(created),
            expires_at=None if until == FOREVER else moment(until),
            kept=all(outcome.kept for outcome in self.outcomes),
        )
