"""redis-py's clients for a target, and what we ask of them, in a thread or on an event loop.

This module imports redis-py, so nobody imports it before a Redis is opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from inspect import Parameter, signature
from itertools import islice
from typing import Any, cast

import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.asyncio.retry
import redis.asyncio.sentinel
import redis.cluster
import redis.retry
import redis.sentinel
from msgspec import structs
from redis.backoff import NoBackoff
from redis.exceptions import ClusterDownError, RedisClusterException, RedisError

from mlcache.backends.protocol import Usage
from mlcache.backends.redis.commands import Command
from mlcache.backends.redis.target import Target

FAILURES = (redis.ConnectionError, redis.TimeoutError, ClusterDownError, RedisClusterException, OSError)
"""Errors that say that the server is not there or does not answer."""

LATE = (redis.TimeoutError, TimeoutError)
"""Those that say that an answer did not come in time."""

ERRORS = (RedisError,)
"""All other errors: the server answered, and refused."""

READ_SIZE = 2**17
"""Bytes to read from a connection at once; redis-py's own 32 KiB make large values slow."""

# Older versions of redis-py read 64 KiB and cannot be told otherwise.
_READING = {"socket_read_size": READ_SIZE} if "socket_read_size" in signature(redis.Redis).parameters else {}

# Older versions of redis-py must be told what a connection is for; newer ones complain of it.
_asked = signature(redis.ConnectionPool.get_connection).parameters["command_name"].default is Parameter.empty
_PURPOSE = ("GET",) if _asked else ()

BATCH = 1000
"""Keys to look through, or to delete, in one command."""

LENIENCE = 20
"""How many times as long an event loop may wait for a server that answers a thread at once."""

SPARE = 2
"""Connections beside those of callers: for the listener and for a probe."""

Replies = list[Any]


class Link:
    """A client for threads.

    Args:
        target: of its server.
    """

    def __init__(self, target: Target) -> None:
        self.client = connect(target)
        self._is_cluster = target.kind == "cluster"

    def get(self, name: str) -> bytes | None:
        """The bytes under a key.

        Sent without the client's own way of retrying and measuring, which take a tenth of the whole time.
        """
        if self._is_cluster:
            return cast("bytes | None", self.client.execute_command("GET", name))
        pool = self.client.connection_pool
        connection = pool.get_connection(*_PURPOSE)
        try:
            connection.send_command("GET", name)
            return cast("bytes | None", connection.read_response())
        finally:
            pool.release(connection)

    def get_many(self, names: Sequence[str]) -> Replies:
        """The bytes under each key, in one round trip (in a cluster, one for each node)."""
        if not self._is_cluster:
            return list(self.client.mget(names)) if names else []
        return self.run([("GET", name) for name in names])

    def run(self, commands: Sequence[Command]) -> Replies:
        """The reply to each command, or the error in its place; in one round trip where that can be.

        What is published comes last, as in a cluster it takes a round trip of its own.
        """
        pipeline = self.client.pipeline(transaction=False)
        together, alone = _split(commands, is_cluster=self._is_cluster)
        for command in together:
            pipeline.execute_command(*command)
        replies: Replies = pipeline.execute(raise_on_error=False)
        return replies + [self.client.execute_command(*each) for each in alone]

    def scan(self, pattern: str) -> Iterator[list[bytes]]:
        """The keys that match, in batches; one may come twice."""
        found = iter(self.client.scan_iter(match=pattern, count=BATCH))
        while batch := list(islice(found, BATCH)):
            yield batch

    def ping(self) -> None:
        """Ask for a sign of life; of a cluster, of all its primaries."""
        if self._is_cluster:
            self.client.ping(target_nodes="primaries")
        else:
            self.client.ping()

    def usage(self) -> Usage:
        """How full it is: all keys of the database, and all memory of the server."""
        if not self._is_cluster:
            return _usage(self.client.dbsize(), [self.client.info("memory")])
        nodes = self.client.info("memory", target_nodes="primaries")
        return _usage(self.client.dbsize(target_nodes="primaries"), list(nodes.values()))

    def close(self) -> None:
        """Close its connections."""
        self.client.close()


class AsyncLink:
    """A client for one event loop.

    Args:
        target: of its server.
    """

    def __init__(self, target: Target) -> None:
        self.client = connect_async(target)
        self.slots = asyncio.Semaphore(target.max_connections)
        self.opening = asyncio.Lock()
        self._target = target
        self._is_cluster = target.kind == "cluster"
        self.is_open = not self._is_cluster
        self._lenient: AsyncLink | None = None

    async def open(self) -> None:
        """Ask a cluster for its nodes, which a command would do as well, but each for itself."""
        if not self.is_open:
            await self.client.initialize()
            self.is_open = True

    async def lenient(self) -> AsyncLink:
        """Another link, open, whose patience is that of a loop which may be busy for long."""
        if self._lenient is None:
            target = self._target
            times = {
                "connect_timeout": target.connect_timeout * LENIENCE,
                "timeout": target.timeout * LENIENCE,
            }
            self._lenient = AsyncLink(structs.replace(target, **times))
        await self._lenient.open()
        return self._lenient

    async def get(self, name: str) -> bytes | None:
        """As ``Link.get``."""
        if self._is_cluster:
            return cast("bytes | None", await self.client.execute_command("GET", name))
        pool = self.client.connection_pool
        connection = await pool.get_connection(*_PURPOSE)
        try:
            await connection.send_command("GET", name)
            return cast("bytes | None", await connection.read_response())
        finally:
            await pool.release(connection)

    async def get_many(self, names: Sequence[str]) -> Replies:
        """As ``Link.get_many``."""
        if not self._is_cluster:
            return list(await self.client.mget(names)) if names else []
        return await self.run([("GET", name) for name in names])

    async def run(self, commands: Sequence[Command]) -> Replies:
        """As ``Link.run``."""
        pipeline = self.client.pipeline(transaction=False)
        together, alone = _split(commands, is_cluster=self._is_cluster)
        for command in together:
            pipeline.execute_command(*command)
        replies: Replies = await pipeline.execute(raise_on_error=False)
        return replies + [await self.client.execute_command(*each) for each in alone]

    async def scan(self, pattern: str) -> AsyncIterator[list[bytes]]:
        """As ``Link.scan``."""
        batch: list[bytes] = []
        async for name in self.client.scan_iter(match=pattern, count=BATCH):
            batch.append(name)
            if len(batch) == BATCH:
                yield batch
                batch = []
        yield batch

    async def close(self) -> None:
        """Close its connections."""
        if self._lenient is not None:
            await self._lenient.close()
        await self.client.aclose()


def connect(target: Target) -> Any:
    """redis-py's client for threads. Nothing is sent, but to a cluster, which is asked for its nodes."""
    retry = redis.retry.Retry(NoBackoff(), 0)
    return _connect(target, redis, redis.sentinel.Sentinel, redis.cluster.ClusterNode, retry)


def connect_async(target: Target) -> Any:
    """redis-py's client for the running event loop. Nothing is sent."""
    aio = redis.asyncio
    retry = aio.retry.Retry(NoBackoff(), 0)
    return _connect(target, aio, aio.sentinel.Sentinel, aio.cluster.ClusterNode, retry)


def _connect(target: Target, library: Any, sentinel: Any, node: Any, retry: Any) -> Any:
    """One builder for both worlds, whose classes have the same names and arguments."""
    common = _timing(target) | _encryption(target) | {"retry": retry}
    mine = common | {"username": target.username, "password": target.password}
    if target.kind == "cluster":
        return library.RedisCluster(startup_nodes=[node(*each) for each in target.nodes], **mine)
    mine["db"] = target.db
    if target.kind == "unix":
        return library.Redis(unix_socket_path=target.path, **mine)
    if target.kind == "sentinel":
        theirs = common | {"username": target.sentinel_username, "password": target.sentinel_password}
        sentinels = sentinel(target.nodes, sentinel_kwargs=theirs, **mine)
        return sentinels.master_for(target.service, library.Redis)
    host, port = target.nodes[0]
    return library.Redis(host=host, port=port, **mine)


def _timing(target: Target) -> dict[str, Any]:
    return {
        "socket_timeout": target.timeout,
        "socket_connect_timeout": target.connect_timeout,
        "max_connections": target.max_connections + SPARE,
        "protocol": 2,
    } | _READING


def _encryption(target: Target) -> dict[str, Any]:
    if target.tls is None:
        return {}
    return {
        "ssl": True,
        "ssl_ca_certs": target.tls.ca_file,
        "ssl_certfile": target.tls.cert_file,
        "ssl_keyfile": target.tls.key_file,
        "ssl_check_hostname": target.tls.check_hostname,
    }


def _split(commands: Sequence[Command], *, is_cluster: bool) -> tuple[list[Command], list[Command]]:
    """What can go into one pipeline and what must go alone: a cluster's pipelines know no PUBLISH."""
    together = [each for each in commands if not is_cluster or each[0] != "PUBLISH"]
    return together, [each for each in commands if is_cluster and each[0] == "PUBLISH"]


def _usage(items: int, nodes: list[Any]) -> Usage:
    used = sum(int(node["used_memory"]) for node in nodes)
    bound = sum(int(node.get("maxmemory", 0)) for node in nodes)
    return Usage(items, used, None, bound or None)
