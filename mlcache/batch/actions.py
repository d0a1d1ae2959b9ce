"""What can be done with a cached function of many items, as flows that either driver can drive."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np

from mlcache import switch
from mlcache.actions import Kwargs, arguments_of, is_failure
from mlcache.backends.tiered import Found
from mlcache.batch import by_hand
from mlcache.batch.abreast import Abreast
from mlcache.batch.answered import Answered
from mlcache.batch.answers import own_answer, put_together, take_apart
from mlcache.batch.collating import check_single
from mlcache.batch.flow import answer, peek, refresh
from mlcache.batch.forms import DifferentForms
from mlcache.batch.items import items_of
from mlcache.batch.order import Order
from mlcache.batch.parts import BatchParts
from mlcache.batch.riders import Rider, outcome_of
from mlcache.batch.seats import Plan
from mlcache.batch.steps import DropMany
from mlcache.call import Call, Values
from mlcache.drive import blocking, suspending
from mlcache.entry import FOREVER, Key
from mlcache.errors import BatchAnswerError
from mlcache.explanation import Explanation, count_states
from mlcache.flight import waiting_for
from mlcache.flight.carried import carried
from mlcache.flow import bypass
from mlcache.key_tree import KeyTree
from mlcache.progress import Progress, how_many
from mlcache.result import Result
from mlcache.steps import Outcome, Status
from mlcache.terms import Terms


class BatchActions(BatchParts):
    """One cached function of many items, and what can be done with it."""

    def compile_call(self, *, suspends: bool) -> Callable[..., Any]:
        """What is called in place of the function, in a thread or on an event loop."""
        cache, bind = self.cache, self.bind
        if cache.settings.disabled and suspends == self.suspends and not cache.offloads:
            return self.local

        def call(*args: Any, **kwargs: Any) -> Any:
            return blocking(self._answer(bind(*args, **kwargs), cache.terms), cache)

        async def call_suspending(*args: Any, **kwargs: Any) -> Any:
            return await suspending(self._answer(bind(*args, **kwargs), cache.terms), cache)

        return call_suspending if suspends else call

    async def _answer(self, values: Values, terms: Terms) -> Any:
        found = await self._outcomes(values, terms)
        return found.value

    async def _outcomes(self, values: Values, terms: Terms, *, progress: bool | None = None) -> Answered:
        """The flow of one call: its outcomes, put together.

        Args:
            values: bound arguments.
            terms: for this call.
            progress: whether to show a bar; None: as the options say.
        """
        order = None if self._is_off() else self.order(values)
        if order is None or not order.keys:
            outcome = await bypass(Call(Key(self.cache.namespace, b""), values, self.cache.apply))
            return Answered(outcome.entry.value, [outcome])
        plan = self.own_plan if terms is self.cache.terms else self.plan(terms)
        shown = self.batch.progress if progress is None else progress
        with Progress(self.identity.name, "items", len(order.keys), shown=shown) as bar:
            outcomes = await answer(order, msgspec.structs.replace(plan, advance=bar.advance))
        try:
            return Answered(self._join(order, outcomes), outcomes)
        except DifferentForms:
            return await self._anew(order, plan)

    async def _anew(self, order: Order, plan: Plan) -> Answered:
        with Progress(self.identity.name, "items", len(order.keys), shown=self.batch.progress) as bar:
            outcomes = await refresh(order, msgspec.structs.replace(plan, advance=bar.advance))
        try:
            return Answered(self._join(order, outcomes), outcomes)
        except DifferentForms as error:
            raise BatchAnswerError(
                f"the function's answers to parts of this batch do not fit together: {error}"
            ) from None

    def _join(self, order: Order, outcomes: Sequence[Outcome]) -> Any:
        entries = [outcomes[seat].entry for seat in order.seats]
        hand_out = self.cache.hand_out
        try:
            answers = [hand_out(entry) for entry in entries]
        except StopIteration as error:  # which was kept
            raise carried(error) from None
        value = put_together(answers, order.items)
        if type(value) is np.ndarray and self.options.returns == "readonly":
            value.flags.writeable = False  # as an answer that was kept as a whole
        return value

    async def within(self, max_age: float, args: Values, kwargs: Kwargs) -> Any:
        """The flow of one call whose answers must not be older than ``max_age`` seconds."""
        return await self._answer(self.bind(*args, **kwargs), self._terms(max_age))

    async def call_with_info(self, args: Values, kwargs: Kwargs, max_age: float = FOREVER) -> Result[Any]:
        """The flow of one call, with how its answers came about, which must not be older than that."""
        return (await self._outcomes(self.bind(*args, **kwargs), self._terms(max_age))).result()

    def _terms(self, max_age: float) -> Terms:
        terms = self.cache.terms
        return terms if max_age == FOREVER else msgspec.structs.replace(terms, max_age=max_age)

    async def peek(self, args: Values, kwargs: Kwargs) -> Result[Any] | None:
        """The flow that only looks; None unless the answers to all items are there."""
        order = self.order(self.bind(*args, **kwargs))
        outcomes = await peek(order)
        if not outcomes or any(is_failure(outcome.entry) for outcome in outcomes):
            return None
        try:
            return Answered(self._join(order, outcomes), outcomes).result()
        except DifferentForms:
            return None

    async def put(self, value: Any, args: Values, kwargs: Kwargs) -> None:
        """The flow that keeps answers computed elsewhere; ``value`` holds one for each item."""
        await by_hand.put(self.order(self.bind(*args, **kwargs)), value, self.own_plan.terms)

    async def invalidate(self, args: Values, kwargs: Kwargs) -> bool:
        """The flow that forgets the answers to all items; whether there was any."""
        gone: bool = await DropMany(self.order(self.bind(*args, **kwargs)).keys)
        return gone

    async def refresh(self, args: Values, kwargs: Kwargs) -> Any:
        """The flow that computes all items anew."""
        values = self.bind(*args, **kwargs)
        order = None if self._is_off() else self.order(values)
        if order is None or not order.keys:
            return await self._answer(values, self.cache.terms)
        return (await self._anew(order, self.own_plan)).value

    async def warm(self, calls: Iterable[Any], bound: Values = (), *, progress: bool | None = None) -> int:
        """The flow that computes what is not kept, of as many calls at a time as ``one`` has batches.

        Returns:
            How many items it computed.
        """
        most = self.batch.concurrency or self.cache.workers
        count = how_many(calls)
        inner = progress if count == 1 else False  # a bar for each of many calls would hide that of all
        with Progress(self.identity.name, "calls", count, shown=progress) as bar:
            flows = (self._warm(each, bound, progress=inner) for each in calls)
            computed: list[int] = await Abreast(flows, most, bar.advance)
        return sum(computed)

    async def _warm(self, call: Any, bound: Values, *, progress: bool | None) -> int:
        args, kwargs = arguments_of(call)
        values = self.bind(*bound, *args, **kwargs)
        found = await self._outcomes(values, self.cache.terms, progress=progress)
        return sum(outcome.status is Status.MISS for outcome in found.outcomes)

    def keys(self, args: Values, kwargs: Kwargs) -> Any:
        """By item, what its answer is kept under."""
        order = self.order(self.bind(*args, **kwargs))
        return [order.keys[seat] for seat in order.seats]

    async def one(self, item: Any, args: Values, kwargs: Kwargs) -> Any:
        """The flow of a single item, which is computed in one batch with others that come meanwhile."""
        if self._is_off():
            return await self._one_past_the_cache(item, args, kwargs)
        order = self.order_of_one(item, args, kwargs)
        outcomes = await answer(order, self.own_plan, self.singles.boarding(item, order))
        return own_answer(self._hand_out(outcomes[0].entry))

    def one_blocking(self, item: Any, args: Values, kwargs: Kwargs) -> Any:
        """Answer a single item in this thread."""
        begun = self._begin_one(item, args, kwargs)
        if isinstance(begun, Rider):
            self.singles.wait(begun)
            begun = outcome_of(begun.flight)
        if begun is None:
            return blocking(self.one(item, args, kwargs), self.cache)
        return own_answer(self.cache.hand_out(begun.entry))

    async def one_suspending(self, item: Any, args: Values, kwargs: Kwargs) -> Any:
        """Answer a single item on an event loop."""
        begun = self._begin_one(item, args, kwargs)
        if isinstance(begun, Rider):
            try:
                with waiting_for(begun.flight):
                    await self.singles.arrival(begun, suspends=self.suspends)
            except BaseException:
                begun.left = True
                raise
            begun = outcome_of(begun.flight)
        if begun is None:
            return await suspending(self.one(item, args, kwargs), self.cache)
        return own_answer(self.cache.hand_out(begun.entry))

    def _begin_one(self, item: Any, args: Values, kwargs: Kwargs) -> Found | Rider | Outcome | None:
        """What memory has for a single item, or the item, about to ride; None where only the flow knows.

        The flow would do the same. But a thousand tasks may wait, and then what each of them holds, of the
        flow and of its driver, takes longer to make and to look through than all that is done.
        """
        cache = self.cache
        if switch.detours or not self.is_at_hand:
            return None
        order = self.order_of_one(item, args, kwargs)
        found = cache.store.find(order.keys[0])
        if found is None:
            return self.singles.rider(item, order)
        if not cache.terms.is_simply_served(found):
            return None
        cache.tally.hits.add()
        return found

    async def _one_past_the_cache(self, item: Any, args: Values, kwargs: Kwargs) -> Any:
        batch = self.singles.collate([item])
        values = self.bind_item(batch, args, kwargs)
        items = items_of(batch, self.batch.items, self.batch.axis)
        check_single(len(items), self.batch.items)
        outcome = await bypass(Call(Key(self.cache.namespace, b""), values, self.cache.apply))
        return own_answer(take_apart(outcome.entry.value, items, [0], batch)[0])

    def in_words(self) -> dict[str, Any]:
        """How the cache was set up."""
        return {**super().in_words(), "batch": repr(self.batch)}

    def explain(self, args: Values, kwargs: Kwargs) -> Explanation:
        """What goes into the keys of this call, and how much of it each tier has."""
        order = self.order(self.bind(*args, **kwargs))
        arguments = {
            name: self._role(name, value)
            for name, value in zip(self.parameters.names, order.values, strict=True)
        }
        many = f"{len(order.seats)} items, {len(order.keys)} of them distinct"
        kind = type(order.values[self.place]).__qualname__
        arguments[self.batch.items] = f"{kind} of {many}, each with a key"
        looks = [self.cache.store.look(key) for key in order.keys]
        names = dict.fromkeys(name for look in looks for name in look)
        tiers = {name: count_states([look.get(name) for look in looks]) for name in names}
        shown = str(order.keys[0]) + (", …" if len(order.keys) > 1 else "") if order.keys else "none"
        return Explanation(shown, arguments, tiers, str(self.cache.terms.expiry))

    def explain_key(self, args: Values, kwargs: Kwargs) -> KeyTree:
        """What goes into the keys of this call: those of the items come last."""
        order = self.order(self.bind(*args, **kwargs))
        tree = super().explain_key(args, kwargs)
        digests = [order.keys[seat].digest.hex() for seat in order.seats]
        rows = [f"{self.batch.items}[{place}]: {digest}" for place, digest in enumerate(digests)]
        return KeyTree((*tree.lines, "keys of the items:", *rows))
