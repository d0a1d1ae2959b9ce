"""The lock of a key in Redis: a lease that its holder renews, and that ends by itself when it does not.

This is the usual single-server lock (https://redis.io/docs/latest/develop/use/patterns/distributed-locks/):
a key that is set only where there is none, with a token that tells whose it is and a time to
live. It is no proof against two holders at once, and need not be: that costs a second
computation of the same answer.

Whoever waits for it leaves a mark behind the holder's token, and is told over a channel, the bell,
when the holder lets go. A lease without the mark ends in silence.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from mlcache import clock

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Event

    from mlcache.backends.redis.bell import Bell

Commands = Sequence[tuple[Any, ...]]


class Wire(Protocol):
    """What carries commands to a server and brings the replies, errors among them."""

    def send(self, commands: Commands) -> list[Any]:
        """In one round trip."""
        ...

    async def send_async(self, commands: Commands) -> list[Any]:
        """As ``send``, on the running event loop."""
        ...

    def bell(self) -> Bell:
        """What tells of the end of leases."""
        ...


BEAT = 1.0
"""Seconds between two renewals."""

LEASE = 2 * BEAT
"""Seconds after its last renewal at which a lease ends."""

NET = 0.25
"""Seconds after which who waits for a bell asks again, as it may not have been heard."""

_IS_OURS = 'string.sub(redis.call("get", KEYS[1]) or "", 1, #ARGV[1]) == ARGV[1]'
_RENEW = f"""\
if {_IS_OURS} then return redis.call("pexpire", KEYS[1], ARGV[2]) end
return 0"""
_RELEASE = f"""\
if not ({_IS_OURS}) then return 0 end
local awaited = redis.call("strlen", KEYS[1]) > #ARGV[1]
redis.call("del", KEYS[1])
if awaited then redis.pcall("publish", ARGV[2], KEYS[1]) end
return 1"""
_ASK = """\
if redis.call("set", KEYS[1], ARGV[1], "nx", "px", ARGV[2]) then return 0 end
redis.call("setrange", KEYS[1], #ARGV[1], "+")
return math.max(redis.call("pttl", KEYS[1]), 1)"""
_MILLISECONDS = round(LEASE * 1000)


class Lease:
    """The lock of one key.

    Args:
        name: of the key in Redis that stands for it.
        wire: to its server.
        channel: of the bell.
    """

    def __init__(self, name: str, wire: Wire, channel: str) -> None:
        self.wire = wire
        self._name = name
        self._channel = channel
        self._token = secrets.token_hex(16)
        self._refused_at: float | None = None

    def acquire(self) -> bool:
        """Take it, if nobody holds it; whether we hold it.

        The first try does not wait. Who was refused and tries again waits for the bell: as long as
        he has waited so far, a quarter of a second at most, and not at all where it cannot be heard.
        """
        if self._refused_at is None:
            return self._taken(self.wire.send([self._taking()]))
        rang = threading.Event()
        with self.wire.bell().waiting(self._name, rang.set) as audible:
            left = self._left(self.wire.send([self._asking()]))
            if not left or not audible or not rang.wait(self._patience(left)):
                return not left
        return self._taken(self.wire.send([self._taking()]))

    async def acquire_async(self) -> bool:
        """As ``acquire``, on the running event loop."""
        if self._refused_at is None:
            return self._taken(await self.wire.send_async([self._taking()]))
        from asyncio import Event, get_running_loop, wait_for

        rang, loop = Event(), get_running_loop()
        with self.wire.bell().waiting(self._name, lambda: _set_on(loop, rang)) as audible:
            left = self._left(await self.wire.send_async([self._asking()]))
            if not left or not audible:
                return not left
            try:
                await wait_for(rang.wait(), self._patience(left))
            except TimeoutError:
                return False
        return self._taken(await self.wire.send_async([self._taking()]))

    def renewal(self) -> tuple[Any, ...]:
        """What lets it end later, if it is still ours."""
        return "EVAL", _RENEW, 1, self._name, self._token, _MILLISECONDS

    def release(self) -> None:
        """Let go of it. It is no error not to hold it."""
        if _heart.remove(self):
            self.wire.send([self._leaving()])

    async def release_async(self) -> None:
        """As ``release``, on the running event loop."""
        if _heart.remove(self):
            await self.wire.send_async([self._leaving()])

    def _taking(self) -> tuple[Any, ...]:
        return "SET", self._name, self._token, "NX", "PX", _MILLISECONDS

    def _asking(self) -> tuple[Any, ...]:
        return "EVAL", _ASK, 1, self._name, self._token, _MILLISECONDS

    def _leaving(self) -> tuple[Any, ...]:
        return "EVAL", _RELEASE, 1, self._name, self._token, self._channel

    def _taken(self, replies: list[Any]) -> bool:
        taken = bool(_checked(replies[0]))
        if taken:
            _heart.add(self)
        elif self._refused_at is None:
            self._refused_at = clock.ticks()
        return taken

    def _left(self, replies: list[Any]) -> float:
        """Seconds until it ends, if its holder does not renew it; 0 if it is ours now."""
        left: int = _checked(replies[0])
        if not left:
            _heart.add(self)
        return left / 1000

    def _patience(self, left: float) -> float:
        so_far = clock.ticks() - (self._refused_at or 0.0)
        return min(left, so_far, NET)


def _checked(reply: Any) -> Any:
    if isinstance(reply, Exception):
        raise reply
    return reply


def _set_on(loop: AbstractEventLoop, event: Event) -> None:
    with suppress(RuntimeError):  # it is closed, and nobody waits there any more
        loop.call_soon_threadsafe(event.set)


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
            if not self._held:
                self._changed.notify()
            return held

    def _beat(self) -> None:
        while held := self._next():
            by_wire: dict[Wire, list[tuple[Any, ...]]] = {}
            for lease in held:
                by_wire.setdefault(lease.wire, []).append(lease.renewal())
            for wire, renewals in by_wire.items():
                with suppress(Exception):  # the leases end, and somebody else computes the same
                    wire.send(renewals)  # all at once: a thousand round trips may take longer than a lease

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
