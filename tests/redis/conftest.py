"""Servers that live as long as the tests of one process; they are started when first asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.redis.servers import Server, Watched, cluster
from tests.redis.tls import Authority, Terminator


@pytest.fixture(scope="session")
def standing_server() -> Iterator[Server]:
    """A Redis that other tests have used, too."""
    with Server() as server:
        yield server


@pytest.fixture
def server(standing_server: Server) -> Server:
    """A Redis with nothing in it."""
    standing_server.command("FLUSHALL")
    return standing_server


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """That signs the certificates of servers and clients."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def standing_terminator(standing_server: Server, authority: Authority) -> Iterator[Terminator]:
    """TLS before the standing server; its certificate is made out to localhost."""
    with Terminator(standing_server.port, authority.issue("localhost")) as terminator:
        yield terminator


@pytest.fixture
def encrypted(server: Server, standing_terminator: Terminator, authority: Authority) -> str:
    """The URL of the empty server behind TLS."""
    _ = server
    return f"rediss://localhost:{standing_terminator.port}/0?ca_file={authority.file}&timeout=5s"


@pytest.fixture(scope="session")
def watched() -> Iterator[Watched]:
    """A Redis, its replica and their sentinels."""
    with ExitStack() as stack:
        yield Watched(stack)


@pytest.fixture(scope="session")
def nodes() -> Iterator[list[Server]]:
    """The three nodes of a cluster."""
    with cluster() as servers:
        yield servers
