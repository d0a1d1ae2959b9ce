"""What computes calls somewhere else, and what may be asked of it for one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    from concurrent.futures import Future


class CallOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of an engine for one call.

    Args:
        timeout: seconds that the call may compute; then it is ended, and fails with ``CallTimeoutError``.
            None: the engine's own.
        deadline: seconds from submission within which the call must have begun; later nobody wants its
            answer, so it is not computed, and fails with ``CallTimeoutError``.
        priority: calls with a higher one are computed first.
        retry: whether the call is computed once more if its worker dies.
        items: how many items of a batch the call is for, which is only counted.
    """

    timeout: float | None = None
    deadline: float | None = None
    priority: int = 0
    retry: bool = False
    items: int = 1


class Engine(Protocol):
    """Something that computes calls somewhere else.

    A future that an engine gives may have an attribute ``seconds``: once it is done, how long the
    function itself took, or None where that is not known.
    """

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have ``function(*args, **kwargs)`` computed; the arguments may be changed afterwards."""
        ...

    def with_options(self, options: CallOptions) -> Engine:
        """This engine, asked for ``options`` in each of its calls.

        Raises:
            ConfigurationError: it cannot do what is asked for.
        """
        ...

    def close(self, timeout: float | None = None) -> None:
        """Take no more calls, and answer those that were taken: after ``timeout`` seconds with an error."""
        ...
