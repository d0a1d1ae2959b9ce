"""What is published on one channel, taken by a thread of its own.

Redis delivers what is published to whoever is connected, and to nobody else. So each time that
listening begins, something may have been missed before. A connection that has gone silent is
noticed by a ping, and one that was lost is made anew after a pause.
"""

from __future__ import annotations

import random
import threading
from contextlib import suppress
from types import ModuleType
from typing import Any

from mlcache.backends.redis.target import Target

QUIET = 2.0
"""Seconds of silence before a ping, and as many before it counts as unanswered."""

SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between attempts to connect."""


class Subscription:
    """A thread that listens while it is wanted. Subclasses say what they do about what they hear.

    Args:
        name: of the thread.
        channel: to listen to.
        target: of the server.
        clients: the module that makes its clients.
    """

    def __init__(self, name: str, channel: str, target: Target, clients: ModuleType) -> None:
        self.channel = channel
        self._name = name
        self._target = target
        self._clients = clients
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.RLock()  # a finalizer may run with it that waits for a lease itself
        self._ended = threading.Event()
        self._tried = threading.Event()
        self._listening = threading.Event()
        self._thread: threading.Thread | None = None
        self._subscription: Any = None

    @property
    def is_listening(self) -> bool:
        """Whether it is connected."""
        return self._listening.is_set()

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
        """Begin anew in a forked child: threads do not survive a fork."""
        _inherited.append(self._subscription)
        self._begin()

    def _start(self) -> None:
        """Start the thread, if there is none; to be called with the lock."""
        if self._thread is not None:
            return
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        if self._thread is None:  # no finalizer has been here meanwhile
            self._thread = thread
            self._ended.clear()
            self._tried.clear()
            try:
                thread.start()
            except RuntimeError:  # there can be no more threads, for now
                self._thread = None
                raise

    def _run(self) -> None:
        pause = SHORTEST_PAUSE
        while not self._is_over():
            try:
                self._listen()
            except Exception as error:  # noqa: BLE001 - whatever it was, try again
                pause = SHORTEST_PAUSE if self.is_listening else min(pause * 2, LONGEST_PAUSE)
                if not self._ended.is_set():
                    self._fail(error)
            else:
                pause = SHORTEST_PAUSE
            finally:
                self._listening.clear()
                self._tried.set()
                self._lose()
            self._ended.wait(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret

    def _is_over(self) -> bool:
        """Whether the thread is to end, which whoever wants to listen next must know."""
        with self._lock:
            if not self._ended.is_set():
                if self._is_wanted():
                    return False
                self._thread = None
            return True

    def _listen(self) -> None:
        client = self._clients.connect(self._target)
        subscription = self._subscription = client.pubsub()
        try:
            subscription.subscribe(self.channel)
            asked, patience = True, self._target.timeout
            while self._is_wanted() and not self._ended.is_set():
                message = subscription.get_message(timeout=patience)
                if message is not None:
                    asked, patience = False, QUIET
                    self._hear(message)
                elif asked:
                    raise TimeoutError(f"no answer in {patience} seconds")
                else:
                    subscription.ping()
                    asked = True
        finally:
            self._subscription = None
            subscription.close()
            client.close()

    def _hear(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":  # also after a connection that redis-py mended by itself
            self._listening.set()
            self._tried.set()
            self._renew()
        elif message["type"] == "message":
            self._take(message["data"])

    def _is_wanted(self) -> bool:
        """Whether anybody listens; asked after each message, and when it has been silent for a while."""
        return True

    def _renew(self) -> None:
        """Listening begins: something may have been missed."""

    def _take(self, data: bytes) -> None:
        """Something was published."""

    def _fail(self, error: Exception) -> None:
        """Listening failed; ``is_listening`` says whether it had begun."""

    def _lose(self) -> None:
        """Listening has ended, for now or for good."""


_inherited: list[Any] = []
"""Subscriptions of the parent of a forked child, kept so that nothing closes their connections."""
