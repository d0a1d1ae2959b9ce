"""The lock of a key in Redis: a lease that its holder renews, and that ends by itself when it does not.

This is the usual single-server lock (https://redis.io/docs/latest/develop/use/patterns/distributed-locks/):
a key that is set only where there is none, with a token that tells whose it is and a time to
live. It is no proof against two holders at once, and need not be: that costs a second
computation of the same answer.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

Run = Callable[[Sequence[tuple[Any, ...]]], list[Any]]
"""Sends commands and gives the replies, errors among them."""

BEAT = 1.0
"""Seconds between two renewals."""

LEASE = 2 * BEAT
"""Seconds after its last renewal at which a lease ends."""

_RENEW = """\
if redis.call("get", KEYS[1]) == ARGV[1] then return redis.call("pexpire", KEYS[1], ARGV[2]) end
return 0"""
_RELEASE = """\
if redis.call("get", KEYS[1]) == ARGV[1] then return redis.call("del", KEYS[1]) end
return 0"""
_MILLISECONDS = round(LEASE * 1000)


class Lease:
    """The lock of one key.

    Args:
        name: of the key in Redis that stands for it.
        run: sends commands.
    """

    def __init__(self, name: str, run: Run) -> None:
        self._name = name
        self._run = run
        self._token = secrets.token_hex(16)

    def acquire(self) -> bool:
        """Take it, if nobody holds it, without waiting; whether we hold it."""
        (reply,) = self._run([("SET", self._name, self._token, "NX", "PX", _MILLISECONDS)])
        if isinstance(reply, Exception):
            raise reply
        if reply:
            _heart.add(self)
        return bool(reply)

    def renew(self) -> None:
        """Let it end later, if it is still ours."""
        self._run([("EVAL", _RENEW, 1, self._name, self._token, _MILLISECONDS)])

    def release(self) -> None:
        """Let go of it. It is no error not to hold it."""
        if _heart.remove(self):
            self._run([("EVAL", _RELEASE, 1, self._name, self._token)])


class Heart:
    """Renews the leases that this process holds, in a thread that is there while there are any."""

    def __init__(self) -> None:
        self._held: set[Lease] = set()
        self._changed = threading.Condition()
        self._beats = False

    def add(self, lease: Lease) -> None:
        """Renew a lease from now on."""
        with self._changed:
            self._held.add(lease)
            if not self._beats:
                self._beats = True
                threading.Thread(target=self._beat, name="mlcache-heart", daemon=True).start()

    def remove(self, lease: Lease) -> bool:
        """Renew a lease no more; whether it was held."""
        with self._changed:
            held = lease in self._held
            self._held.discard(lease)
            self._changed.notify()
            return held

    def _beat(self) -> None:
        while held := self._next():
            for lease in held:
                with suppress(Exception):  # the lease ends, and somebody else computes the same
                    lease.renew()

    def _next(self) -> list[Lease]:
        """The leases to renew after a pause, or none if none is left and the thread is to end."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held, BEAT)
            self._beats = bool(self._held)
            return list(self._held)


_heart = Heart()


def _after_fork() -> None:
    global _heart  # noqa: PLW0603 - one for the process; the child holds no lease and has no such thread
    _heart = Heart()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
