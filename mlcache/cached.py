"""What ``ml_cache`` returns: the function with a cache before it, and ways to look into it and steer it.

There are two faces of the same actions. ``CachedFunction`` blocks; ``AsyncCachedFunction`` is made of
coroutines. A plain function has the first, with the second as its attribute ``aio``; a
coroutine function has the second alone.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterable
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, cast, overload

from mlcache.actions import Actions, Explanation
from mlcache.cache import CacheInfo
from mlcache.drive import blocking, in_thread, suspending
from mlcache.entry import Key
from mlcache.result import Result

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")


class Face(Generic[P, R]):
    """What both faces have in common.

    Args:
        actions: of the function.
    """

    __name__: str
    __qualname__: str
    _bound: tuple[Any, ...] = ()
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

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: object) -> Any:
        return self

    def __reduce__(self) -> Any:
        """Pickled by name, as functions are."""
        return self.__qualname__

    def __repr__(self) -> str:
        function = self._actions.function
        name = f"{self.__module__}.{getattr(self, '__qualname__', None) or repr(function)}"
        opened = self._actions.opened
        how = f", {opened.store!r}, {opened.terms.expiry}" if opened else ""
        return f"<ml_cache of {name}{how}>"


class AsyncCachedFunction(Face[P, R]):
    """The coroutine face of a cached function."""

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The answer: from the cache, or computed once for all who ask meanwhile."""
        return cast("R", await self._install(suspends=True)(*args, **kwargs))

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(
        self: AsyncCachedFunction[Concatenate[S, Q], R], instance: S, owner: type | None = None
    ) -> AsyncCachedFunction[Q, R]: ...

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else AsyncCachedMethod(self, instance)

    @property
    def _is_coroutine(self) -> object:
        """By this ``asyncio.iscoroutinefunction`` knows coroutine functions that are no functions."""
        return getattr(sys.modules.get("asyncio.coroutines"), "_is_coroutine", None)

    async def call_with_info(self, *args: P.args, **kwargs: P.kwargs) -> Result[R]:
        """The answer and how it came about."""
        return cast("Result[R]", await suspending(self._actions.call_with_info(self._bound + args, kwargs), self._actions.cache))

    async def peek(self, *args: P.args, **kwargs: P.kwargs) -> Result[R] | None:
        """What is kept for this call, if it is not dead; nothing is computed."""
        return cast("Result[R] | None", await suspending(self._actions.peek(self._bound + args, kwargs), self._actions.cache))

    async def put(self, value: R, /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Keep ``value`` as the answer to this call."""
        await suspending(self._actions.put(value, self._bound + args, kwargs), self._actions.cache)

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Forget the answer to this call, and keep none that is being computed; whether there was one."""
        return cast("bool", await suspending(self._actions.invalidate(self._bound + args, kwargs), self._actions.cache))

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Compute this call anew, keep the answer and return it."""
        return cast("R", await suspending(self._actions.refresh(self._bound + args, kwargs), self._actions.cache))

    async def warm(self, calls: Iterable[Any]) -> int:
        """Compute what is not kept yet.

        Args:
            calls: a tuple is the positional arguments of one call, a mapping its keyword
                arguments, anything else its only argument.

        Returns:
            How many were computed.
        """
        return cast("int", await suspending(self._actions.warm(calls), self._actions.cache))

    async def uncached(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself; nothing is looked up or kept."""
        return cast("R", await self._actions.uncached_suspending(self._bound + args, kwargs))

    async def cache_key(self, *args: P.args, **kwargs: P.kwargs) -> Key:
        """What the answer to this call is kept under."""
        return self._actions.call(self._bound + args, kwargs).key

    async def explain(self, *args: P.args, **kwargs: P.kwargs) -> Explanation:
        """What goes into the key of this call, and what each tier has for it."""
        return cast("Explanation", await in_thread(lambda: self._actions.explain(self._bound + args, kwargs), self._actions.cache))

    async def cache_info(self) -> CacheInfo:
        """Hits, misses and the like, as ``functools.lru_cache`` has them, and more."""
        return cast("CacheInfo", await in_thread(self._actions.info, self._actions.cache))

    async def cache_clear(self) -> None:
        """Forget all answers of this function in all tiers, and set its counts to zero."""
        await in_thread(self._actions.clear, self._actions.cache)

    async def cache_parameters(self) -> dict[str, Any]:
        """How the cache was set up."""
        return cast("dict[str, Any]", await in_thread(self._actions.parameters_in_words, self._actions.cache))


class CachedFunction(Face[P, R]):
    """A plain function with a cache before it. ``aio`` has all of it for use on an event loop."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The answer: from the cache, or computed once for all who ask meanwhile."""
        return cast("R", self._install(suspends=False)(*args, **kwargs))

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(
        self: CachedFunction[Concatenate[S, Q], R], instance: S, owner: type | None = None
    ) -> CachedFunction[Q, R]: ...

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else CachedMethod(self, instance)

    @functools.cached_property
    def aio(self) -> AsyncCachedFunction[P, R]:
        """The same for an event loop: a hit is answered at once, a miss is computed in a thread."""
        return AsyncCachedFunction(self._actions)

    def call_with_info(self, *args: P.args, **kwargs: P.kwargs) -> Result[R]:
        """The answer and how it came about."""
        return cast("Result[R]", blocking(self._actions.call_with_info(self._bound + args, kwargs), self._actions.cache))

    def peek(self, *args: P.args, **kwargs: P.kwargs) -> Result[R] | None:
        """What is kept for this call, if it is not dead; nothing is computed."""
        return cast("Result[R] | None", blocking(self._actions.peek(self._bound + args, kwargs), self._actions.cache))

    def put(self, value: R, /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Keep ``value`` as the answer to this call."""
        blocking(self._actions.put(value, self._bound + args, kwargs), self._actions.cache)

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Forget the answer to this call, and keep none that is being computed; whether there was one."""
        return cast("bool", blocking(self._actions.invalidate(self._bound + args, kwargs), self._actions.cache))

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Compute this call anew, keep the answer and return it."""
        return cast("R", blocking(self._actions.refresh(self._bound + args, kwargs), self._actions.cache))

    def warm(self, calls: Iterable[Any]) -> int:
        """Compute what is not kept yet.

        Args:
            calls: a tuple is the positional arguments of one call, a mapping its keyword
                arguments, anything else its only argument.

        Returns:
            How many were computed.
        """
        return cast("int", blocking(self._actions.warm(calls), self._actions.cache))

    def uncached(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself; nothing is looked up or kept."""
        return cast("R", self._actions.function(*self._bound, *args, **kwargs))

    def cache_key(self, *args: P.args, **kwargs: P.kwargs) -> Key:
        """What the answer to this call is kept under."""
        return self._actions.call(self._bound + args, kwargs).key

    def explain(self, *args: P.args, **kwargs: P.kwargs) -> Explanation:
        """What goes into the key of this call, and what each tier has for it."""
        return self._actions.explain(self._bound + args, kwargs)

    def cache_info(self) -> CacheInfo:
        """Hits, misses and the like, as ``functools.lru_cache`` has them, and more."""
        return self._actions.info()

    def cache_clear(self) -> None:
        """Forget all answers of this function in all tiers, and set its counts to zero."""
        self._actions.clear()

    def cache_parameters(self) -> dict[str, Any]:
        """How the cache was set up."""
        return self._actions.parameters_in_words()


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

    @property
    def __wrapped__(self) -> MethodType:
        return MethodType(self._actions.function, self.__self__)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__func__, name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Method) and (self.__func__, self.__self__) == (other.__func__, other.__self__)

    def __hash__(self) -> int:
        return hash((self.__func__, id(self.__self__)))

    def __reduce__(self) -> Any:
        return getattr, (self.__self__, self.__func__.__name__)


class CachedMethod(_Method, CachedFunction[P, R]):
    """A plain method with a cache before it."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return cast("R", self.__func__(self.__self__, *args, **kwargs))

    @property
    def aio(self) -> AsyncCachedFunction[P, R]:  # type: ignore[override] # cheap to make each time
        """The same for an event loop."""
        return AsyncCachedMethod(self.__func__.aio, self.__self__)


class AsyncCachedMethod(_Method, AsyncCachedFunction[P, R]):
    """A coroutine method with a cache before it."""

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return cast("R", await self.__func__(self.__self__, *args, **kwargs))
