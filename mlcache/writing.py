"""Writing an entry; that of a flight undoes nothing that is put or invalidated meanwhile."""

from __future__ import annotations

from mlcache.backends.tiered import Tiers
from mlcache.backends.walk import run_suspending
from mlcache.flight import Flights
from mlcache.steps import Keep


def write(step: Keep, store: Tiers, flights: Flights) -> bool:
    """Carry out the step in this thread; whether nothing is there after."""
    lost = True
    for entry in flights.writing(step.flight, step.entry):
        if entry is None:
            store.drop(step.key)
            lost = True
        else:
            lost = not store.keep(step.key, entry)
    return lost


async def write_suspending(step: Keep, store: Tiers, flights: Flights) -> bool:
    """Carry out the step on an event loop; whether nothing is there after."""
    lost = True
    for entry in flights.writing(step.flight, step.entry):
        if entry is None:
            await run_suspending(store.dropping(step.key))
            lost = True
        else:
            lost = not await run_suspending(store.keeping(step.key, entry))
    return lost
