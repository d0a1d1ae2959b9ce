"""The lock of a key in a region of dogpile.cache: the region's own mutex."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any


class RegionLock:
    """A mutex that is taken, held and let go of in one thread of its own.

    Some mutexes know their holder by its thread, as that of dogpile's Redis does, while on an event loop
    one thread may take a lock and another let go of it.

    Args:
        mutex: with ``acquire(wait)`` and ``release()``, as dogpile's backends give them.
    """

    def __init__(self, mutex: Any) -> None:
        self._mutex = mutex
        self._let_go = threading.Event()
        self._end: Future[None] | None = None

    def acquire(self) -> bool:
        """Take it, if nobody holds it, without waiting; whether we hold it."""
        self._let_go, taken, end = threading.Event(), Future[bool](), Future[None]()
        # The thread knows nothing of this object, so that it ends with it where nobody waits for the answer.
        about = (self._mutex, self._let_go, taken, end)
        threading.Thread(target=_hold, args=about, name="mlcache-lock", daemon=True).start()
        if taken.result():
            self._end = end
        return taken.result()

    def release(self) -> None:
        """Let go of it. It is no error not to hold it."""
        end, self._end = self._end, None
        self._let_go.set()
        if end is not None:
            end.result()

    def __del__(self) -> None:
        self._let_go.set()


def _hold(mutex: Any, let_go: threading.Event, taken: Future[bool], end: Future[None]) -> None:
    try:
        held = bool(mutex.acquire(False))  # noqa: FBT003 - backends name the parameter as they like
    except Exception as error:  # noqa: BLE001 - for whoever asks
        taken.set_exception(error)
        return
    taken.set_result(held)
    if not held:
        return
    let_go.wait()
    try:
        mutex.release()
    except Exception as error:  # noqa: BLE001 - as above
        end.set_exception(error)
    else:
        end.set_result(None)
