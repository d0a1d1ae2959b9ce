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

import enum
from collections.abc import Callable, Sequence
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

import msgspec

from mlcache.backends.tiered import Found
from mlcache.call import Call
from mlcache.entry import FOREVER, Entry, Expiry, Failure, Key, Verdict, judge
from mlcache.events import Bypassed, Coalesced, Computed, Hit, NotKept, Raised, Stale
from mlcache.flight import Flight
from mlcache.flight.carried import bare
from mlcache.flight.shared import WAIT, Lock, pauses
from mlcache.sealing import Sealed, seal_failure
from mlcache.steps import (
    Compute,
    Draw,
    Drop,
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
    Pause,
    Share,
    Status,
    Tell,
    TryLock,
    Unlock,
    Wait,
)


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
    """

    expiry: Expiry
    when: Callable[[Any], object] | None
    seal: Callable[[Any], Sealed]
    max_age: float = FOREVER
    shared: bool = False
    wait: float = WAIT

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

    def may_outlive_errors(self, found: Found) -> bool:
        """Whether an entry may still be served after computing it anew has failed."""
        entry, at = found.entry, found.at
        return self.expiry.is_served_stale(entry, at) or self.expiry.is_served_on_error(entry, at)


UNCOPIABLE = "it cannot be copied"
_USED_UP = (GeneratorType, CoroutineType, AsyncGeneratorType)


async def answer(call: Call, terms: Terms, looked: Sequence[Found | None] = ()) -> Outcome:
    """The whole way: an entry that is kept, or one that is computed, once for all who ask meanwhile."""
    # In ``looked`` is what was found, where the key has been looked up already.
    found: Found | None = looked[0] if looked else await Find(call.key)
    if found is not None:
        usable = terms.use_of(found, await Draw() if terms.expiry.early else 0.0)
        if usable is Use.SERVE or await _has_failed(call.key, terms, found):
            return await _hit(call.key, found)
        if usable is Use.SERVE_AND_RENEW:
            await _renew(call, terms, found)
            return await _hit(call.key, found)
    while True:
        flight, leading = await Join(call.key)
        shared: Outcome | None = flight.outcome() if flight.landed else None  # and is being written since
        if shared is not None and not terms.is_fresh(Found(shared.entry, "", await Now())):
            flight, leading = await Join(call.key, anew=True)
        outcome: Outcome | None
        if leading:
            outcome = await Lead(flight, lead(call, terms, flight))
        else:
            await Tell(Coalesced(call.key))  # now, as all who wait are to go on at once
            outcome = await Wait(flight)
        if outcome is not None:
            return outcome if leading else msgspec.structs.replace(outcome, status=Status.COALESCED)


async def lead(call: Call, terms: Terms, flight: Flight, *, after: float = -FOREVER) -> Outcome:
    """What the leader of a flight does; it ends the flight whatever happens.

    Args:
        call: to be computed.
        terms: of the function.
        flight: that we lead.
        after: an entry created later than this will do as well.
    """
    try:
        lock, found = await _enter(call.key, terms, after)
        try:
            if found is not None and terms.is_fresh(found) and found.entry.created > after:
                outcome = await _hit(call.key, found)
            else:
                outcome = await compute(call, terms, flight, found)
        finally:
            if lock is not None:
                await Unlock(lock)
    except BaseException as error:
        await Land(flight, None, error)
        raise
    await Land(flight, outcome)
    return outcome


async def _enter(key: Key, terms: Terms, after: float) -> tuple[Lock | None, Found | None]:
    """The lock that processes share, if we hold it, and what was found once we did or gave up."""
    if after == FOREVER:
        return None, None
    lock: Lock | None = await GetLock(key) if terms.shared else None
    if lock is not None and not await TryLock(lock):
        for pause in pauses(terms.wait):
            await Pause(pause)
            if await TryLock(lock):
                break
            found: Found | None = await Find(key, again=True)
            if found is not None and terms.is_fresh(found) and found.entry.created > after:
                return None, found
        else:
            lock = None
    try:
        # Somebody may have landed between our lookup and our taking the lead.
        return lock, await Find(key, again=True)
    except BaseException:
        if lock is not None:
            await Unlock(lock)
        raise


async def compute(call: Call, terms: Terms, flight: Flight, old: Found | None = None) -> Outcome:
    """Call the function, and keep what it gives where it may be kept; ``old`` is served if it raises."""
    try:
        made: Made = await Compute(call, flight)
    except Exception as error:
        await Tell(Raised(call.key, bare(error)))
        in_place = old is None or not terms.may_outlive_errors(old)
        await keep_error(call.key if in_place else _beside(call.key), error, terms, flight)
        if old is not None and terms.expiry.is_served_on_error(old.entry, old.at):
            return await _hit(call.key, old)
        raise
    luck = await Draw() if terms.expiry.jitter else 0.0
    size = 0
    try:
        entry, objection = make_entry(made, terms, luck)
        size = entry.size
    finally:  # the function ran, even if the user's rules fail
        await Tell(Computed(call.key, made.cost, size))
    outcome = Outcome(entry, Status.MISS)
    if flight.waiters and not objection and not flight.superseded:
        await Share(flight, outcome)  # whoever has it now may write what is to follow it
    if flight.superseded:
        objection = "it was invalidated or written while being computed"
    if objection:
        await Tell(NotKept(call.key, objection))
        return Outcome(entry, Status.MISS, kept=False, shareable=UNCOPIABLE not in objection)
    await keep(call.key, entry, flight)
    return outcome


async def keep(key: Key, entry: Entry, flight: Flight) -> None:
    """Write the entry, and take it back if the key was invalidated while it was being written."""
    await Keep(key, entry)
    if flight.superseded:
        await Drop(key)


def make_entry(made: Made, terms: Terms, luck: float = 0.0) -> tuple[Entry, str]:
    """The entry for a computed value, and why it must not be kept; empty if it may.

    Args:
        made: the value.
        terms: of the function.
        luck: drawn between 0 and 1, for the jitter of its lifetime.
    """
    deadline = terms.expiry.deadline(made.value, made.at, luck)
    objection = ""
    if isinstance(made.value, _USED_UP):
        objection = f"{UNCOPIABLE}, and the first caller uses it up: return a list, or use 'async def'"
    elif terms.when is not None and not terms.when(made.value):
        objection = "its 'when' says no"
    elif deadline <= made.at:
        objection = "its time was over when it was made"
    try:
        sealed = terms.seal(made.value)
    except Exception as error:  # noqa: BLE001 - copying runs the code of any class
        sealed = Sealed(made.value, None, 0)
        objection = objection or f"{UNCOPIABLE} ({error}): returns='reference' keeps it without a copy"
    until = (deadline, terms.expiry.stale_until(deadline))
    return Entry(sealed.value, made.at, *until, made.cost, sealed.size, sealed.renew), objection


async def keep_error(
    key: Key, error: Exception, terms: Terms, flight: Flight, old: Found | None = None
) -> None:
    """Keep an exception as the answer, for as long as the terms say, unless ``old`` may still be served."""
    raised = bare(error)
    if not isinstance(raised, Exception) or (old and terms.expiry.is_served_stale(old.entry, old.at)):
        return
    span = terms.expiry.keeps_error(raised)
    if span and not flight.superseded:
        at: float = await Now()
        sealed = seal_failure(Failure(raised))
        await keep(key, Entry(sealed.value, at, at + span, at + span, 0.0, sealed.size, sealed.renew), flight)


async def _has_failed(key: Key, terms: Terms, old: Found) -> bool:
    """Whether an entry that may be served was not to be computed anew, which is not to be tried again yet."""
    if not terms.expiry.errors or not terms.is_young(old) or not terms.may_outlive_errors(old):
        return False
    failure: Found | None = await Find(_beside(key))
    if failure is None or failure.entry.created <= old.entry.created:
        return False
    return judge(failure.entry, failure.at) is Verdict.FRESH


def _beside(key: Key) -> Key:
    """Where an exception is kept while there is an old answer to serve, which it must not replace."""
    return Key(key.namespace, bytes((key.digest[0] ^ 0xFF,)) + key.digest[1:])


async def _renew(call: Call, terms: Terms, found: Found) -> None:
    """Have the entry computed anew in the background, unless somebody does so already."""
    flight, leading = await Join(call.key, later=True)
    if leading:
        await Later(flight, lead(call, terms, flight, after=found.entry.created))


async def bypass(call: Call) -> Outcome:
    """Call the function and keep nothing."""
    await Tell(Bypassed(call.key))
    made: Made = await Compute(call)
    return Outcome(Entry(made.value, made.at, FOREVER, FOREVER, made.cost), Status.BYPASS, kept=False)


async def _hit(key: Key, found: Found) -> Outcome:
    entry, fresh = found.entry, found.at < found.entry.fresh_until
    await Tell((Hit if fresh else Stale)(key, found.tier, found.at - entry.created, entry.cost, entry.size))
    return Outcome(entry, Status.HIT if fresh else Status.STALE, found.tier)
