"""A cached function of many items: how its calls become orders, and what these are carried out with."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import msgspec

from mlcache import keys
from mlcache.actions import Actions, Kwargs
from mlcache.batch.answers import own_answer, sealing
from mlcache.batch.collating import check_single, collate_of
from mlcache.batch.items import Collected, Items, items_of
from mlcache.batch.options import Batch, check_parameter
from mlcache.batch.order import ItemKeying, Order, distinct
from mlcache.batch.seats import Plan
from mlcache.batch.singles import Singles
from mlcache.cache import Options
from mlcache.call import Values
from mlcache.entry import Key
from mlcache.terms import Terms


class BatchParts(Actions):
    """One cached function of many items.

    Args:
        function: what is cached.
        options: checked.
        batch: how its calls are taken apart.
        suspends: whether it is a coroutine function.
        identity: of the function, where it is known.

    Raises:
        ConfigurationError: the function has no such parameter, or it is no single one, or ignored.
        UnhashableArgumentError: something that is bound to the function has no stable key.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        options: Options,
        batch: Batch,
        *,
        suspends: bool,
        identity: keys.Identity | None = None,
    ) -> None:
        super().__init__(function, options, suspends=suspends, identity=identity)
        self.batch = batch
        check_parameter(batch.items, self.parameters, options.ignore)

    @cached_property
    def keying(self) -> ItemKeying:
        """How items become keys."""
        return ItemKeying(self.cache.keying, self.batch.items)

    @cached_property
    def place(self) -> int:
        """The place of the items parameter among all."""
        return self.parameters.names.index(self.batch.items)

    @cached_property
    def is_positional(self) -> bool:
        """Whether the items may be passed by their place."""
        return self.parameters.is_positional(self.batch.items)

    def order(self, values: Values) -> Order:
        """What a call with these bound arguments asks for."""
        return self._order(values, items_of(values[self.place], self.batch.items, self.batch.axis))

    def _order(self, values: Values, items: Items) -> Order:
        others = self.keying.others(values)
        group = self.keying.group(items, others)
        digests = self.keying.digests(items, group)
        firsts, seats = distinct(digests)
        wanted = [Key(self.cache.namespace, digests[first]) for first in firsts]
        anew = partial(self.digests_of, values, items)
        return Order(self.cache.apply, values, self.place, items, wanted, firsts, seats, group, others, anew)

    def digests_of(self, values: Values, items: Items) -> list[bytes]:
        """By place, the digests of items as they are now, in a call with these bound arguments."""
        container = items.take(range(len(items)))
        now = items_of(container, self.batch.items, self.batch.axis)
        return self.keying.digests(now, self.keying.group(now, self.keying.others(values)))

    def plan(self, terms: Terms, *, isolate: bool = False) -> Plan:
        """How what is missing is computed."""
        when = terms.when
        own = msgspec.structs.replace(
            terms,
            expiry=terms.expiry.through(own_answer),
            when=None if when is None else lambda kept: when(own_answer(kept)),
            seal=sealing(terms.seal),
        )
        copies = self.options.returns != "reference"
        return Plan(own, self.batch.limits, isolate=isolate, workers=self.cache.workers, copies=copies)

    @cached_property
    def own_plan(self) -> Plan:
        """How what is missing is computed on the function's own terms."""
        return self.plan(self.cache.terms)

    @cached_property
    def singles(self) -> Singles:
        """What puts single items into batches."""
        with self._lock:  # cached_property has none from Python 3.12 on; two would not share their slots
            if "singles" not in self.__dict__:
                collate = collate_of(self.function, self.batch)
                self.__dict__["singles"] = Singles(
                    self.cache, self.batch, collate, self.place, self.plan, self.digests_of
                )
            made: Singles = self.__dict__["singles"]
            return made

    @cached_property
    def is_at_hand(self) -> bool:
        """Whether all there is lies in the memory of this process, where a look takes no step of a driver."""
        return self.cache.store.at_hand

    def order_of_one(self, item: Any, args: Values, kwargs: Kwargs) -> Order:
        """What a call for a single item asks for."""
        collate, kind = self.singles.collate, self.singles.kind_of(item)
        if kind is not None:  # no container is made, so that there is none among the bound arguments
            return self._order(self.bind_item(None, args, kwargs), Collected([item], collate, kind))
        order = self.order(self.bind_item(collate([item]), args, kwargs))
        check_single(len(order.items), self.batch.items)
        return order

    def bind_item(self, batch: Any, args: Values, kwargs: Kwargs) -> Values:
        """The bound arguments, where ``args`` are those beside the items, in their order."""
        place = self.place
        if self.is_positional and place <= len(args):
            return self.bind(*args[:place], batch, *args[place:], **kwargs)
        return self.bind(*args, **{self.batch.items: batch}, **kwargs)
