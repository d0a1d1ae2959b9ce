"""What can be done with a cached function, as flows that either driver can drive."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import cached_property, partial
from types import FunctionType
from typing import TYPE_CHECKING, Any

import msgspec

from mlcache import clock, engines, forks, keys, misses
from mlcache.by_hand import invalidate, peek, put, refresh
from mlcache.cache import Cache, Options
from mlcache.call import Call, Parameters, Values, text_name
from mlcache.entry import FOREVER, Entry, Failure, Key
from mlcache.errors import ConfigurationError
from mlcache.fastpath import Exits, compile_fast_path
from mlcache.flight.carried import carried
from mlcache.flow import answer, bypass
from mlcache.keeping import beside
from mlcache.steps import Compute, Made, Outcome, Status, Step

if TYPE_CHECKING:
    from mlcache.explanation import Explanation
    from mlcache.key_tree import KeyTree
    from mlcache.result import Result

Kwargs = Mapping[str, Any]


class Actions:
    """One cached function: its parts, opened at first use, and what can be done with it.

    Args:
        function: what is cached.
        options: checked.
        suspends: whether it is a coroutine function.
        identity: of the function, where it is known, as that of one from another process is.

    Raises:
        UnhashableArgumentError: something that is bound to the function has no stable key.
    """

    token: str | None = None
    """By which other processes know it, once it was sent to one."""

    def __init__(
        self,
        function: Callable[..., Any],
        options: Options,
        *,
        suspends: bool,
        identity: keys.Identity | None = None,
    ) -> None:
        self.function = function
        self.options = options
        self.suspends = suspends
        self.parameters = Parameters(function, engines.names_passed(function, options.offload))
        self._lock = threading.RLock()
        forks.tend(self)
        self._cache: Cache | None = None
        if identity is not None:
            self.identity = identity
        elif _is_bound_to_something(function):
            _ = self.identity  # an error belongs to the decoration

    @cached_property
    def identity(self) -> keys.Identity:
        """Of the function; what it closes over is read once, here."""
        asked = self.options
        return keys.identify(
            self.function,
            version=asked.version,
            ignore=asked.ignore,
            stand_ins=asked.stand_ins,
            name=asked.name,
        )

    @property
    def cache(self) -> Cache:
        """The parts; the environment is read and the backends are opened when they are first asked for."""
        if self._cache is None:
            with self._lock:
                if self._cache is None:
                    self._cache = Cache(
                        self.function, self.parameters, self.options, self.identity, suspends=self.suspends
                    )
        return self._cache

    def after_fork(self) -> None:
        """Be ready to open in a child that was forked while another thread did."""
        self._lock = threading.RLock()

    @cached_property
    def local(self) -> Callable[..., Any]:
        """The function with its resources, as it is called in this process without a cache."""
        return engines.with_resources(self.function, self.options.offload)

    @property
    def opened(self) -> Cache | None:
        """The parts, if they have been opened."""
        return self._cache

    @cached_property
    def bind(self) -> Callable[..., Values]:
        """From arguments to the tuple of them, bound."""
        return self.parameters.compile_bind(text_name(self.function))

    def compile_call(self, *, suspends: bool) -> Callable[..., Any]:
        """What is called in place of the function, in a thread or on an event loop."""
        cache = self.cache
        if cache.settings.disabled and suspends == self.suspends and not cache.offloads:
            return self.local
        exits = Exits(
            miss=partial(misses.miss_suspending if suspends else misses.miss, cache),
            detour=partial(misses.detour_suspending if suspends else misses.detour, cache),
            count_hit=cache.tally.hits.add,
        )
        memory = None if cache.settings.disabled or not cache.terms.expiry.is_plain else cache.store.memory
        name, cap = text_name(self.function), cache.terms.expiry.capped
        path = compile_fast_path(name, cache.keying, exits, memory, cap, suspends=suspends)
        cache.namesakes.install(path)
        return path

    def call(self, args: Values, kwargs: Kwargs) -> Call:
        """The call with these arguments."""
        values = self.bind(*args, **kwargs)
        return self.cache.call(self.cache.digest(values), values)

    def outcome(self, call: Call) -> Coroutine[Step, Any, Outcome]:
        """The flow of one call, past the cache where that is switched off."""
        return misses.outcome(self.cache, call)

    async def within(self, max_age: float, args: Values, kwargs: Kwargs) -> Any:
        """The flow of one call whose answer must not be older than ``max_age`` seconds."""
        return self._hand_out((await self._within(max_age, self.call(args, kwargs))).entry)

    async def call_with_info(self, args: Values, kwargs: Kwargs, max_age: float = FOREVER) -> Result[Any]:
        """The flow of one call, with how its answer came about, which must not be older than that."""
        return self._result(await self._within(max_age, self.call(args, kwargs)))

    async def _within(self, max_age: float, call: Call) -> Outcome:
        terms = msgspec.structs.replace(self.cache.terms, max_age=max_age)
        return await (bypass(call) if self._is_off() else answer(call, terms))

    async def peek(self, args: Values, kwargs: Kwargs) -> Result[Any] | None:
        """The flow that only looks."""
        outcome = await peek(self.call(args, kwargs).key)
        return None if outcome is None or is_failure(outcome.entry) else self._result(outcome)

    async def put(self, value: Any, args: Values, kwargs: Kwargs) -> None:
        """The flow that keeps a value computed elsewhere."""
        await put(self.call(args, kwargs).key, Made(value, clock.now(), 0.0), self.cache.terms)

    async def invalidate(self, args: Values, kwargs: Kwargs) -> bool:
        """The flow that forgets."""
        return await invalidate(self.call(args, kwargs).key)

    async def refresh(self, args: Values, kwargs: Kwargs) -> Any:
        """The flow that computes anew."""
        call = self.call(args, kwargs)
        outcome = await (bypass(call) if self._is_off() else refresh(call, self.cache.terms))
        return self._hand_out(outcome.entry)

    async def warm(self, calls: Iterable[Any], bound: Values = (), *, progress: bool | None = None) -> int:
        """The flow that computes what is not kept; how many it computed."""
        from mlcache.progress import Progress, how_many

        computed = 0
        with Progress(self.identity.name, "calls", how_many(calls), shown=progress) as bar:
            for each in calls:
                args, kwargs = arguments_of(each)
                outcome = await self.outcome(self.call(bound + args, kwargs))
                computed += outcome.status is Status.MISS
                bar.advance()
        return computed

    async def uncached(self, args: Values, kwargs: Kwargs) -> Any:
        """The flow that only calls the function."""
        call = Call(Key(self.cache.namespace, b""), args, lambda args: self.cache.invoke(*args, **kwargs))
        made: Made = await Compute(call)
        return made.value

    def keys(self, args: Values, kwargs: Kwargs) -> Any:
        """What the answer to this call is kept under."""
        return self.call(args, kwargs).key

    def one_blocking(self, _item: Any, _args: Values, _kwargs: Kwargs) -> Any:
        """Answer a single item in this thread, which only a function of many can."""
        raise ConfigurationError(
            f"{self.identity.name} is not decorated with batch: one() is for functions of many items"
        )

    async def one_suspending(self, item: Any, args: Values, kwargs: Kwargs) -> Any:
        """Answer a single item on an event loop."""
        return self.one_blocking(item, args, kwargs)

    def in_words(self) -> dict[str, Any]:
        """How the cache was set up."""
        cache = self.cache
        return {
            "maxsize": cache.info().maxsize,
            "typed": True,
            "namespace": cache.namespace,
            "backend": repr(cache.store),
            "ttl": str(cache.terms.expiry),
            "ignore": sorted(self.options.ignore),
            "key": sorted(self.options.stand_ins),
            "version": self.options.version,
            "returns": self.options.returns,
        }

    def explain(self, args: Values, kwargs: Kwargs) -> Explanation:
        """What goes into the key of this call, and what each tier has for it."""
        from mlcache.explanation import Explanation, describe

        call = self.call(args, kwargs)
        beside_it = self.cache.store.look(beside(call.key)) if self.cache.terms.expiry.errors else {}
        tiers = {
            name: describe(entry, beside_it.get(name))
            for name, entry in self.cache.store.look(call.key).items()
        }
        arguments = {
            name: self._role(name, value)
            for name, value in zip(self.parameters.names, call.values, strict=True)
        }
        return Explanation(str(call.key), arguments, tiers, str(self.cache.terms.expiry))

    def explain_key(self, args: Values, kwargs: Kwargs) -> KeyTree:
        """What goes into the key of this call, part by part."""
        from mlcache.key_tree import key_tree

        about = f"{self.identity.name}, version {self.options.version!r}  {self.identity.digest.hex()[:8]}"
        return key_tree(about, self.cache.keying, self.bind(*args, **kwargs))

    def _role(self, name: str, value: Any) -> str:
        kind = type(value).__qualname__
        if name in self.options.ignore:
            return f"{kind}, ignored"
        if name in self.options.stand_ins:
            return f"{kind}, keyed by {self.options.stand_ins[name](value)!r:.60}"
        return f"{kind}, keyed by content"

    def _is_off(self) -> bool:
        return misses.is_off(self.cache)

    def _hand_out(self, entry: Entry) -> Any:
        """What the caller of a flow gets of an entry."""
        try:
            return self.cache.hand_out(entry)
        except StopIteration as error:  # which was kept
            raise carried(error) from None

    def _result(self, outcome: Outcome) -> Result[Any]:
        from mlcache.result import Result, moment

        entry = outcome.entry
        return Result(
            value=self._hand_out(entry),
            status=outcome.status.value,
            tier=outcome.tier,
            age=max(clock.now() - entry.created, 0.0),
            created_at=moment(entry.created),
            expires_at=None if entry.fresh_until == FOREVER else moment(entry.fresh_until),
            kept=outcome.kept,
        )


def is_failure(entry: Entry) -> bool:
    """Whether an entry keeps an exception."""
    return isinstance(entry.value, Failure)


def arguments_of(each: Any) -> tuple[Values, Kwargs]:
    """A tuple is positional arguments, a mapping keyword arguments, anything else the one argument."""
    if isinstance(each, tuple):
        return each, {}
    return ((), each) if isinstance(each, Mapping) else ((each,), {})


def _is_bound_to_something(function: Callable[..., Any]) -> bool:
    """Whether there is more to the function than its code, all of it known by now."""
    if not isinstance(function, FunctionType):
        return True
    cells = function.__closure__ or ()
    return bool(cells) and all(_is_filled(cell) for cell in cells)


def _is_filled(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True
