"""What a process has of one Redis: connections, a circuit breaker, a listener and a bell.

They are shared by its backends.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Awaitable, Callable
from queue import SimpleQueue
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from mlcache.backends.breaker import Breaker
from mlcache.backends.redis.bell import Bell
from mlcache.backends.redis.listener import Listener
from mlcache.backends.redis.loops import Loops
from mlcache.backends.redis.target import Target
from mlcache.errors import BackendError, MissingExtraError
from mlcache.threads import in_thread

if TYPE_CHECKING:
    from mlcache.backends.redis.clients import AsyncLink, Link

T = TypeVar("T")


class Server:
    """One Redis as this process sees it.

    Args:
        target: where it is.

    Raises:
        MissingExtraError: redis-py is not installed.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self._clients = _clients()
        self.breaker = Breaker(str(target), target.breaker, self._probe)
        # The listener's thread must not keep alive what it is part of.
        self.listener = Listener(target, self._clients, _weakly(self.breaker.trip))
        self.bell = Bell(target, self._clients)
        self._users: weakref.WeakSet[object] = weakref.WeakSet()
        self._begin()
        for each in (self.listener, self.bell):
            weakref.finalize(self, each.stop).atexit = False
        _alive.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._slots = _slots(self.target.max_connections)
        self._link: Link | None = None
        self._end_link: weakref.finalize[..., Server] | None = None
        self._loops = Loops(self._clients, self.target)

    def do(self, work: Callable[[Link], T]) -> T:
        """What ``work`` gives, if the server answers.

        Raises:
            BackendError: it does not, or did not lately, or refused.
        """
        self.breaker.check()
        slot = self._slots.get()
        try:
            self.breaker.check()  # it may have stopped answering while we waited for our turn
            return work(self._link or self._connect())
        except self._clients.FAILURES as error:
            raise self.breaker.trip(error) from error
        except self._clients.ERRORS as error:
            raise self._refusal(error) from error
        finally:
            self._slots.put(slot)

    async def do_async(self, work: Callable[[AsyncLink], Awaitable[T]]) -> T:
        """As ``do``, on the running event loop."""
        self.breaker.check()
        link = await self._loops.mine()
        async with link.slots:
            self.breaker.check()
            try:
                if not link.is_open:
                    await self._open(link)
                try:
                    return await work(link)
                except self._clients.LATE as error:
                    return await work(await self._excuse(link, error))
            except self._clients.FAILURES as error:
                raise self.breaker.trip(error) from error
            except self._clients.ERRORS as error:
                raise self._refusal(error) from error

    async def _excuse(self, link: AsyncLink, error: Exception) -> AsyncLink:
        """A link that waits longer, if the server answers after all.

        A loop that is busy for longer than we wait ends the wait, though the answer may have come long since;
        and one that was busy once may well be so again.
        """
        async with link.opening:
            self.breaker.check()
            try:
                await in_thread("store", self._probe)
            except (*self._clients.FAILURES, *self._clients.ERRORS):
                raise self.breaker.trip(error) from error
            return await link.lenient()

    def join(self, user: object) -> None:
        """Note that ``user`` needs the connections."""
        self._users.add(user)

    def leave(self, user: object, token: bytes) -> None:
        """Note that ``user``, a backend with this token, needs them no more.

        With the last one the connections are closed.
        """
        self._users.discard(user)
        self.listener.remove(token)
        if not self._users:
            self.close()

    def close(self) -> None:
        """Close all connections and end the threads. Who asks again gets new ones."""
        self.listener.close()
        self.bell.close()
        self.breaker.close()
        with self._lock:
            self._link, end_link = None, self._end_link
        if end_link is not None:
            end_link()
        self._loops.close()

    def after_fork(self) -> None:
        """Begin anew in a forked child, which must not talk on the connections of its parent."""
        _inherited.append((self._link, self._loops))
        if self._end_link is not None:
            self._end_link.detach()
        self._begin()
        self.breaker.reset()
        self.listener.after_fork()
        self.bell.after_fork()

    def _connect(self, *, probing: bool = False) -> Link:
        with self._lock:
            link = self._link
            if link is None:
                if not probing:
                    self.breaker.check()  # a cluster may not have answered whoever came before us
                try:
                    link = self._link = self._clients.Link(self.target)
                except self._clients.FAILURES as error:  # noted before whoever waits for the lock goes on
                    raise self.breaker.trip(error) from error
                # The garbage collector may come upon a socket before the connection that closes it.
                self._end_link = weakref.finalize(self, link.close)
                self._end_link.atexit = False
            return link

    async def _open(self, link: AsyncLink) -> None:
        async with link.opening:
            self.breaker.check()  # a cluster may not have answered whoever came before us
            try:
                await link.open()
            except self._clients.FAILURES as error:
                raise self.breaker.trip(error) from error

    def _probe(self) -> None:
        self._connect(probing=True).ping()

    def _refusal(self, error: Exception) -> BackendError:
        return BackendError(f"{self.target} refused: {error}")


def _weakly(method: Callable[[BaseException], object]) -> Callable[[BaseException], None]:
    """``method``, for as long as its object is there."""
    held = weakref.WeakMethod(method)

    def call(error: BaseException) -> None:
        found = held()
        if found is not None:
            found(error)

    return call


def _slots(number: int) -> SimpleQueue[None]:
    """As many places as calls may be under way; a semaphore would do, and take thirty times as long."""
    slots: SimpleQueue[None] = SimpleQueue()
    for _ in range(number):
        slots.put(None)
    return slots


def server_at(target: Target) -> Server:
    """The one server of this process at ``target``."""
    with _registry.lock:
        server = _registry.servers.get(target)
        if server is None:
            server = _registry.servers[target] = Server(target)
        return server


class _Registry:
    """The servers of this process, for as long as anybody uses them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.servers: weakref.WeakValueDictionary[Target, Server] = weakref.WeakValueDictionary()


_registry = _Registry()
_alive: weakref.WeakSet[Server] = weakref.WeakSet()
_inherited: list[Any] = []
"""Clients of the parent of a forked child, kept so that nothing closes their connections."""


def _clients() -> ModuleType:
    try:
        from mlcache.backends.redis import clients
    except ImportError:
        raise MissingExtraError("backend 'redis'", "redis", "redis") from None
    return clients


def _after_fork() -> None:
    _registry.lock = threading.Lock()
    for server in list(_alive):
        server.after_fork()


@atexit.register
def _at_exit() -> None:
    for server in list(_alive):
        server.listener.close()
        server.bell.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
