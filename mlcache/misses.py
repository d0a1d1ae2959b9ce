"""Where calls go that the fast path cannot answer: to the flow, by the shortest way there is."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from mlcache import clock, switch
from mlcache.cache import Cache
from mlcache.call import Call, Values
from mlcache.drive import blocking, spawn_lead, suspending
from mlcache.entry import FOREVER, Key
from mlcache.events import Coalesced
from mlcache.flight import Flight
from mlcache.flow import answer, bypass, lead
from mlcache.steps import Lead, Outcome, Step
from mlcache.waiting import result_of, wait


def is_off(cache: Cache) -> bool:
    """Whether calls go past the cache here."""
    return cache.settings.disabled or switch.is_disabled()


def outcome(cache: Cache, call: Call) -> Coroutine[Step, Any, Outcome]:
    """The flow of one call, past the cache where that is switched off."""
    return bypass(call) if is_off(cache) else answer(call, cache.terms)


def miss(cache: Cache, digest: bytes, values: Values) -> Any:
    """Answer a call that memory could not, while caching is on and nobody looks on.

    A fresh entry that lies farther off is handed out here, and who finds nothing, and nobody under way, leads
    from here. The flow would do the same, but its steps take half as long again as finding a small value on
    disk, and a fifth of a miss in memory.
    """
    call = cache.call(digest, values)
    found = cache.store.find(call.key)
    if found is not None and cache.terms.is_simply_served(found):
        cache.tally.hits.add()
        return cache.hand_out(found.entry)
    flight = cache.flights.begin(call.key) if found is None else None
    way = answer(call, cache.terms, (found,)) if flight is None else _led(cache, call, flight)
    return cache.hand_out(blocking(way, cache).entry)


def _led(cache: Cache, call: Call, flight: Flight) -> Coroutine[Step, Any, Outcome]:
    """The flow of the leader; where a second look costs nothing, it has been had."""
    store = cache.store
    nothing_there = store.at_hand and store.find(call.key) is None
    return lead(call, cache.terms, flight, after=FOREVER if nothing_there else -FOREVER)


async def miss_suspending(cache: Cache, digest: bytes, values: Values) -> Any:
    """As ``miss``, on an event loop, and also while somebody looks on.

    Who finds nothing in memory, but a flight under way, waits for it here. The flow would do the same; but
    a thousand tasks may wait, and each that holds a flow and its driver takes half as long again to let go.
    Who finds no flight either leads from here, as in ``miss``: a tenth of the miss of a coroutine function.
    """
    store = cache.store
    if not store.at_hand:
        call = cache.call(digest, values)
        return cache.hand_out((await suspending(outcome(cache, call), cache)).entry)
    key = Key(cache.namespace, digest)
    found = store.find(key)
    flight = cache.flights.under_way(key) if found is None else None
    if flight is not None:
        cache.tell(Coalesced(key))
        asked = clock.now()
        shared: Outcome | None = await wait(flight, cache.flights)
        if shared is not None and cache.terms.accepts(shared, asked):
            return cache.hand_out(shared.entry)
        found = store.find(key)
    call = cache.call(digest, values)
    led = cache.flights.begin(key) if found is None and cache.suspends else None
    if led is None:
        made = await suspending(answer(call, cache.terms, (found,)), cache)
    else:
        made = await result_of(spawn_lead(Lead(led, _led(cache, call, led)), cache))
    return cache.hand_out(made.entry)


def detour(cache: Cache, values: Values) -> Any:
    """Answer a call while somebody looks on, or where caching is off."""
    digest = b"" if switch.is_disabled() else cache.digest(values)
    return cache.hand_out(blocking(outcome(cache, cache.call(digest, values)), cache).entry)


async def detour_suspending(cache: Cache, values: Values) -> Any:
    """As ``detour``, on an event loop."""
    if not switch.is_disabled():
        return await miss_suspending(cache, cache.digest(values), values)
    return cache.hand_out((await suspending(bypass(cache.call(b"", values)), cache)).entry)
