"""Writing an entry; that of a flight undoes nothing that is put or invalidated meanwhile."""

from __future__ import annotations

from mlcache.backends.tiered import Tiers
from mlcache.backends.walk import run_suspending
from mlcache.flight import Flights
from mlcache.steps import Keep


def write(step: Keep, store: Tiers, flights: Flights) -> None:
    """Carry out the step in this thread."""
    for entry in flights.writing(step.flight, step.entry):
        if entry is None:
            store.drop(step.key)
        else:
            store.keep(step.key, entry)


async def write_suspending(step: Keep, store: Tiers, flights: Flights) -> None:
    """Carry out the step on an event loop."""
    for entry in flights.writing(step.flight, step.entry):
        if entry is None:
            await run_suspending(store.dropping(step.key))
        else:
            await run_suspending(store.keeping(step.key, entry))
