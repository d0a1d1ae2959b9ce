"""The lock of a key in Redis: a lease that its holder renews, and that ends by itself when it does not.

This is the usual single-server lock (https://redis.io/docs/latest/develop/use/patterns/distributed-locks/):
a key that is set only where there is none, with a token that tells whose it is and a time to
live. It is no proof against two holders at once, and need not be: that costs a second
computation of the same answer.

Who invalidates the key takes the lease away and leaves word of that under the holder's token (see
``superseding``), which the holder looks for when he lets go.

Whoever waits for it leaves a mark behind the holder's token, and is told over a channel, the bell,
when the holder lets go. A lease without the mark ends in silence.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from mlcache import clock
from mlcache.backends.redis.superseding import TOKEN, word_of

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Event

    from mlcache.backends.redis.wire import Commands, Wire

BEAT = 1.0
"""Seconds between two renewals."""

LEASE = 2 * BEAT
"""Seconds after its last renewal at which a lease ends."""

NET = 1.0
"""Seconds after which who waits for a bell asks again, as it may not have been heard."""

_AT_ONCE = 1000
"""Leases to renew in one command."""

_RENEW = """\
local renewed = 0
for place, name in ipairs(KEYS) do
    local token = ARGV[place + 1]
    if string.sub(redis.call("get", name) or "", 1, #token) == token then
        renewed = renewed + redis.call("pexpire", name, ARGV[1])
    end
end
return renewed"""
_RELEASE = """\
if string.sub(redis.call("get", KEYS[1]) or "", 1, #ARGV[1]) ~= ARGV[1] then return 0 end
local awaited = redis.call("strlen", KEYS[1]) > #ARGV[1]
redis.call("del", KEYS[1])
if awaited then redis.pcall("publish", ARGV[2], KEYS[1]) end
return 1"""
_ASK = """\
local held = redis.call("get", KEYS[1])
if not held then redis.call("set", KEYS[1], ARGV[1], "px", ARGV[2]) end
if not held or string.sub(held, 1, #ARGV[1]) == ARGV[1] then return 0 end
redis.call("setrange", KEYS[1], #ARGV[1], "+")
return math.max(redis.call("pttl", KEYS[1]), 1)"""
_MILLISECONDS = round(LEASE * 1000)


class Lease:
    """The lock of one key.

    Args:
        name: of the key in Redis that stands for it.
        wire: to its server.
        channel: of the bell.

    Attributes:
        token: tells whose it is.
    """

    def __init__(self, name: str, wire: Wire, channel: str) -> None:
        self.wire = wire
        self.name = name
        self._channel = channel
        self.token = secrets.token_hex(TOKEN // 2)
        self._refused_at: float | None = None
        self._is_ours = False

    def acquire(self) -> bool:
        """Take it, if nobody holds it; whether we hold it.

        The first try does not wait. Who was refused and tries again waits for the bell: as long as
        he has waited so far, a second at most, and not at all where it cannot be heard.
        """
        if self._refused_at is None:
            return self._take()
        rang = threading.Event()
        with self.wire.bell().waiting(self.name, rang.set) as audible:
            with self.renewed():
                left = self._left(self.wire.send([self._asking()]))
            if not left or not audible or not rang.wait(self._patience(left)):
                return not left
        return self._take()

    async def acquire_async(self) -> bool:
        """As ``acquire``, on the running event loop."""
        if self._refused_at is None:
            return await self._take_async()
        from asyncio import Event, get_running_loop, wait_for

        rang, loop = Event(), get_running_loop()
        with self.wire.bell().waiting(self.name, lambda: _set_on(loop, rang)) as audible:
            with self.renewed():
                left = self._left(await self.wire.send_async([self._asking()]))
            if not left or not audible:
                return not left
            try:
                await wait_for(rang.wait(), self._patience(left))
            except TimeoutError:
                return False
        return await self._take_async()

    def superseded(self) -> bool:
        """Whether it was taken away."""
        return bool(_checked(self.wire.send([self._looking()])[0]))

    async def superseded_async(self) -> bool:
        """As ``superseded``, on the running event loop."""
        return bool(_checked((await self.wire.send_async([self._looking()]))[0]))

    def release(self) -> bool:
        """Let go of it; whether it was taken away. It is no error not to hold it."""
        return self.forgo() and self.wire.send(self.leaving())[1] == 1

    async def release_async(self) -> bool:
        """As ``release``, on the running event loop."""
        return self.forgo() and (await self.wire.send_async(self.leaving()))[1] == 1

    def _take(self) -> bool:
        with self.renewed():
            return self.note(bool(_checked(self.wire.send([self.taking()])[0])))

    async def _take_async(self) -> bool:
        with self.renewed():
            return self.note(bool(_checked((await self.wire.send_async([self.taking()]))[0])))

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """Renew it from now on, unless it is not ours by the end of the block.

        On a busy event loop the reply may be read seconds after Redis has sent it.
        """
        self._is_ours = False
        _heart_of(self.wire).add(self)
        try:
            yield
        finally:
            if not self._is_ours:
                _heart_of(self.wire).remove(self, refused=True)

    def forgo(self) -> bool:
        """Renew it no more; whether it was held."""
        return _heart_of(self.wire).remove(self)

    def taking(self) -> tuple[Any, ...]:
        """The command that takes it, if nobody holds it."""
        return "SET", self.name, self.token, "NX", "PX", _MILLISECONDS

    def _asking(self) -> tuple[Any, ...]:
        return "EVAL", _ASK, 1, self.name, self.token, _MILLISECONDS

    def _looking(self) -> tuple[Any, ...]:
        return "EXISTS", word_of(self.name, self.token)

    def leaving(self) -> Commands:
        """The commands that let go of it; the second is answered with 1 if it was taken away."""
        leaving = "EVAL", _RELEASE, 1, self.name, self.token, self._channel
        return [leaving, ("DEL", word_of(self.name, self.token))]

    def note(self, is_ours: bool) -> bool:  # noqa: FBT001 - what is noted
        """Note whether it is ours."""
        self._is_ours = is_ours
        if not is_ours and self._refused_at is None:
            self._refused_at = clock.ticks()
        return is_ours

    def _left(self, replies: list[Any]) -> float:
        """Seconds until it ends, if its holder does not renew it; 0 if it is ours now."""
        left: int = _checked(replies[0])
        self.note(not left)
        return left / 1000

    def _patience(self, left: float) -> float:
        so_far = clock.ticks() - (self._refused_at or 0.0)
        return min(left, so_far, NET)


def renewals(leases: Sequence[Lease], at_once: int = _AT_ONCE) -> list[tuple[Any, ...]]:
    """What lets leases end later, those that are still ours."""
    return [
        _renewal([(lease.name, lease.token) for lease in leases[start : start + at_once]])
        for start in range(0, len(leases), at_once)
    ]


def _renewal(held: Sequence[tuple[str, str]]) -> tuple[Any, ...]:
    names, tokens = zip(*held, strict=True)
    return "EVAL", _RENEW, len(held), *names, _MILLISECONDS, *tokens


def _checked(reply: Any) -> Any:
    if isinstance(reply, Exception):
        raise reply
    return reply


def _set_on(loop: AbstractEventLoop, event: Event) -> None:
    with suppress(RuntimeError):  # it is closed, and nobody waits there any more
        loop.call_soon_threadsafe(event.set)


class Heart:
    """Renews the leases that this process holds on a server, in a thread that is there while there are any.

    After a try that was refused, the thread stays for a beat: who was refused tries again soon.
    """

    def __init__(self) -> None:
        self._held: set[Lease] = set()
        self._changed = threading.Condition()
        self._beats = False
        self._lingers = False

    def add(self, lease: Lease) -> None:
        """Renew a lease from now on."""
        with self._changed:
            if not self._beats:
                self._start()
            self._held.add(lease)

    def _start(self) -> None:
        self._beats = True  # before all else, as a finalizer may come here meanwhile
        try:
            threading.Thread(target=self._beat, name="mlcache-heart", daemon=True).start()
        except RuntimeError:  # there can be no more threads, for now
            self._beats = False
            raise

    def remove(self, lease: Lease, *, refused: bool = False) -> bool:
        """Renew a lease no more; whether it was held, or only asked for where it was refused."""
        with self._changed:
            held = lease in self._held
            self._held.discard(lease)
            if held:
                self._lingers = refused
            if not self._held and not self._lingers:
                self._changed.notify()
            return held

    def _beat(self) -> None:
        while held := self._next():
            by_wire: dict[Wire, list[Lease]] = {}
            for lease in held:
                by_wire.setdefault(lease.wire, []).append(lease)
            for wire, leases in by_wire.items():
                with suppress(Exception):  # the leases end, and somebody else computes the same
                    # All at once: a thousand commands may take longer than a lease on a busy machine.
                    wire.send(renewals(leases, 1 if wire.spread else _AT_ONCE))

    def _next(self) -> list[Lease]:
        """The leases to renew after a pause, or none if none is left and the thread is to end."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held and not self._lingers, BEAT)
            self._beats = bool(self._held)
            return list(self._held)


_hearts: dict[Hashable, Heart] = {}
"""One for each server: one that does not answer must not hold up the leases of another."""


def _heart_of(wire: Wire) -> Heart:
    return _hearts.get(wire.target) or _hearts.setdefault(wire.target, Heart())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_hearts.clear)  # the child holds no lease and has no such threads
