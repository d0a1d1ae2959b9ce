"""Hears over Redis what other processes wrote and invalidated, in one thread a server and process.

Redis delivers what is published to whoever is connected, and to nobody else. So each time that
listening begins, whoever listens is told to renew: what happened before may have been missed.
A connection that has gone silent is noticed by a ping.
"""

from __future__ import annotations

import os
import random
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Any

import msgspec

from mlcache import clock
from mlcache.backends.protocol import Hearer, News
from mlcache.backends.redis.target import Target

QUIET = 2.0
"""Seconds of silence before a ping, and as many before it counts as unanswered."""

SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between attempts to connect."""


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


class Listener:
    """Tells those who listen, from a thread that runs while there are any.

    Args:
        target: of the server.
        clients: the module that makes its clients.
        give_up: told of the error if the server cannot be reached at first.
    """

    def __init__(
        self, target: Target, clients: ModuleType, give_up: Callable[[BaseException], object]
    ) -> None:
        self.channel = channel_of(target)
        self.heard = Heard()
        self._target = target
        self._clients = clients
        self._give_up = give_up
        self._hearers: dict[str, list[tuple[bytes, weakref.ref[Hearer]]]] = {}
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._tried = threading.Event()
        self._listening = threading.Event()
        self._thread: threading.Thread | None = None
        self._subscription: Any = None

    @property
    def is_listening(self) -> bool:
        """Whether it is connected."""
        return self._listening.is_set()

    def add(self, token: bytes, namespace: str, hearer: Hearer) -> None:
        """Tell ``hearer``, who is held weakly, of what others than a backend do in ``namespace``."""
        with self._lock:
            self._hearers.setdefault(namespace, []).append((token, weakref.ref(hearer)))
            if self._thread is None:
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

    def close(self) -> None:
        """End the thread, and wait until it has ended."""
        self.stop()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def stop(self) -> None:
        """End the thread, soon. It waits for nothing, so a destructor may call it wherever it runs."""
        self._ended.set()
        with suppress(Exception):  # there may be no connection, or none any more
            self._subscription.connection.disconnect()  # wakes the thread

    def after_fork(self) -> None:
        """Listen anew in a forked child, if anybody listened: threads do not survive a fork."""
        was_running = self._thread is not None
        _inherited.append(self._subscription)
        self._begin()
        if was_running:
            self._start()

    def _start(self) -> None:
        self._ended.clear()
        self._tried.clear()
        self._thread = threading.Thread(target=self._run, name="mlcache-listener", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        pause = SHORTEST_PAUSE
        while not self._ended.is_set():
            try:
                self._listen()
            except Exception as error:  # noqa: BLE001 - whatever it was, try again
                pause = SHORTEST_PAUSE if self._listening.is_set() else min(pause * 2, LONGEST_PAUSE)
                self._note_failure(error)
            finally:
                self._listening.clear()
                self._tried.set()
            self._ended.wait(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret

    def _note_failure(self, error: Exception) -> None:
        if self._ended.is_set():
            return
        if self._listening.is_set():
            self.heard.gaps += 1
        elif not self._tried.is_set() and isinstance(error, self._clients.FAILURES):
            self._give_up(error)

    def _listen(self) -> None:
        client = self._clients.connect(self._target)
        subscription = self._subscription = client.pubsub()
        try:
            subscription.subscribe(self.channel)
            asked, patience = True, self._target.timeout
            while not self._ended.is_set():
                message = subscription.get_message(timeout=patience)
                if message is not None:
                    asked, patience = False, QUIET
                    self._take(message)
                elif asked:
                    raise TimeoutError(f"no answer in {patience} seconds")
                else:
                    subscription.ping()
                    asked = True
        finally:
            self._subscription = None
            subscription.close()
            client.close()

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":  # also after a connection that redis-py mended by itself
            self._listening.set()
            self._tried.set()
            for hearer in self._all():
                hearer.renew()
        elif message["type"] == "message":
            with suppress(msgspec.DecodeError):  # of whoever else may write there
                self._pass_on(decode(message["data"]))

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


_inherited: list[Any] = []
"""Subscriptions of the parent of a forked child, kept so that nothing closes their connections."""
