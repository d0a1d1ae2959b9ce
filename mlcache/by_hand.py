"""What is done to single entries by hand: as flows, like the way of a call."""

from __future__ import annotations

from mlcache.backends.tiered import Found
from mlcache.call import Call
from mlcache.entry import FOREVER, Entry, Key, Verdict, judge
from mlcache.events import NotKept
from mlcache.flow import answer, lead
from mlcache.keeping import make_entry
from mlcache.steps import Draw, Drop, Find, Join, Keep, Lead, Made, Outcome, Overtake, Status, Supersede, Tell
from mlcache.terms import Terms


async def refresh(call: Call, terms: Terms) -> Outcome:
    """Compute anew, whatever is kept or under way, and keep the result."""
    flight, _ = await Join(call.key, anew=True)
    outcome: Outcome | None = await Lead(flight, lead(call, terms, flight, after=FOREVER))
    return outcome if outcome is not None else await answer(call, terms)


async def put(key: Key, made: Made, terms: Terms) -> None:
    """Keep a value that was computed elsewhere, rather than what flights under way will bring."""
    entry, objection = make_entry(made, terms, await Draw() if terms.expiry.jitter else 0.0)
    if objection:
        await Tell(NotKept(key, objection))
        await Drop(key)
        return
    await _overtake(key, entry)
    await Keep(key, entry)
    await _overtake(key, entry)  # those that took off meanwhile


async def _overtake(key: Key, newest: Entry) -> None:
    """Let nothing be kept of what is being computed here or in other processes."""
    await Supersede(key, newest)
    await Overtake(key)


async def peek(key: Key) -> Outcome | None:
    """What is kept, if it is not dead; nothing is computed."""
    found: Found | None = await Find(key)
    if found is None:
        return None
    fresh = judge(found.entry, found.at) is Verdict.FRESH
    return Outcome(found.entry, Status.HIT if fresh else Status.STALE, found.tier)


async def invalidate(key: Key) -> bool:
    """Forget the entry; whether there was one."""
    gone: bool = await Drop(key)
    return gone
