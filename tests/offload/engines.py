"""An engine that a test plays itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from mlcache.offload.engine import CallOptions


class Played:
    """Takes calls, and answers them when it is told to.

    Attributes:
        calls: what was submitted and has not been answered: function, arguments and future.
        submitted: how many there were.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], Future[Any]]] = []
        self.submitted = 0
        self._changed = threading.Condition()

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        with self._changed:
            self.calls.append((function, args, kwargs, future))
            self.submitted += 1
            self._changed.notify_all()
        return future

    def wait_for(self, count: int) -> bool:
        """Whether so many calls have come, within a time that is long enough."""
        with self._changed:
            return self._changed.wait_for(lambda: self.submitted >= count, 20)

    def answer(self, seconds: float | None = None) -> int:
        """Compute all calls that have come; how many there were."""
        with self._changed:
            calls, self.calls = self.calls, []
        count = len(calls)
        while calls:
            _settle(seconds, *calls.pop(0))
        return count

    def with_options(self, options: CallOptions) -> Played:
        assert options
        return self

    def close(self, timeout: float | None = None) -> None:
        """Nothing is left behind."""


def _settle(
    seconds: float | None,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    future: Future[Any],
) -> None:
    future.seconds = seconds  # type: ignore[attr-defined]
    try:
        if future.set_running_or_notify_cancel():
            future.set_result(function(*args, **kwargs))
    except BaseException as error:  # noqa: BLE001 - it is the caller's
        future.set_exception(error)
    finally:
        del function, args, kwargs, future  # the error's traceback holds this frame
