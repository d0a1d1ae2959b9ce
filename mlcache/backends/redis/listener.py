"""Hears over Redis what other processes wrote and invalidated, in one thread a server and process.

Each time that listening begins, whoever listens is told to renew: what happened before may have
been missed.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType

import msgspec

from mlcache import clock
from mlcache.backends.protocol import Hearer, News
from mlcache.backends.redis.subscription import Subscription
from mlcache.backends.redis.target import Target


class Message(msgspec.Struct, frozen=True, array_like=True):
    """What is published.

    Args:
        origin: of whom it comes, so that he can ignore it; see ``origin_of``.
        sent: when, in seconds since the epoch.
        news: what happened.
    """

    origin: bytes
    sent: float
    news: News


def origin_of(token: bytes) -> bytes:
    """Of whom a message comes: of a backend, in a process; a fork makes two of one backend."""
    return token + os.getpid().to_bytes(4)


encode: Callable[[Message], bytes] = msgspec.msgpack.Encoder().encode
decode: Callable[[bytes], Message] = msgspec.msgpack.Decoder(Message).decode


class Heard(msgspec.Struct):
    """What a listener has heard so far.

    Args:
        messages: of other processes, about functions of this one.
        gaps: how often the connection was lost.
        delay: seconds from publishing the last message to having acted on it, by the clocks of both.
    """

    messages: int = 0
    gaps: int = 0
    delay: float = 0.0


class Listener(Subscription):
    """Tells those who listen, from a thread that runs once there are any.

    Args:
        target: of the server.
        clients: the module that makes its clients.
        give_up: told of the error if the server cannot be reached at first.
    """

    def __init__(
        self, target: Target, clients: ModuleType, give_up: Callable[[BaseException], object]
    ) -> None:
        self.heard = Heard()
        self._give_up = give_up
        self._hearers: dict[str, list[tuple[bytes, weakref.ref[Hearer]]]] = {}
        super().__init__("mlcache-listener", channel_of(target), target, clients)

    def add(self, token: bytes, namespace: str, hearer: Hearer) -> None:
        """Tell ``hearer``, who is held weakly, of what others than a backend do in ``namespace``."""
        with self._lock:
            self._hearers.setdefault(namespace, []).append((token, weakref.ref(hearer)))
            self._start()
        if not _is_on_event_loop():
            self._tried.wait(self._target.connect_timeout + self._target.timeout)
        if self.is_listening:
            hearer.renew()

    def remove(self, token: bytes) -> None:
        """Tell no more whoever was added for a backend."""
        with self._lock:
            for namespace, hearers in list(self._hearers.items()):
                self._hearers[namespace] = [each for each in hearers if each[0] != token]

    def after_fork(self) -> None:
        """Listen anew in a forked child, if anybody listened."""
        was_running = self._thread is not None
        super().after_fork()
        if was_running:
            with self._lock:
                self._start()

    def _fail(self, error: Exception) -> None:
        if self.is_listening:
            self.heard.gaps += 1
        elif not self._tried.is_set() and isinstance(error, self._clients.FAILURES):
            self._give_up(error)

    def _renew(self) -> None:
        for hearer in self._all():
            hearer.renew()

    def _take(self, data: bytes) -> None:
        with suppress(msgspec.DecodeError):  # of whoever else may write there
            self._pass_on(decode(data))

    def _pass_on(self, message: Message) -> None:
        hearers = self._hearers.get(message.news.namespace, ())
        others = [hearer() for token, hearer in hearers if origin_of(token) != message.origin]
        for hearer in others:
            if hearer is not None:
                with suppress(Exception):  # a tier that failed, in strict mode
                    hearer.hear(message.news)
        if others:
            self.heard.messages += 1
            self.heard.delay = clock.now() - message.sent

    def _all(self) -> list[Hearer]:
        with self._lock:
            found = [held() for hearers in self._hearers.values() for _, held in hearers]
        return [hearer for hearer in found if hearer is not None]


def channel_of(target: Target) -> str:
    """What to publish to: databases share the names of channels, though not those of keys."""
    return f"{target.prefix}:news:{target.db}"


def _is_on_event_loop() -> bool:
    """Whether waiting here would hold up an event loop."""
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
