"""What ``ml_cache`` returns: the function with a cache before it, and ways to look into it and steer it.

There are two faces of the same actions. ``CachedFunction`` blocks; ``AsyncCachedFunction``
is made of coroutines. A plain function has the first, with the second as its attribute
``aio``; a coroutine function has the second alone.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar, cast, overload

from mlcache import switch
from mlcache.actions import Actions
from mlcache.drive import blocking
from mlcache.entry import Key, Span
from mlcache.face import Face, Method
from mlcache.fresh import Fresh
from mlcache.steps import Step

if TYPE_CHECKING:
    from mlcache.cached_async import AsyncCachedFunction
    from mlcache.explanation import Explanation
    from mlcache.info import CacheInfo
    from mlcache.key_tree import KeyTree
    from mlcache.result import Result

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")


class CachedFunction(Face[P, R]):
    """A plain function with a cache before it.

    Attributes:
        aio: the same for an event loop: a hit is answered at once, a miss is computed in a thread.
    """

    def __init__(self, actions: Actions) -> None:
        super().__init__(actions)
        self.aio: AsyncCachedFunction[P, R]

    if not TYPE_CHECKING:  # as a member of the class, mypy would take what it is for a descriptor

        @cached_property
        def aio(self) -> AsyncCachedFunction[P, R]:
            """Made when it is first asked for, as few programs need both faces."""
            from mlcache.cached_async import AsyncCachedFunction

            return vars(self).setdefault("aio", AsyncCachedFunction(self._actions))  # one for all threads

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """The answer: from the cache, or computed once for all who ask meanwhile."""
        if switch.is_plain():
            return cast("R", self._actions.local(*args, **kwargs))
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

    def fresh(self, *, max_age: Span) -> Fresh[P, R]:
        """The same function for callers who want it fresher than its ttl says, never staler.

        Args:
            max_age: an answer that was computed longer ago is computed anew: seconds, ``"5s"`` or a
                timedelta.

        Returns:
            What is called as this function is, and has ``call_with_info``, too.
        """
        return Fresh(self._actions, self._bound, self._run, max_age)

    def peek(self, /, *args: P.args, **kwargs: P.kwargs) -> Result[R] | None:
        """What is kept for this call, if it is not dead; nothing is computed. A kept exception is None.

        Its status is ``stale`` also where only ``stale_if_error`` holds it, which a call serves only once
        computing has failed.
        """
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

    def warm(self, calls: Iterable[Any], *, progress: bool | None = None) -> int:
        """Compute what is not kept yet.

        Args:
            calls: a tuple is the positional arguments of one call, a mapping its keyword
                arguments, anything else its only argument.
            progress: whether to show a progress bar, for which tqdm is needed; None: if it takes more
                than a second and standard error is a terminal.

        Returns:
            How many were computed.
        """
        return self._run(self._actions.warm(calls, self._bound, progress=progress))

    def uncached(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself; nothing is looked up or kept."""
        return cast("R", self._run(self._actions.uncached(self._bound + args, kwargs)))

    def one(self, item: Any, /, *args: Any, **kwargs: Any) -> Any:
        """The answer to one item of a function of many, decorated with ``batch``.

        Items that are asked for while a batch is being computed are computed together in the next one.

        Args:
            item: one of the items.
            args: of the parameters beside the items, in their order.
            kwargs: of the same.

        Raises:
            BatchTimeoutError: its batch did not begin within the ``timeout`` of the ``Batch``.
        """
        return self._actions.one_blocking(item, self._bound + args, kwargs)

    def cache_key(self, /, *args: P.args, **kwargs: P.kwargs) -> Key:
        """What the answer to this call is kept under."""
        return cast("Key", self._actions.keys(self._bound + args, kwargs))

    def explain(self, /, *args: P.args, **kwargs: P.kwargs) -> Explanation:
        """What goes into the key of this call, and what each tier has for it."""
        return self._actions.explain(self._bound + args, kwargs)

    def explain_key(self, /, *args: P.args, **kwargs: P.kwargs) -> KeyTree:
        """What goes into the key of this call, part by part: to print, or to compare with another call's."""
        return self._actions.explain_key(self._bound + args, kwargs)

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


class CachedMethod(Method, CachedFunction[P, R]):
    """A plain method with a cache before it."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """As ``CachedFunction.__call__``, of the instance."""
        return cast("R", self.__func__(self.__self__, *args, **kwargs))

    if not TYPE_CHECKING:  # as above

        @property
        def aio(self) -> AsyncCachedFunction[P, R]:
            """As ``CachedFunction.aio``, of the instance."""
            return self.__func__.aio.__get__(self.__self__)
