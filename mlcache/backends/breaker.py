"""A circuit breaker: what a dead server costs is one timeout, and then nothing until it is back."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from mlcache import clock
from mlcache.errors import BackendError

LONGEST_PAUSE = 30.0
"""Seconds between two probes, at most."""


class Breaker:
    """Lets calls to a server pass while it answers, and refuses them while it does not.

    One failure opens it. After a pause the next refused call starts a probe, in a thread of its
    own, so that no caller waits for a server that may still be dead. A probe that is answered
    closes the breaker; after each that is not, the pause is twice as long.

    Nygard, "Release It!" (2007), has the pattern, with a caller in the place of the probe.

    Args:
        what: the server, for messages.
        pause: seconds from the failure to the first probe; up to half as much again is added by
            chance, lest all clients probe at once.
        probe: asks the server for a sign of life; raises if there is none.
    """

    def __init__(self, what: str, pause: float, probe: Callable[[], object]) -> None:
        self._what = what
        self._first_pause = pause
        self._probe = probe
        self.reset()

    def reset(self) -> None:
        """Close it and forget all: also for a forked child, where nobody releases a lock that was held."""
        self._lock = threading.Lock()
        self._reason = ""  # why it is open; empty while it is closed
        self._pause = self._first_pause
        self._probe_at = 0.0
        self._prober: threading.Thread | None = None

    @property
    def is_open(self) -> bool:
        """Whether calls are refused."""
        return bool(self._reason)

    def check(self) -> None:
        """Let a call pass.

        Raises:
            BackendError: the server did not answer lately.
        """
        reason = self._reason
        if reason:
            self._probe_if_due()
            raise BackendError(f"{self._what} is left alone until it answers again: {reason}")

    def trip(self, error: BaseException) -> BackendError:
        """Note that the server did not answer; the error to raise."""
        reason = f"{type(error).__name__}: {error}"
        with self._lock:
            if not self._reason:
                self._reason = reason
                self._pause = self._first_pause
                self._schedule()
        return BackendError(f"{self._what} does not answer: {reason}")

    def close(self) -> None:
        """Wait for a probe that is under way."""
        prober = self._prober
        if prober is not None and prober is not threading.current_thread():
            prober.join()

    def _schedule(self) -> None:
        self._probe_at = clock.ticks() + self._pause * random.uniform(1, 1.5)  # noqa: S311 - no secret

    def _probe_if_due(self) -> None:
        with self._lock:
            if self._prober is not None or clock.ticks() < self._probe_at:
                return
            self._prober = threading.Thread(target=self._send_probe, name="mlcache-probe", daemon=True)
            self._prober.start()

    def _send_probe(self) -> None:
        try:
            self._probe()
        except Exception:  # noqa: BLE001 - whatever it is, the server is not back
            with self._lock:
                self._pause = min(self._pause * 2, LONGEST_PAUSE)
                self._schedule()
        else:
            self._reason = ""
        finally:
            self._prober = None
