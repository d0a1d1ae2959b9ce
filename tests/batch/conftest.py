"""The stores that batches are kept in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.redis.servers import Server


@pytest.fixture(scope="session")
def standing_server() -> Iterator[Server]:
    """A Redis that other tests have used, too."""
    with Server() as server:
        yield server


@pytest.fixture(params=["lru", "disk", "lru, disk", "redis"])
def backend(request: pytest.FixtureRequest, standing_server: Server, tmp_path: Path) -> str:
    """A backend of the test's own."""
    if request.param == "redis":
        standing_server.command("FLUSHALL")
        return f"redis://localhost:{standing_server.port}/0?timeout=20s&connect_timeout=20s"
    own = {"lru": "lru?max_bytes=64MiB", "disk": f"disk://{tmp_path}"}
    return ", ".join(own[name] for name in request.param.split(", "))
