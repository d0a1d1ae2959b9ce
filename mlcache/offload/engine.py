"""What computes calls somewhere else, and what may be asked of it for one call."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from numbers import Real
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeGuard

import msgspec

from mlcache import units
from mlcache.errors import ConfigurationError
from mlcache.offload.checks import count

if TYPE_CHECKING:
    from concurrent.futures import Future


Duration: TypeAlias = float | str | timedelta


_NO_LIMIT = "None sets no other limit"


class CallOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of an engine for one call.

    Args:
        timeout: seconds (or ``"30s"``) that the call may compute; then it is ended, and fails with
            ``CallTimeoutError``. None: the engine's own.
        deadline: seconds (or ``"2s"``) from submission within which the call must have begun; later nobody
            wants its answer, so it is not computed, and fails with ``CallTimeoutError``.
        priority: calls with a higher one are computed first.
        retry: whether the call is computed once more if its worker dies.
        items: how many items of a batch the call is for, which is only counted.

    Raises:
        ConfigurationError: one of them is not what it should be.
    """

    timeout: Duration | None = None
    deadline: Duration | None = None
    priority: int = 0
    retry: bool = False
    items: int = 1

    def __post_init__(self) -> None:
        for name in ("timeout", "deadline"):
            given = getattr(self, name)
            if given is not None:
                msgspec.structs.force_setattr(self, name, units.seconds(given, what=name, instead=_NO_LIMIT))
        if not _is_number(self.priority) or self.priority != self.priority:  # NaN
            raise ConfigurationError(f"priority is {self.priority!r}: give a number, such as 1")
        if not isinstance(self.retry, bool):
            raise ConfigurationError(f"retry is {self.retry!r}: give True or False")
        count(self.items, "items")


def check_options(options: object) -> None:
    """Refuse what are no options of a call.

    Raises:
        ConfigurationError: it is something else.
    """
    if not isinstance(options, CallOptions):
        raise ConfigurationError(f"options is {options!r}: give CallOptions(timeout=..., retry=..., ...)")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool)


class Engine(Protocol):
    """Something that computes calls somewhere else.

    A future that an engine gives may have an attribute ``seconds``: once it is done, how long the
    function itself took, or None where that is not known.

    Where ``submit`` may wait for room, an engine should have a method ``enqueue``, too, which is the same but
    never waits: the future does. Misses of cached functions are then given to it by that.
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
        """Take no more calls, and answer those that were taken: after ``timeout`` with an error."""
        ...
