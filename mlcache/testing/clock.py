"""A clock that moves only when it is told to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from mlcache import clock

Reading = Callable[[], float]


class FakeClock:
    """A clock that stands still, and takes the place of the real one while its block runs.

    All of mlcache reads it then, in every thread of this process. A block may hold another::

        with FakeClock() as time:
            score(1)
            time.advance(3600)
            score(1)  # an hour later

    Args:
        start: what it shows at first, in seconds since the epoch. The default is always the same instant
            in 2023, for which entries that the real clock wrote are from the future, and not used:
            ``FakeClock(time.time())`` goes on from them.
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._start = start
        self._passed = 0.0
        self._lock = threading.Lock()
        self._replaced: list[tuple[Reading, Reading]] = []

    def now(self) -> float:
        """Seconds since the epoch, as ``mlcache.clock.now``."""
        return self._start + self._passed

    def ticks(self) -> float:
        """Seconds since it was made, as ``mlcache.clock.ticks``."""
        return self._passed

    def advance(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            ValueError: ``seconds`` is below zero. Time goes back in ``FakeClock(start=...)`` alone.
        """
        if not seconds >= 0:
            raise ValueError(f"a clock cannot advance by {seconds!r} seconds: give zero or more")
        with self._lock:
            self._passed += seconds

    def __enter__(self) -> Self:
        self._replaced.append((clock.now, clock.ticks))
        clock.now, clock.ticks = self.now, self.ticks
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        clock.now, clock.ticks = self._replaced.pop()

    def __repr__(self) -> str:
        return f"<FakeClock at {self.now():.3f}>"
