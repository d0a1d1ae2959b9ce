"""What there is to know of one call: what goes into its key, and what each tier has for it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from mlcache import clock
from mlcache.entry import FOREVER, Entry, Failure, Verdict, judge
from mlcache.skew import as_seen
from mlcache.units import show_seconds, show_size


class Explanation(msgspec.Struct, frozen=True):
    """What goes into the key of a call, and what each tier has for it. ``str`` of it is made to be read.

    Args:
        key: under which the call is kept.
        arguments: by parameter, what it contributes to the key.
        tiers: by backend, what it has.
        terms: how long entries are kept.
    """

    key: str
    arguments: dict[str, str]
    tiers: dict[str, str]
    terms: str

    def __str__(self) -> str:
        rows = [("key", self.key), *(("  " + name, text) for name, text in self.arguments.items())]
        rows += [("terms", self.terms), *(("tier " + name, text) for name, text in self.tiers.items())]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {text}" for name, text in rows)


def describe(entry: Entry | None, failure: Entry | None = None) -> str:
    """What a tier has, in words, and the exception that is kept beside it, if there is one and it counts."""
    if entry is None:
        return "nothing"
    now = clock.now()
    if as_seen(entry, now) is None:
        return f"not used, as it is {show_seconds(entry.created - now)} from the future"
    left = entry.fresh_until - now
    until = "for ever" if left == FOREVER else f"for {show_seconds(left)}"
    state = f"fresh {until}" if judge(entry, now) is Verdict.FRESH else judge(entry, now).value
    state = f"the exception {entry.value.error!r:.60}, {state}" if isinstance(entry.value, Failure) else state
    age = show_seconds(max(now - entry.created, 0.0))
    said = f"{state}, {age} old, {show_size(entry.size)}, took {show_seconds(entry.cost)} to compute"
    if failure is None or failure.created <= entry.created or judge(failure, now) is not Verdict.FRESH:
        return said
    pause = show_seconds(failure.fresh_until - now)
    return f"{said}; not tried again for {pause}, as that raised {failure.value.error!r:.60}"


def count_states(entries: Sequence[Entry | None]) -> str:
    """How many of a tier's entries are in what state."""
    now = clock.now()
    states = [_state(entry, now) for entry in entries]
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))


def _state(entry: Entry | None, now: float) -> str:
    if entry is None:
        return "nothing"
    if as_seen(entry, now) is None:
        return "from the future"
    state = judge(entry, now).value
    return f"{state} exception" if isinstance(entry.value, Failure) else state
