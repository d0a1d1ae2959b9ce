"""Orders: what one call asks for, item by item, and under which keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from mlcache import keys
from mlcache.batch.items import Items
from mlcache.call import Call, Values
from mlcache.entry import Key
from mlcache.errors import UnhashableArgumentError
from mlcache.fastpath import Digest, Keying

BATCH_VERSION = 3
"""Goes into the key of each item: a change of what is kept of one is a change of this number.

Answers of version 1 may be those of other items, where the function returned rows in another order;
those of version 2 may have followed the index of their items by coincidence.
"""

_MOST_GROUPS = 1024


class Order(msgspec.Struct, frozen=True, eq=False):
    """What one call asks for.

    Args:
        apply: calls the function with bound arguments.
        values: the bound arguments.
        place: of the items among them.
        items: all of them, duplicates too.
        keys: of the distinct items.
        firsts: by distinct item, its first place among all.
        seats: by item, its number among the distinct ones.
        group: what all items have in common in their keys.
        others: what the other arguments add to that.
        digest_anew: tells by place which digests the items would get now.
    """

    apply: Callable[[Values], Any]
    values: Values
    place: int
    items: Items
    keys: list[Key]
    firsts: list[int]
    seats: list[int]
    group: bytes
    others: bytes
    digest_anew: Callable[[], Sequence[bytes]]

    def part(self, seats: Sequence[int]) -> tuple[Call, Any]:
        """The call for some of the distinct items, and the container that it passes."""
        batch = self.items.take([self.firsts[seat] for seat in seats])
        values = (*self.values[: self.place], batch, *self.values[self.place + 1 :])
        return Call(self.keys[seats[0]], values, self.apply), batch


class ItemKeying:
    """How the items of a call become keys.

    Args:
        keying: how the whole call of an ordinary function would become one.
        items: the name of the items parameter.
    """

    def __init__(self, keying: Keying, items: str) -> None:
        self._name = items
        self._stand_in = keying.stand_ins.get(items)
        others = msgspec.structs.replace(
            keying,
            ignore=keying.ignore | {items},
            stand_ins={name: each for name, each in keying.stand_ins.items() if name != items},
        )
        self._others: Digest = others.compile_digest()
        self._groups: dict[tuple[Any, ...], bytes] = {}

    def others(self, values: Values) -> bytes:
        """What the arguments beside the items add to each key."""
        return self._others(values)

    def group(self, items: Items, others: bytes) -> bytes:
        """What all items of one container have in common in their keys."""
        known = self._groups.get((others, items.stamp)) if items.stamp else None
        if known is not None:
            return known
        group = keys.digest((BATCH_VERSION, *items.kind), others)
        if items.stamp:
            if len(self._groups) >= _MOST_GROUPS:
                self._groups.clear()
            self._groups[others, items.stamp] = group
        return group

    def digests(self, items: Items, group: bytes) -> list[bytes]:
        """By item, the digest of its key.

        Raises:
            UnhashableArgumentError: naming the parameter and the item.
        """
        digest = keys.digest
        parts = items.parts() if self._stand_in is None else self._standing_in(items, self._stand_in)
        done: list[bytes] = []
        try:
            for part in parts:
                done.append(digest(part, group))  # noqa: PERF401 - its length says which item failed
        except UnhashableArgumentError as error:
            path = f"[{len(done)}]{error.path}"
            raise UnhashableArgumentError(
                error.kind, path, self._name, error.reason, must_count=True
            ) from None
        return done

    @staticmethod
    def _standing_in(items: Items, stand_in: Callable[[Any], Any]) -> list[Any]:
        return [stand_in(items.single(place)) for place in range(len(items))]


def distinct(digests: Sequence[bytes]) -> tuple[list[int], list[int]]:
    """By distinct digest, its first place; and by place, its number among the distinct ones."""
    if len(digests) == 1:
        return [0], [0]
    numbers: dict[bytes, int] = {}
    seats = [numbers.setdefault(each, len(numbers)) for each in digests]
    if len(numbers) == len(digests):
        return seats, seats
    firsts = [-1] * len(numbers)
    for place in range(len(seats) - 1, -1, -1):
        firsts[seats[place]] = place
    return firsts, seats
