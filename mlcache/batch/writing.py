"""Writing the entries of a batch; those of flights undo nothing that is put or invalidated meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from mlcache.backends.many import ManyTiers
from mlcache.entry import Entry, Key
from mlcache.flight import Flight, Flights


async def writing_many(
    items: Sequence[tuple[Key, Entry]], made_by: Sequence[Flight], store: ManyTiers, flights: Flights
) -> list[bool]:
    """Write entries to all tiers, together; by entry, whether nothing is there after.

    Args:
        items: the entries, under their keys.
        made_by: by entry, the flight whose result it is; none where they are of none.
        store: where they are written.
        flights: those of the function.
    """
    if not made_by:
        return await _write(items, store)
    lost = [True] * len(items)
    with flights.being_written(made_by, [entry for _, entry in items]):
        left = [place for place, flight in enumerate(made_by) if not flight.superseded]
        while left:
            newest = [made_by[place].newest for place in left]
            gone = await _write(
                [(items[place][0], each) for place, each in zip(left, newest, strict=True)], store
            )
            for place, nothing in zip(left, gone, strict=True):
                lost[place] = nothing
            left = [
                place for place, each in zip(left, newest, strict=True) if made_by[place].newest is not each
            ]
    return lost


async def _write(newest: Sequence[tuple[Key, Entry | None]], store: ManyTiers) -> list[bool]:
    """Write entries, or delete where there is to be none; by key, whether nothing is there after."""
    kept = [(key, entry) for key, entry in newest if entry is not None]
    refused = await store.keeping_many(kept) if kept else set()
    if len(kept) < len(newest):
        await store.dropping_many([key for key, entry in newest if entry is None])
    return [entry is None or key in refused for key, entry in newest]
