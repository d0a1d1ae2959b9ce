"""Redis passes what is asked of every backend: alone, encoded, behind memory, in each of its forms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dogpile.cache import make_region
from redis import ConnectionPool

from mlcache import open_backend
from mlcache.backends.dogpile import Dogpile
from mlcache.backends.encoded import Encoded
from mlcache.backends.memory import Lru
from mlcache.backends.protocol import AnyBackend, BytesBackend
from mlcache.backends.tiered import Tiers
from mlcache.codec import FrameCodec
from mlcache.testing import BackendConformance
from tests.conformance.test_backends import Row, _raise
from tests.redis.servers import Server, Watched


class OverRedis(BackendConformance):
    """Over an empty server, the same for all backends of one test."""

    persistent = True
    url: str

    def make_backend(self, folder: Path) -> AnyBackend:  # noqa: ARG002 - the server keeps it all
        return self.open(self.url)

    def open(self, url: str) -> BytesBackend:
        backend: Any = open_backend(url)
        return backend  # type: ignore[no-any-return]


class TestRedis(OverRedis):
    @pytest.fixture(autouse=True)
    def _url(self, server: Server) -> None:
        self.url = server.url


class TestRedisOnAUnixSocket(OverRedis):
    @pytest.fixture(autouse=True)
    def _url(self, server: Server) -> None:
        self.url = f"unix://{server.socket}?db=3"


class TestEncodedRedis(TestRedis):
    def make_backend(self, folder: Path) -> AnyBackend:  # noqa: ARG002 - the server keeps it all
        return Encoded(self.open(self.url), FrameCodec())


class TestRedisBehindMemory(TestRedis):
    def make_backend(self, folder: Path) -> Any:  # noqa: ARG002 - the server keeps it all
        return Row(Tiers([Lru(max_bytes=2**24), Encoded(self.open(self.url), FrameCodec())], _raise))


class TestDogpileOverRedis(BackendConformance):
    persistent = True

    @pytest.fixture(autouse=True)
    def _clients(self, server: Server) -> Iterator[None]:
        with ConnectionPool(port=server.port) as self.pool:
            yield

    def make_backend(self, folder: Path) -> AnyBackend:  # noqa: ARG002 - the server keeps it all
        region = make_region().configure("dogpile.cache.redis", arguments={"connection_pool": self.pool})
        return Dogpile(region)


class TestEncryptedRedis(OverRedis):
    @pytest.fixture(autouse=True)
    def _url(self, encrypted: str) -> None:
        self.url = encrypted


class TestRedisBySentinel(OverRedis):
    @pytest.fixture(autouse=True)
    def _url(self, watched: Watched) -> None:
        watched.primary.command("FLUSHALL")
        self.url = watched.url


class TestRedisCluster(OverRedis):
    @pytest.fixture(autouse=True)
    def _url(self, nodes: list[Server]) -> None:
        for node in nodes:
            node.command("FLUSHALL")
        self.url = f"redis+cluster://127.0.0.1:{nodes[0].port}?node=127.0.0.1:{nodes[1].port}"
