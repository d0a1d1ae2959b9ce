"""Entries of hosts whose clocks are ahead."""

from __future__ import annotations

import msgspec

from mlcache.entry import Entry

SKEW = 1.0
"""Seconds by which the clock of one host may be ahead of another's."""


def as_seen(entry: Entry, now: float) -> Entry | None:
    """``entry`` by a clock that says ``now``; None where nobody can tell how old it is.

    One from the future counts as just made, and does so anew at each lookup until its time has
    come. So one that is more than ``SKEW`` ahead does not count at all: it would stay just made for
    as long as that.
    """
    ahead = entry.created - now
    if ahead <= 0:
        return entry
    if ahead > SKEW:
        return None
    return msgspec.structs.replace(
        entry, created=now, fresh_until=entry.fresh_until - ahead, stale_until=entry.stale_until - ahead
    )
