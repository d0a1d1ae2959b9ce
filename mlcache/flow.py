"""The way of a call, from its key to its answer.

This module has no input or output of its own. A flow is a coroutine that awaits only
the steps below; each yields itself to whoever drives the flow, who carries it out and
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
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import msgspec

from mlcache.backends.tiered import Found
from mlcache.call import Call
from mlcache.entry import FOREVER, Entry, Expiry, Key, Verdict, judge
from mlcache.events import Bypassed, Coalesced, Computed, Event, Hit, NotKept, Raised
from mlcache.flight import Flight
from mlcache.sealing import Sealed


class Step(msgspec.Struct, frozen=True, eq=False):
    """Something that a flow asks its driver for."""

    def __await__(self) -> Generator[Step, Any, Any]:
        return (yield self)


class Find(Step, frozen=True, eq=False):
    """Look the key up. Answered with a ``Found`` or None."""

    key: Key


class Join(Step, frozen=True, eq=False):
    """Join the flight for the key, or replace it. Answered with the flight and whether we lead it."""

    key: Key
    anew: bool = False


class Lead(Step, frozen=True, eq=False):
    """Drive another flow for a flight, here or elsewhere. Answered with its outcome; None if it gave up."""

    flight: Flight
    flow: Coroutine[Step, Any, Outcome]


class Wait(Step, frozen=True, eq=False):
    """Wait for a flight that somebody else leads. Answered as ``Lead``."""

    flight: Flight


class Compute(Step, frozen=True, eq=False):
    """Call the function. Answered with a ``Made``: the value, when it was there, and what it cost."""

    call: Call
    flight: Flight | None = None


class Keep(Step, frozen=True, eq=False):
    """Write the entry to all tiers."""

    key: Key
    entry: Entry


class Drop(Step, frozen=True, eq=False):
    """Delete the key from all tiers, and keep nothing of a flight. Answered with whether it was there."""

    key: Key


class Supersede(Step, frozen=True, eq=False):
    """Let nobody else join the flight for the key, and keep no result of it."""

    key: Key


class Land(Step, frozen=True, eq=False):
    """End the flight with an outcome for all who wait, or with an error."""

    flight: Flight
    outcome: Outcome | None
    error: BaseException | None = None


class Tell(Step, frozen=True, eq=False):
    """Count the event and tell the hooks."""

    event: Event


class Status(enum.Enum):
    """How a call was answered."""

    HIT = "hit"
    STALE = "stale"
    COALESCED = "coalesced"
    MISS = "miss"
    BYPASS = "bypass"


class Outcome(msgspec.Struct, frozen=True, eq=False):
    """An entry, how it came about, from which tier, and whether it was kept."""

    entry: Entry
    status: Status
    tier: str | None = None
    kept: bool = True


class Made(msgspec.Struct, frozen=True, eq=False):
    """What calling the function gave: the value, the time at which it was there, the seconds it took."""

    value: Any
    at: float
    cost: float


class Terms(msgspec.Struct, frozen=True):
    """What one function's user asked of its entries.

    Args:
        expiry: how long they may be used.
        when: whether a value is to be kept; None: always.
        seal: brings a value into the form in which it is kept.
    """

    expiry: Expiry
    when: Callable[[Any], object] | None
    seal: Callable[[Any], Sealed]


async def answer(call: Call, terms: Terms) -> Outcome:
    """The whole way: an entry that is kept, or one that is computed, once for all who ask meanwhile."""
    found: Found | None = await Find(call.key)
    if found is not None and judge(found.entry, found.at) is Verdict.FRESH:
        return await _hit(call.key, found)
    while True:
        flight, leading = await Join(call.key)
        outcome: Outcome | None
        if leading:
            outcome = await Lead(flight, lead(call, terms, flight))
        else:
            outcome = await Wait(flight)
            await Tell(Coalesced(call.key))
        if outcome is not None:
            return outcome if leading else msgspec.structs.replace(outcome, status=Status.COALESCED)


async def lead(call: Call, terms: Terms, flight: Flight, *, look: bool = True) -> Outcome:
    """What the leader of a flight does; it ends the flight whatever happens."""
    try:
        # Somebody may have landed between our lookup and our taking the lead.
        found: Found | None = await Find(call.key) if look else None
        if found is not None and judge(found.entry, found.at) is Verdict.FRESH:
            outcome = await _hit(call.key, found)
        else:
            outcome = await compute(call, terms, flight)
    except BaseException as error:
        await Land(flight, None, error)
        raise
    await Land(flight, outcome)
    return outcome


async def compute(call: Call, terms: Terms, flight: Flight) -> Outcome:
    """Call the function, and keep what it gives where it may be kept."""
    try:
        made: Made = await Compute(call, flight)
    except Exception as error:
        await Tell(Raised(call.key, error))
        raise
    await Tell(Computed(call.key, made.cost))
    entry, objection = make_entry(made, terms)
    if flight.superseded:
        objection = "it was invalidated or written while being computed"
    if objection:
        await Tell(NotKept(call.key, objection))
        return Outcome(entry, Status.MISS, kept=False)
    await keep(call.key, entry, flight)
    return Outcome(entry, Status.MISS)


async def keep(key: Key, entry: Entry, flight: Flight) -> None:
    """Write the entry, and take it back if the key was invalidated while it was being written."""
    await Keep(key, entry)
    if flight.superseded:
        await Drop(key)


def make_entry(made: Made, terms: Terms) -> tuple[Entry, str]:
    """The entry for a computed value, and why it must not be kept; empty if it may."""
    deadline = terms.expiry.deadline(made.value, made.at)
    objection = ""
    if terms.when is not None and not terms.when(made.value):
        objection = "its 'when' says no"
    elif deadline <= made.at:
        objection = "its time was over when it was made"
    try:
        sealed = terms.seal(made.value)
    except Exception as error:  # noqa: BLE001 - copying runs the code of any class
        sealed = Sealed(made.value, None, 0)
        objection = objection or f"it cannot be copied ({error}): returns='reference' keeps it without a copy"
    entry = Entry(sealed.value, made.at, deadline, deadline, made.cost, sealed.size, sealed.renew)
    return entry, objection


async def refresh(call: Call, terms: Terms) -> Outcome:
    """Compute anew, whatever is kept or under way, and keep the result."""
    flight, _ = await Join(call.key, anew=True)
    outcome: Outcome | None = await Lead(flight, lead(call, terms, flight, look=False))
    return outcome if outcome is not None else await answer(call, terms)


async def put(key: Key, made: Made, terms: Terms) -> None:
    """Keep a value that was computed elsewhere, rather than what flights under way will bring."""
    entry, objection = make_entry(made, terms)
    if objection:
        await Tell(NotKept(key, objection))
        await Drop(key)
        return
    await Supersede(key)
    await Keep(key, entry)
    await Supersede(key)  # those that took off meanwhile


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


async def bypass(call: Call) -> Outcome:
    """Call the function and keep nothing."""
    await Tell(Bypassed(call.key))
    made: Made = await Compute(call)
    return Outcome(Entry(made.value, made.at, FOREVER, FOREVER, made.cost), Status.BYPASS, kept=False)


async def _hit(key: Key, found: Found) -> Outcome:
    await Tell(Hit(key, found.tier, found.at - found.entry.created))
    return Outcome(found.entry, Status.HIT, found.tier)
