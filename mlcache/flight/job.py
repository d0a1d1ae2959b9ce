"""Jobs: computations that whoever waits for them may do itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context


class Job:
    """Work that is to be done once, by whoever comes to it first.

    A thread that is about to wait for work still in a queue does it itself instead: so a
    bounded pool whose threads all wait for queued work cannot lock up.

    Args:
        work: what is to be done.
        instead: what is to be done where the work will not be.
    """

    __slots__ = ("_context", "_instead", "_lock", "_work")

    def __init__(self, work: Callable[[], object], instead: Callable[[], object] | None = None) -> None:
        self._work: Callable[[], object] | None = work
        self._instead = instead
        self._context = copy_context()
        self._lock = threading.Lock()

    @property
    def begun(self) -> bool:
        """Whether somebody has come to it."""
        return self._work is None

    def run(self) -> None:
        """Do the work, unless somebody has begun it already."""
        work = self._take()
        if work is not None:
            self._context.run(work)

    def run_aside(self) -> None:
        """As ``run``, in a thread that nobody waits in: not even an interrupt of the work is raised."""
        with suppress(BaseException):
            self.run()

    def drop(self) -> None:
        """Do what is to be done instead of the work, unless somebody has begun that already."""
        if self._take() is not None and self._instead is not None:
            self._instead()

    def _take(self) -> Callable[[], object] | None:
        with self._lock:
            work, self._work = self._work, None
        return work
