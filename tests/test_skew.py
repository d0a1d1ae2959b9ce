"""Entries of hosts whose clocks are ahead."""

from __future__ import annotations

from mlcache.entry import Entry
from mlcache.skew import SKEW, as_seen


def test_an_entry_from_the_future_counts_as_just_made() -> None:
    kept = Entry("v", created=1000.5, fresh_until=1060.5, stale_until=1090.5)
    seen = as_seen(kept, 1000.0)
    assert seen is not None
    assert (seen.created, seen.fresh_until, seen.stale_until) == (1000.0, 1060.0, 1090.0)
    assert as_seen(kept, 1000.5) is kept
    assert as_seen(kept, 1000.5 - SKEW) is not None
    assert as_seen(kept, 1000.4 - SKEW) is None
