"""The face of a cached function for event loops."""

from __future__ import annotations

import functools
from collections.abc import Coroutine, Iterable
from contextlib import closing
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar, cast, overload

from mlcache import switch
from mlcache.actions import Actions
from mlcache.cache import Cache
from mlcache.coroutines import CoroutineFunction
from mlcache.drive import suspending
from mlcache.entry import Key, Span
from mlcache.face import Face, Method
from mlcache.fresh import AsyncFresh
from mlcache.steps import Step
from mlcache.threads import in_thread

if TYPE_CHECKING:
    import asyncio

    from mlcache.explanation import Explanation
    from mlcache.info import CacheInfo
    from mlcache.key_tree import KeyTree
    from mlcache.result import Result

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")


class AsyncCachedFunction(Face[P, R], CoroutineFunction):
    """A function with a cache before it, as seen from an event loop: everything is awaited."""

    _opening: asyncio.Future[Cache] | None = None

    def __init__(self, actions: Actions) -> None:
        super().__init__(actions)
        CoroutineFunction.__init__(self)

    async def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """The answer: from the cache, or computed once for all who ask meanwhile."""
        if switch.is_plain() and self._actions.suspends:
            return cast("R", await self._actions.local(*args, **kwargs))
        await self._open()
        return cast("R", await self._install(suspends=True)(*args, **kwargs))

    # From a class, neither mypy nor pyright can tell a class method from a static or a plain one.
    @overload
    def __get__(self, instance: None, owner: type) -> AsyncCachedFunction[..., R]: ...

    @overload
    def __get__(
        self: AsyncCachedFunction[Concatenate[S, Q], R], instance: S, owner: type | None = None
    ) -> AsyncCachedFunction[Q, R]: ...

    @overload
    def __get__(
        self: AsyncCachedFunction[Concatenate[type[S], Q], R], instance: S, owner: type[S]
    ) -> AsyncCachedFunction[Q, R]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> Self: ...

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else AsyncCachedMethod(self, instance)

    @property
    def _suffix(self) -> str:
        return "" if self._actions.suspends else ".aio"

    async def call_with_info(self, /, *args: P.args, **kwargs: P.kwargs) -> Result[R]:
        """The answer and how it came about."""
        return await self._run(self._actions.call_with_info(self._bound + args, kwargs))

    def fresh(self, *, max_age: Span) -> AsyncFresh[P, R]:
        """The same function for callers who want it fresher; see ``CachedFunction.fresh``."""
        return AsyncFresh(self._actions, self._bound, self._run, max_age)

    async def peek(self, /, *args: P.args, **kwargs: P.kwargs) -> Result[R] | None:
        """What is kept for this call, if it is not dead; nothing is computed. A kept exception is None.

        Its status is ``stale`` also where only ``stale_if_error`` holds it, which a call serves only once
        computing has failed.
        """
        return await self._run(self._actions.peek(self._bound + args, kwargs))

    async def put(self, value: R, /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Keep ``value`` as the answer to this call."""
        await self._run(self._actions.put(value, self._bound + args, kwargs))

    async def invalidate(self, /, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Forget the answer to this call, and keep none that is being computed; whether there was one."""
        return await self._run(self._actions.invalidate(self._bound + args, kwargs))

    async def refresh(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Compute this call anew, keep the answer and return it."""
        return cast("R", await self._run(self._actions.refresh(self._bound + args, kwargs)))

    async def warm(self, calls: Iterable[Any], *, progress: bool | None = None) -> int:
        """Compute what is not kept yet; see ``CachedFunction.warm``."""
        return await self._run(self._actions.warm(calls, self._bound, progress=progress))

    async def uncached(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself; nothing is looked up or kept."""
        return cast("R", await self._run(self._actions.uncached(self._bound + args, kwargs)))

    async def one(self, item: Any, /, *args: Any, **kwargs: Any) -> Any:
        """The answer to one item of a function of many; see ``CachedFunction.one``."""
        if self._actions.opened is None:
            await self._open()
        return await self._actions.one_suspending(item, self._bound + args, kwargs)

    async def cache_key(self, /, *args: P.args, **kwargs: P.kwargs) -> Key:
        """What the answer to this call is kept under."""
        await self._open()
        return cast("Key", self._actions.keys(self._bound + args, kwargs))

    async def explain(self, /, *args: P.args, **kwargs: P.kwargs) -> Explanation:
        """What goes into the key of this call, and what each tier has for it."""
        explain = functools.partial(self._actions.explain, self._bound + args, kwargs)
        return await in_thread("store", explain)

    async def explain_key(self, /, *args: P.args, **kwargs: P.kwargs) -> KeyTree:
        """What goes into the key of this call, part by part; see ``CachedFunction.explain_key``."""
        explain = functools.partial(self._actions.explain_key, self._bound + args, kwargs)
        return await in_thread("store", explain)

    async def cache_info(self) -> CacheInfo:
        """Hits, misses and the like, as ``functools.lru_cache`` has them, and more."""
        return await in_thread("store", (await self._open()).info)

    async def cache_clear(self) -> None:
        """Forget all answers of this function in all tiers, and set its counts to zero."""
        await in_thread("store", (await self._open()).clear)

    async def cache_parameters(self) -> dict[str, Any]:
        """How the cache was set up."""
        return await in_thread("store", self._actions.in_words)

    async def _run(self, flow: Coroutine[Step, Any, T]) -> T:
        with closing(flow):  # where the cache cannot be opened, nobody else does
            return await suspending(flow, await self._open())

    async def _open(self) -> Cache:
        """The parts; opening them imports packages and looks into folders, which would hold up the loop.

        All who come first wait for one opening, so that they go on in the order in which they came.
        """
        if self._actions.opened is not None:
            return self._actions.opened
        import asyncio

        opening = self._opening
        if opening is None or opening.get_loop() is not asyncio.get_running_loop():
            opening = asyncio.ensure_future(in_thread("store", lambda: self._actions.cache))
            self._opening = opening
            opening.add_done_callback(self._end_opening)
        return await asyncio.shield(opening)

    def _end_opening(self, opening: asyncio.Future[Cache]) -> None:
        if self._opening is opening:
            self._opening = None
        if not opening.cancelled():
            opening.exception()  # it reaches all who wait, who may have gone


class AsyncCachedMethod(Method, AsyncCachedFunction[P, R]):
    """A coroutine method with a cache before it."""

    async def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """As ``AsyncCachedFunction.__call__``, of the instance."""
        return cast("R", await self.__func__(self.__self__, *args, **kwargs))
