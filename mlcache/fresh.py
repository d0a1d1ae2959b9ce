"""A cached function for callers who want it fresher than its ttl says, never staler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from mlcache.actions import Actions
from mlcache.coroutines import CoroutineFunction
from mlcache.entry import Span
from mlcache.steps import Step
from mlcache.terms import max_age_seconds

if TYPE_CHECKING:
    from mlcache.result import Result

P = ParamSpec("P")
R = TypeVar("R")
Flow = Coroutine[Step, Any, Any]


class Fresh(Generic[P, R]):
    """What ``CachedFunction.fresh`` returns.

    Args:
        actions: of the function.
        bound: what comes before the arguments.
        run: drives a flow to its end.
        max_age: an answer that was computed longer ago is computed anew.

    Raises:
        ConfigurationError: ``max_age`` is no time above zero.
    """

    def __init__(
        self, actions: Actions, bound: tuple[Any, ...], run: Callable[[Flow], Any], max_age: Span
    ) -> None:
        self._actions = actions
        self._bound = bound
        self._run = run
        self._max_age = max_age_seconds(max_age)

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """The answer: from the cache, if it is young enough there."""
        return cast("R", self._run(self._actions.within(self._max_age, self._bound + args, kwargs)))

    def call_with_info(self, /, *args: P.args, **kwargs: P.kwargs) -> Result[R]:
        """The answer and how it came about."""
        flow = self._actions.call_with_info(self._bound + args, kwargs, self._max_age)
        return cast("Result[R]", self._run(flow))


class AsyncFresh(CoroutineFunction, Generic[P, R]):
    """What ``AsyncCachedFunction.fresh`` returns; see ``Fresh``."""

    def __init__(
        self, actions: Actions, bound: tuple[Any, ...], run: Callable[[Flow], Awaitable[Any]], max_age: Span
    ) -> None:
        super().__init__()
        self._actions = actions
        self._bound = bound
        self._run = run
        self._max_age = max_age_seconds(max_age)

    async def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """The answer: from the cache, if it is young enough there."""
        return cast("R", await self._run(self._actions.within(self._max_age, self._bound + args, kwargs)))

    async def call_with_info(self, /, *args: P.args, **kwargs: P.kwargs) -> Result[R]:
        """The answer and how it came about."""
        flow = self._actions.call_with_info(self._bound + args, kwargs, self._max_age)
        return cast("Result[R]", await self._run(flow))
