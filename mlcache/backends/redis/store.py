"""Frames in Redis, shared by all processes and hosts that reach it."""

from __future__ import annotations

import secrets
import weakref
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from mlcache.backends.protocol import Hearer, Usage
from mlcache.backends.redis.bell import Bell, channel_of
from mlcache.backends.redis.commands import (
    Command,
    Commands,
    Item,
    checked,
    digests_of,
    errors_of,
    found_in,
    gone_of,
    unlink,
)
from mlcache.backends.redis.lease import Lease
from mlcache.backends.redis.lease_many import acquire_many, release_many
from mlcache.backends.redis.listener import Heard
from mlcache.backends.redis.server import Server, server_at
from mlcache.backends.redis.superseding import take_away, take_away_async
from mlcache.backends.redis.target import Target
from mlcache.entry import Key

if TYPE_CHECKING:
    from mlcache.backends.redis.clients import AsyncLink, Link


class Redis:
    """Keeps frames under ``prefix:namespace:digest``, in Redis or Valkey.

    A namespace is cleared, listed and counted by looking through all keys of the database (SCAN).
    That takes time in proportion to them, about a microsecond each, and holds nobody up. An index
    of each namespace would be quicker; but Redis evicts and expires keys without telling it, so
    that it would be wrong and grow without bound. Who clears looks twice: for leases first, which are
    taken from those who compute, so that they keep nothing, and then for entries.

    Redis itself expires an entry that is dead. That spares memory and is no verdict: whether an
    entry may be used is told by its frame alone.

    What is written, deleted or cleared is announced to all who ``subscribe``. Every method has a
    twin for event loops, a coroutine function whose name ends in ``_async``.

    Args:
        target: where it is.

    Raises:
        MissingExtraError: redis-py is not installed.
    """

    name = "redis"
    holds: ClassVar[Literal["bytes"]] = "bytes"
    blocking = True

    def __init__(self, target: Target) -> None:
        self.target = target
        self.compress = target.compress is not None
        self._token = secrets.token_bytes(8)
        self._commands = Commands(target, self._token)
        self._server: Server | None = None
        self._hearers: list[tuple[str, weakref.ref[Hearer]]] = []
        self._reach()  # says at once what to install

    @property
    def heard(self) -> Heard:
        """What this process has heard of others over this server."""
        return self._reach().listener.heard

    def get(self, key: Key) -> bytes | None:
        name = self._commands.name(key)
        return self._reach().do(lambda link: link.get(name))

    async def get_async(self, key: Key) -> bytes | None:
        name = self._commands.name(key)
        return await self._reach().do_async(lambda link: link.get(name))

    def put(self, key: Key, data: bytes, expires_at: float) -> None:
        commands = self._commands.write((key, data, expires_at))
        checked(self._reach().do(lambda link: link.run(commands)))

    async def put_async(self, key: Key, data: bytes, expires_at: float) -> None:
        commands = self._commands.write((key, data, expires_at))
        checked(await self._reach().do_async(lambda link: link.run(commands)))

    def delete(self, key: Key) -> bool:
        commands = self._commands.delete([key])
        return bool(checked(self._reach().do(lambda link: link.run(commands)))[0])

    async def delete_async(self, key: Key) -> bool:
        commands = self._commands.delete([key])
        return bool(checked(await self._reach().do_async(lambda link: link.run(commands)))[0])

    def get_many(self, keys: Sequence[Key]) -> list[bytes | Exception | None]:
        names = [self._commands.name(key) for key in keys]
        return found_in(self._reach().do(lambda link: link.get_many(names)))

    async def get_many_async(self, keys: Sequence[Key]) -> list[bytes | Exception | None]:
        names = [self._commands.name(key) for key in keys]
        return found_in(await self._reach().do_async(lambda link: link.get_many(names)))

    def put_many(self, items: Sequence[Item]) -> list[Exception | None]:
        commands, objections = self._commands.write_many(items)
        return errors_of(self._reach().do(lambda link: link.run(commands)), objections)

    async def put_many_async(self, items: Sequence[Item]) -> list[Exception | None]:
        commands, objections = self._commands.write_many(items)
        return errors_of(await self._reach().do_async(lambda link: link.run(commands)), objections)

    def delete_many(self, keys: Sequence[Key]) -> list[bool | Exception]:
        commands = self._commands.delete(keys)
        return gone_of(self._reach().do(lambda link: link.run(commands)), len(keys))

    async def delete_many_async(self, keys: Sequence[Key]) -> list[bool | Exception]:
        commands = self._commands.delete(keys)
        return gone_of(await self._reach().do_async(lambda link: link.run(commands)), len(keys))

    def clear(self, namespace: str) -> int:
        leases = self._commands.leases(namespace)
        held = self._reach().do(lambda link: [name for batch in link.scan(leases) for name in batch])
        take_away(self, held, channel_of(self.target))

        def work(link: Link) -> int:
            found = link.scan(self._commands.pattern(namespace))
            gone = sum(sum(checked(link.run(unlink(batch)))) for batch in found)
            checked(link.run(self._commands.clear(namespace)))
            return gone

        return self._reach().do(work)

    async def clear_async(self, namespace: str) -> int:
        leases = self._commands.leases(namespace)

        async def search(link: AsyncLink) -> list[bytes]:
            return [name async for batch in link.scan(leases) for name in batch]

        await take_away_async(self, await self._reach().do_async(search), channel_of(self.target))

        async def work(link: AsyncLink) -> int:
            found = link.scan(self._commands.pattern(namespace))
            gone = sum([sum(checked(await link.run(unlink(batch)))) async for batch in found])
            checked(await link.run(self._commands.clear(namespace)))
            return gone

        return await self._reach().do_async(work)

    def keys(self, namespace: str) -> Iterator[Key]:
        return iter([Key(namespace, digest) for digest in self._digests(namespace)])

    def count(self, namespace: str) -> int:
        return len(self._digests(namespace))

    def usage(self) -> Usage:
        """How full the database is, with all that others keep there, too."""
        return self._reach().do(lambda link: link.usage())

    def subscribe(self, namespace: str, hearer: Hearer) -> None:
        """Tell ``hearer`` of what others write and drop there, by the same server and prefix."""
        self._hearers.append((namespace, weakref.ref(hearer)))
        self._reach().listener.add(self._token, namespace, hearer)

    def lock(self, key: Key) -> Lease:
        """The lease of a key."""
        return Lease(self._commands.lease(key), self, channel_of(self.target))

    def acquire_many(self, locks: Sequence[Lease]) -> list[bool | Exception]:
        return acquire_many(self, locks)

    def release_many(self, locks: Sequence[Lease]) -> list[Any]:
        return release_many(self, locks)

    def supersede(self, key: Key) -> None:
        self.supersede_many([key])

    async def supersede_async(self, key: Key) -> None:
        await self.supersede_many_async([key])

    def supersede_many(self, keys: Sequence[Key]) -> list[None]:
        take_away(self, [self._commands.lease(key) for key in keys], channel_of(self.target))
        return [None] * len(keys)

    async def supersede_many_async(self, keys: Sequence[Key]) -> list[None]:
        await take_away_async(self, [self._commands.lease(key) for key in keys], channel_of(self.target))
        return [None] * len(keys)

    def send(self, commands: Sequence[Command]) -> list[Any]:
        """The reply to each command, or the error in its place."""
        return self._reach().do(lambda link: link.run(commands))

    async def send_async(self, commands: Sequence[Command]) -> list[Any]:
        """As ``send``, on the running event loop."""
        return await self._reach().do_async(lambda link: link.run(commands))

    @property
    def spread(self) -> bool:
        """Whether keys lie on several nodes."""
        return self.target.kind == "cluster"

    def bell(self) -> Bell:
        """What tells who waits for a lease of its end.

        Raises:
            BackendError: the server did not answer lately, so that there is no use in listening.
        """
        server = self._reach()
        server.breaker.check()
        return server.bell

    def close(self) -> None:
        """Let go of the server. Who asks again reaches it again; what was kept nearer is forgotten."""
        server, self._server = self._server, None
        if server is not None:
            server.leave(self, self._token)
            for _, hearer in self._listening():
                hearer.renew()

    def _reach(self) -> Server:
        return self._server or self._reach_again()

    def _reach_again(self) -> Server:
        server = self._server = server_at(self.target)
        server.join(self)
        for namespace, hearer in self._listening():
            server.listener.add(self._token, namespace, hearer)
        return server

    def _listening(self) -> list[tuple[str, Hearer]]:
        return [(namespace, hearer) for namespace, held in self._hearers if (hearer := held()) is not None]

    def _digests(self, namespace: str) -> set[bytes]:
        """Each digest once: SCAN may find a key twice."""
        pattern = self._commands.pattern(namespace)
        return self._reach().do(
            lambda link: {digest for batch in link.scan(pattern) for digest in digests_of(batch)}
        )

    def __repr__(self) -> str:
        return f"<{self.target}, keys begin with {self.target.prefix!r}>"
