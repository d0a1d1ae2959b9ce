"""What is done to the entries of a batch by hand, as a flow."""

from __future__ import annotations

from typing import Any

from mlcache import clock
from mlcache.batch.answers import GIVEN, take_apart
from mlcache.batch.order import Order
from mlcache.batch.steps import DropMany, KeepMany, OvertakeMany, SupersedeMany, TellMany
from mlcache.entry import Entry, Key
from mlcache.events import NotKept
from mlcache.keeping import make_entry
from mlcache.steps import Draw, Made
from mlcache.terms import Terms


async def put(order: Order, answers: Any, terms: Terms) -> None:
    """Keep answers that were computed elsewhere, rather than what flights under way will bring.

    Args:
        order: of the items.
        answers: one for each of them.
        terms: of what is kept of an item.
    """
    places = order.firsts if type(answers) is dict else range(len(order.items))
    parts = take_apart(answers, order.items, places, order.values[order.place], source=GIVEN)
    rows = dict(zip(places, parts, strict=True))
    at = clock.now()
    kept: list[tuple[Key, Entry]] = []
    refused: list[NotKept] = []
    for key, first in zip(order.keys, order.firsts, strict=True):
        luck = await Draw() if terms.expiry.jitter else 0.0
        entry, objection = make_entry(Made(rows[first], at, 0.0), terms, luck)
        if objection:
            refused.append(NotKept(key, objection))
        else:
            kept.append((key, entry))
    await TellMany(refused)
    await DropMany([each.key for each in refused])
    await _overtake(kept)
    await KeepMany(kept)
    await _overtake(kept)  # those that took off meanwhile


async def _overtake(kept: list[tuple[Key, Entry]]) -> None:
    """Let nothing be kept of what is being computed here or in other processes."""
    await SupersedeMany(kept)
    await OvertakeMany([key for key, _ in kept])
