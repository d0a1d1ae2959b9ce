"""A thread that has models closed which nobody has used for a while."""

from __future__ import annotations

import logging
import threading
import weakref
from typing import Protocol

_log = logging.getLogger(__name__)

SWEEPS = 4
"""Looks in the time after which a model is idle."""


class Sweeps(Protocol):
    """Something that has idle things to close."""

    def sweep(self) -> int:
        """Close them; how many there were."""
        ...


class Sweeper:
    """Calls ``sweep`` now and then, as long as its owner lives.

    Args:
        owner: that is held weakly, so that it can end without being closed.
        idle: seconds after which a model is idle; None: no thread is ever started.
    """

    def __init__(self, owner: Sweeps, idle: float | None) -> None:
        self.idle = idle
        self._owner = weakref.ref(owner, lambda _: stop.set())
        self._stop = stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, if there is anything to do and it has not begun."""
        if self.idle is None or self._thread is not None or self._stop.is_set():
            return
        arguments = self._owner, self._stop, self.idle / SWEEPS
        self._thread = threading.Thread(target=_run, args=arguments, name="mlcache-models-idle", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def after_fork(self) -> None:
        """Begin anew: threads do not survive a fork."""
        self._thread = None
        self.start()


def _run(owner: weakref.ref[Sweeps], stop: threading.Event, pause: float) -> None:
    while not stop.wait(pause):
        alive = owner()
        if alive is None:
            return
        try:
            alive.sweep()
        except Exception:  # noqa: BLE001 - of a model's own code, or a warning that is an error here
            _log.exception("closing idle models failed")
        del alive
