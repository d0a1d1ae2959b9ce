"""What ``ml_cache`` returns: the function with a cache before it, and ways to look into it and steer it.

There are two faces of the same actions. ``CachedFunction`` blocks; ``AsyncCachedFunction``
is made of coroutines. A plain function has the first, with the second as its attribute
``aio``; a coroutine function has the second alone.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable
from contextlib import closing
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, cast, overload

from mlcache.actions import Actions, Explanation
from mlcache.cache import CacheInfo
from mlcache.drive import blocking, suspending
from mlcache.entry import Key
from mlcache.flow import Step
from mlcache.result import Result
from mlcache.threads import in_thread

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")


class Face(Generic[P, R]):
    """What both faces have in common.

    Args:
        actions: of the function.
    """

    __wrapped__: Callable[P, Any]
    __name__: str
    __qualname__: str
    _bound: tuple[Any, ...] = ()
    """What comes before the arguments: the instance, where it was taken from one."""
    _installed = False

    def __init__(self, actions: Actions) -> None:
        functools.update_wrapper(cast("Callable[..., Any]", self), actions.function)
        self._actions = actions
        self._lock = threading.Lock()

    def _install(self, *, suspends: bool) -> Callable[..., Any]:
        """Compile the call and make it this object's ``__call__``.

        Only a type can have a ``__call__``, so the object moves to a type of its own. A method
        that looks the compiled function up at each call would add a quarter to the price of a hit.
        """
        with self._lock:
            if not self._installed:
                call = self._actions.compile_call(suspends=suspends)
                body = {"__call__": staticmethod(call), "__doc__": self.__doc__, "__module__": __name__}
                self.__class__ = type(type(self).__name__, (type(self),), body)
                self._installed = True
        return cast("Callable[..., Any]", self)

    def __ml_cache_key__(self) -> object:
        """As an argument or in a closure, a cached function is what its function is."""
        return self._actions.identity.digest

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> Any:
        """Pickled by name, as functions are."""
        return self.__qualname__

    def __repr__(self) -> str:
        name = f"{self.__module__}.{getattr(self, '__qualname__', None) or repr(self._actions.function)}"
        opened = self._actions.opened
        how = f", {opened.store!r}, {opened.terms.expiry}" if opened else ""
        return f"<ml_cache of {name}{how}>"


class AsyncCachedFunction(Face[P, R]):
    """A function with a cache before it, as seen from an event loop: everything is awaited."""

    async def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """The answer: from the cache, or computed once for all who ask meanwhile."""
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
    def _is_coroutine(self) -> object:
        """By this ``asyncio.iscoroutinefunction`` knows coroutine functions that are no functions."""
        return getattr(sys.modules.get("asyncio.coroutines"), "_is_coroutine", None)

    async def call_with_info(self, /, *args: P.args, **kwargs: P.kwargs) -> Result[R]:
        """The answer and how it came about."""
        return await self._run(self._actions.call_with_info(self._bound + args, kwargs))

    async def peek(self, /, *args: P.args, **kwargs: P.kwargs) -> Result[R] | None:
        """What is kept for this call, if it is not dead; nothing is computed."""
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

    async def warm(self, calls: Iterable[Any]) -> int:
        """Compute what is not kept yet; see ``CachedFunction.warm``."""
        return await self._run(self._actions.warm(calls, self._bound))

    async def uncached(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself; nothing is looked up or kept."""
        return cast("R", await self._run(self._actions.uncached(self._bound + args, kwargs)))

    async def cache_key(self, /, *args: P.args, **kwargs: P.kwargs) -> Key:
        """What the answer to this call is kept under."""
        return self._actions.call(self._bound + args, kwargs).key

    async def explain(self, /, *args: P.args, **kwargs: P.kwargs) -> Explanation:
        """What goes into the key of this call, and what each tier has for it."""
        explain = functools.partial(self._actions.explain, self._bound + args, kwargs)
        return await in_thread("store", explain)

    async def cache_info(self) -> CacheInfo:
        """Hits, misses and the like, as ``functools.lru_cache`` has them, and more."""
        return await in_thread("store", self._actions.cache.info)

    async def cache_clear(self) -> None:
        """Forget all answers of this function in all tiers, and set its counts to zero."""
        await in_thread("store", self._actions.cache.clear)

    async def cache_parameters(self) -> dict[str, Any]:
        """How the cache was set up."""
        return await in_thread("store", self._actions.in_words)

    async def _run(self, flow: Coroutine[Step, Any, T]) -> T:
        with closing(flow):  # where the cache cannot be opened, nobody else does
            return await suspending(flow, self._actions.cache)


class CachedFunction(Face[P, R]):
    """A plain function with a cache before it.

    Attributes:
        aio: the same for an event loop: a hit is answered at once, a miss is computed in a thread.
    """

    def __init__(self, actions: Actions) -> None:
        super().__init__(actions)
        self.aio: AsyncCachedFunction[P, R] = AsyncCachedFunction(actions)

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """The answer: from the cache, or computed once for all who ask meanwhile."""
        return cast("R", self._install(suspends=False)(*args, **kwargs))

    # From a class, neither mypy nor pyright can tell a class method from a static or a plain one.
    @overload
    def __get__(self, instance: None, owner: type) -> CachedFunction[..., R]: ...

    @overload
    def __get__(
        self: CachedFunction[Concatenate[S, Q], R], instance: S, owner: type | None = None
    ) -> CachedFunction[Q, R]: ...

    @overload
    def __get__(
        self: CachedFunction[Concatenate[type[S], Q], R], instance: S, owner: type[S]
    ) -> CachedFunction[Q, R]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> Self: ...

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else CachedMethod(self, instance)

    def call_with_info(self, /, *args: P.args, **kwargs: P.kwargs) -> Result[R]:
        """The answer and how it came about."""
        return self._run(self._actions.call_with_info(self._bound + args, kwargs))

    def peek(self, /, *args: P.args, **kwargs: P.kwargs) -> Result[R] | None:
        """What is kept for this call, if it is not dead; nothing is computed."""
        return self._run(self._actions.peek(self._bound + args, kwargs))

    def put(self, value: R, /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Keep ``value`` as the answer to this call."""
        self._run(self._actions.put(value, self._bound + args, kwargs))

    def invalidate(self, /, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Forget the answer to this call, and keep none that is being computed; whether there was one."""
        return self._run(self._actions.invalidate(self._bound + args, kwargs))

    def refresh(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Compute this call anew, keep the answer and return it."""
        return cast("R", self._run(self._actions.refresh(self._bound + args, kwargs)))

    def warm(self, calls: Iterable[Any]) -> int:
        """Compute what is not kept yet.

        Args:
            calls: a tuple is the positional arguments of one call, a mapping its keyword
                arguments, anything else its only argument.

        Returns:
            How many were computed.
        """
        return self._run(self._actions.warm(calls, self._bound))

    def uncached(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself; nothing is looked up or kept."""
        return cast("R", self._actions.function(*self._bound, *args, **kwargs))

    def cache_key(self, /, *args: P.args, **kwargs: P.kwargs) -> Key:
        """What the answer to this call is kept under."""
        return self._actions.call(self._bound + args, kwargs).key

    def explain(self, /, *args: P.args, **kwargs: P.kwargs) -> Explanation:
        """What goes into the key of this call, and what each tier has for it."""
        return self._actions.explain(self._bound + args, kwargs)

    def cache_info(self) -> CacheInfo:
        """Hits, misses and the like, as ``functools.lru_cache`` has them, and more."""
        return self._actions.cache.info()

    def cache_clear(self) -> None:
        """Forget all answers of this function in all tiers, and set its counts to zero."""
        self._actions.cache.clear()

    def cache_parameters(self) -> dict[str, Any]:
        """How the cache was set up."""
        return self._actions.in_words()

    def _run(self, flow: Coroutine[Step, Any, T]) -> T:
        with closing(flow):  # where the cache cannot be opened, nobody else does
            return blocking(flow, self._actions.cache)


class _Method:
    """A cached function taken from an instance, which comes before the arguments.

    Args:
        function: of the class.
        instance: it was taken from.
    """

    def __init__(self, function: Any, instance: Any) -> None:
        self.__func__ = function
        self.__self__ = instance
        self._actions = function._actions  # noqa: SLF001 - of the same kind
        self._bound = (instance,)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.__func__, name)
        if name == "__wrapped__":
            return MethodType(value, self.__self__)
        return AsyncCachedMethod(value, self.__self__) if name == "aio" else value

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, _Method) and self.__func__ is other.__func__
        return same and self.__self__ is cast("_Method", other).__self__

    def __hash__(self) -> int:
        return hash((id(self.__func__), id(self.__self__)))

    def __reduce__(self) -> Any:
        return getattr, (self.__self__, self.__func__.__name__)


class CachedMethod(_Method, CachedFunction[P, R]):
    """A plain method with a cache before it."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """As ``CachedFunction.__call__``, of the instance."""
        return cast("R", self.__func__(self.__self__, *args, **kwargs))


class AsyncCachedMethod(_Method, AsyncCachedFunction[P, R]):
    """A coroutine method with a cache before it."""

    async def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """As ``AsyncCachedFunction.__call__``, of the instance."""
        return cast("R", await self.__func__(self.__self__, *args, **kwargs))
