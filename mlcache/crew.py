"""The crew: a few threads that do in the background what nobody waits for.

Unlike an executor's, its threads are daemons: at the end of the program a piece of work that
runs has a moment to finish, and what is only queued is told that it will not be done.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from mlcache import clock

SIZE = 4
"""Threads at most."""

QUEUE = 1000
"""Pieces of work that may wait; more are refused."""

GRACE = 2.0
"""Seconds that running work is given when the program ends."""

Work = Callable[[], object]


def _nothing() -> None:
    """What is done instead of work that nobody will miss."""


class Crew:
    """Threads that come when there is work and go when there has been none for a while.

    Args:
        size: threads at most.
        queue: pieces of work that may wait.
        linger: seconds after which a thread without work goes.
    """

    def __init__(self, size: int = SIZE, queue: int = QUEUE, linger: float = 10.0) -> None:
        self._size = size
        self._queue = queue
        self._linger = linger
        self._work: deque[tuple[Work, Work]] = deque()
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        self._closed = False
        self._changed = threading.Condition()

    @property
    def busy(self) -> bool:
        """Whether there is work that is not done."""
        with self._changed:
            return bool(self._work) or len(self._threads) > self._idle

    @property
    def closed(self) -> bool:
        """Whether it takes no more work."""
        return self._closed

    def submit(self, work: Work, instead: Work = _nothing) -> bool:
        """Have ``work`` done, or ``instead`` where there is no room or no thread for it; neither may raise.

        Args:
            work: done by a thread of the crew.
            instead: done here, or by who closes the crew before it comes to ``work``.

        Returns:
            Whether there is room for it.
        """
        if not self._take(work, instead):
            instead()
            return False
        return True

    def _take(self, work: Work, instead: Work) -> bool:
        with self._changed:
            if self._closed or len(self._work) >= self._queue:
                return False
            if len(self._work) >= self._idle and len(self._threads) < self._size:
                self._hire()
            if not self._threads:
                return False
            self._work.append((work, instead))
            self._changed.notify()
            return True

    def _hire(self) -> None:
        thread = threading.Thread(target=self._serve, name="mlcache-crew", daemon=True)
        with suppress(RuntimeError):  # no thread can be had now: those that there are do the work, if any
            thread.start()
            self._threads.add(thread)

    def close(self, grace: float = GRACE) -> None:
        """Take no more work, do something in place of what waits, and give what runs ``grace`` seconds."""
        with self._changed:
            self._closed = True
            dropped = list(self._work)
            self._work.clear()
            self._changed.notify_all()
            running = set(self._threads)
        for _, instead in dropped:
            instead()
        ends = clock.ticks() + grace
        for thread in running - {threading.current_thread()}:
            thread.join(max(ends - clock.ticks(), 0.0))

    def _serve(self) -> None:
        while (work := self._next()) is not None:
            work()

    def _next(self) -> Work | None:
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._work or self._closed, self._linger)
            self._idle -= 1
            if self._work:
                return self._work.popleft()[0]
            self._threads.discard(threading.current_thread())
            return None


_crew = Crew()


def crew() -> Crew:
    """The crew of this process."""
    return _crew


def renew() -> None:
    """Replace the crew, ending the one there was."""
    global _crew  # noqa: PLW0603 - one for the process
    _crew.close()
    _crew = Crew()


def _after_fork() -> None:
    global _crew  # noqa: PLW0603 - one for the process
    _crew = Crew()  # threads do not survive a fork


@atexit.register
def _end() -> None:
    _crew.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
