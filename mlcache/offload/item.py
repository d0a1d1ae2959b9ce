"""One call on its way through a pool."""

from __future__ import annotations

import functools
import logging
import os
import threading
from concurrent.futures import Future, InvalidStateError
from typing import TYPE_CHECKING, Any

from mlcache.errors import PoolClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlcache.offload.arena import Slot
    from mlcache.offload.engine import CallOptions
    from mlcache.offload.wire import Payload


_RESOLVED = ("CANCELLED", "CANCELLED_AND_NOTIFIED", "FINISHED")


class CallFuture(Future[Any]):
    """What a pool answers a call with.

    Attributes:
        seconds: how long the function itself took, once it is known.
    """

    def __init__(self, on_cancel: Callable[[], None]) -> None:
        super().__init__()
        self.seconds: float | None = None
        self._process = os.getpid()
        self._on_cancel: Callable[[], None] | None = on_cancel

    def cancel(self) -> bool:
        """Take the call back, unless it is being computed or done."""
        cancelled = super().cancel()
        on_cancel, self._on_cancel = self._on_cancel, None
        if cancelled and on_cancel is not None:
            on_cancel()
        return cancelled

    def set_running_or_notify_cancel(self) -> bool:
        """Whether it is to be computed, from when on it cannot be taken back."""
        runs = super().set_running_or_notify_cancel()
        if runs:
            self._on_cancel = None  # which knows of this: a circle would keep large results for a while
        return runs

    def result(self, timeout: float | None = None) -> Any:
        """The value, or the exception raised."""
        self._check_process()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The exception raised, or None."""
        self._check_process()
        return super().exception(timeout)

    def settle(self, value: Any = None, error: BaseException | None = None) -> None:
        """Answer the call; whatever the callbacks of the future do is their own affair."""
        try:
            if error is None:
                self.set_result(value)
            else:
                self.set_exception(error)
        except InvalidStateError:
            pass  # it was taken back, or somebody else has answered it
        except BaseException:  # such as the SystemExit of a callback, which Future lets through
            logging.getLogger("mlcache.offload").exception("a callback of a call ended with an exception")

    def _check_process(self) -> None:
        if self._process == os.getpid():
            return
        if self._state not in _RESOLVED:
            raise PoolClosedError(
                f"this call was submitted in process {self._process}, of which this one is a fork: "
                "its answer comes there; submit it again here"
            )
        self._condition = threading.Condition()  # the old one may have been held when the process was forked


class Item:
    """A call that was accepted.

    Args:
        name: of the function, for messages.
        options: of the call.

    Attributes:
        number: in the order in which calls came.
        names: the resources that it takes.
        payload: the packed function, and stream and buffers of its arguments.
        slot: where these lie, if not in the payload itself.
        size: bytes of all that.
        deadline: when it comes too late.
        kills: how many workers died of it.
        submitted: when it was.
        started: when it was given to a worker.
    """

    __slots__ = (
        *("deadline", "future", "items", "kills", "name", "names", "number", "payload", "priority"),
        *("retry", "size", "slot", "started", "submitted", "timeout"),
    )

    def __init__(self, name: str, options: CallOptions) -> None:
        self.name = name
        self.priority = options.priority
        self.timeout: float | None = options.timeout  # type: ignore[assignment] # it is in seconds by now
        self.retry = options.retry
        self.items = options.items
        self.number = 0
        self.names: tuple[str, ...] = ()
        self.payload: Payload
        self.slot: Slot | None = None
        self.size = 0
        self.deadline: float | None = None
        self.kills = 0
        self.submitted = 0.0
        self.started = 0.0
        self.future: CallFuture


def name_of(function: Any) -> str:
    """What a function is called in messages."""
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__qualname__", None) or type(function).__qualname__
