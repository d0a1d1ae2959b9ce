"""The way of a call, from its key to its answer.

This module has no input or output of its own. A flow is a coroutine that awaits only
``steps``; each yields itself to whoever drives the flow, who carries it out and
sends back the answer. So one text serves threads and event loops, and a test can play
the driver, with no store, thread or clock.

Stages 1 and 2, binding and keying, lie before (``call``, ``fastpath``):

    3  find the entry, nearest tier first       Find
    4  judge it                                 judge()
    5  join or lead the flight, look once more  Join, Lead, Wait
    6  compute                                  Compute
    7  encode and
    8  keep it in all tiers                     Keep
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from mlcache.backends.tiered import Found
from mlcache.call import Call
from mlcache.entry import FOREVER, Entry, Key
from mlcache.errors import MlcacheError
from mlcache.events import Bypassed, Coalesced, Computed, Hit, NotKept, Raised, Stale
from mlcache.flight import Flight
from mlcache.flight.carried import bare
from mlcache.flight.shared import Lock, pauses
from mlcache.keeping import UNCOPIABLE, has_failed, keep_error, make_entry
from mlcache.steps import (
    Compute,
    Draw,
    Find,
    GetLock,
    Join,
    Keep,
    Land,
    Later,
    Lead,
    Made,
    Now,
    Outcome,
    Overtaken,
    Pause,
    Share,
    Status,
    Tell,
    TryLock,
    Unlock,
    Wait,
)
from mlcache.terms import Terms, Use


async def answer(call: Call, terms: Terms, looked: Sequence[Found | None] = ()) -> Outcome:
    """The whole way: an entry that is kept, or one that is computed, once for all who ask meanwhile."""
    # In ``looked`` is what was found, where the key has been looked up already.
    found: Found | None = looked[0] if looked else await Find(call.key)
    if found is not None:
        usable = terms.use_of(found, await Draw() if terms.expiry.early else 0.0)
        if usable is Use.SERVE or await has_failed(call.key, terms, found):
            return await _hit(call.key, found)
        if usable is Use.SERVE_AND_RENEW:
            await _renew(call, terms, found)
            return await _hit(call.key, found)
    while True:
        flight, leading = await Join(call.key)
        shared: Outcome | None = None
        if not leading and flight.landed:  # and its answer is being written since
            shared = flight.outcome()
        if shared is not None and not terms.is_fresh(Found(shared.entry, "", await Now())):
            flight, leading = await Join(call.key, anew=True)
        outcome: Outcome | None
        if leading:
            outcome = await Lead(flight, lead(call, terms, flight))
        else:
            outcome = await _follow(call.key, terms, flight, found)
        if outcome is not None:
            return outcome


async def _follow(key: Key, terms: Terms, flight: Flight, old: Found | None) -> Outcome | None:
    """What somebody else computes; None if he gave up, or had found what was too old when this caller asked.

    If it fails, ``old`` may do for this caller, though it was too old for the one who leads.
    """
    await Tell(Coalesced(key))  # now, as all who wait are to go on at once
    asked: float = await Now()
    try:
        outcome: Outcome | None = await Wait(flight)
    except MlcacheError:
        raise
    except Exception:
        if old is None or not terms.outlives_errors(old := await by_now(old)):
            raise
        return await _hit(key, old)
    if outcome is None or not terms.accepts(outcome, asked):
        return None
    return msgspec.structs.replace(outcome, status=Status.COALESCED)


async def by_now(found: Found) -> Found:
    """``found``, as it is to be judged after something took its time."""
    return msgspec.structs.replace(found, at=await Now())


async def lead(
    call: Call, terms: Terms, flight: Flight, *, after: float = -FOREVER, aside: bool = False
) -> Outcome:
    """What the leader of a flight does; it ends the flight whatever happens.

    Args:
        call: to be computed.
        terms: of the function.
        flight: that we lead.
        after: an entry created later than this will do as well.
        aside: whether the caller has gone on: he may have changed the arguments, and nobody need wait for a
            process that computes the same.
    """
    try:
        lock: Lock | None = None
        found: Found | None = None
        computed = False
        if after != FOREVER:  # else it is to be computed whatever there is
            if terms.shared:
                lock, found = await _enter(call.key, terms, after, aside=aside)
            else:
                # Somebody may have landed since we looked.
                found = await Find(call.key, again=True, after=after, max_age=terms.max_age)
        try:
            if found is not None and terms.is_fresh(found) and found.entry.created > after:
                outcome = await _hit(call.key, found)
            else:
                computed = True
                outcome = await compute(call, terms, flight, found, lock, aside=aside)
        finally:
            if lock is not None:
                await Unlock(lock, wrote=computed and not flight.superseded)
    except BaseException as error:
        await Land(flight, None, error)
        raise
    await Land(flight, outcome)
    return outcome


async def _enter(key: Key, terms: Terms, after: float, *, aside: bool) -> tuple[Lock | None, Found | None]:
    """The lock that processes share, if we hold it, and what was found once we did or gave up."""
    lock: Lock | None = await GetLock(key)
    if lock is not None and not await TryLock(lock):
        if aside:
            raise _called_off()
        for pause in pauses(terms.wait):
            await Pause(pause)
            if await TryLock(lock):
                break
            found: Found | None = await Find(key, again=True, after=after, max_age=terms.max_age)
            if found is not None and terms.is_fresh(found) and found.entry.created > after:
                return None, found
        else:
            lock = None
    try:
        # Somebody may have landed between our lookup and our taking the lead.
        return lock, await Find(key, again=True, after=after, max_age=terms.max_age)
    except BaseException:
        if lock is not None:
            await Unlock(lock, wrote=False)
        raise


async def compute(
    call: Call,
    terms: Terms,
    flight: Flight,
    old: Found | None = None,
    lock: Lock | None = None,
    *,
    aside: bool = False,
) -> Outcome:
    """Call the function, and keep what it gives where it may be kept; ``old`` is served if it raises."""
    try:
        made: Made = await Compute(call, flight)
    except Exception as error:
        await Tell(Raised(call.key, bare(error)))
        if aside:
            await _call_off_if_changed(call, terms)
        old = old and await by_now(old)
        await keep_error(call.key, error, terms, flight, old)
        if old is not None and terms.outlives_errors(old):
            return await _hit(call.key, old)
        raise
    luck = await Draw() if terms.expiry.jitter else 0.0
    size = 0
    try:
        entry, objection = make_entry(made, terms, luck)
        size = entry.size
    finally:  # the function ran, even if the user's rules fail
        await Tell(Computed(call.key, made.cost, size))
    if aside:
        await _call_off_if_changed(call, terms)
    if lock is not None and not objection and await Overtaken(lock):
        flight.supersede()
    outcome = Outcome(entry, Status.MISS)
    if flight.waiters and not objection and not flight.superseded:
        await Share(flight, outcome)  # whoever has it now may write what is to follow it
    if flight.superseded:
        objection = "it was invalidated or written while being computed"
    if objection:
        await Tell(NotKept(call.key, objection))
        return Outcome(entry, Status.MISS, kept=False, shareable=UNCOPIABLE not in objection)
    lost = await Keep(call.key, entry, flight)
    return msgspec.structs.replace(outcome, kept=False) if lost else outcome


async def _renew(call: Call, terms: Terms, found: Found) -> None:
    """Have the entry computed anew in the background, unless somebody does so already."""
    flight, leading = await Join(call.key, later=True)
    if leading:
        await Later(flight, lead(call, terms, flight, after=found.entry.created, aside=True))


async def _call_off_if_changed(call: Call, terms: Terms) -> None:
    """Call a renewal off if it was of other arguments than those who wait for it have."""
    if not terms.asks_for(call):
        await Tell(NotKept(call.key, "its arguments were changed while it was computed anew"))
        raise _called_off()


def _called_off() -> Exception:
    """What a renewal raises to end with nothing; those who wait for it, if any, look again."""
    from concurrent.futures import CancelledError  # with all its logging, which few programs need

    return CancelledError()


async def bypass(call: Call) -> Outcome:
    """Call the function and keep nothing."""
    await Tell(Bypassed(call.key))
    made: Made = await Compute(call)
    return Outcome(Entry(made.value, made.at, FOREVER, FOREVER, made.cost), Status.BYPASS, kept=False)


async def _hit(key: Key, found: Found) -> Outcome:
    entry, fresh = found.entry, found.at < found.entry.fresh_until
    await Tell((Hit if fresh else Stale)(key, found.tier, found.at - entry.created, entry.cost, entry.size))
    return Outcome(entry, Status.HIT if fresh else Status.STALE, found.tier)
