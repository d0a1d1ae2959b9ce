"""How old an answer can be that a client sees: through the tiers of two hosts, HTTP and its own cache."""

from __future__ import annotations

import random
import threading
import time as system
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mlcache import Expiry, Result, ml_cache
from mlcache.testing import FakeClock

hishel: Any = pytest.importorskip("hishel")
hishel_httpx: Any = pytest.importorskip("hishel.httpx")


@contextmanager
def serving(answer: Callable[[], Result[float]]) -> Iterator[tuple[str, list[str]]]:
    """A real server, and how each of its answers came about."""
    statuses: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            result = answer()
            body = repr(result.value).encode()
            statuses.append(result.status)
            self.send_response(200)
            for name, value in result.http_headers().items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class has it
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/price", statuses
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def caching_client(file: Path) -> Iterator[Any]:
    """A client whose cache keeps to RFC 9111."""
    storage = hishel.SqliteStorage(database_path=file)
    with hishel_httpx.CacheClient(storage=storage, rfc=True) as client:
        yield client
    storage.close()


@pytest.mark.parametrize(
    ("expiry", "oldest"),
    [(Expiry(10), 10.0), (Expiry(10, stale=5), 15.0), (Expiry(10, jitter=0.5), 10.0)],
    ids=["plain", "stale", "jitter"],
)
def test_it_is_never_older_than_its_time_whatever_lies_between(
    expiry: Expiry, oldest: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(1)
    with FakeClock() as time:
        monkeypatch.setattr(system, "time", time.now)  # that of the client and of the server

        def price() -> float:
            return time.now()

        backend = f"lru?max_items=10, disk://{tmp_path}/cache"
        cached = ml_cache(backend=backend, ttl=expiry, name="price", version="1", ignore="time")
        hosts = [cached(price) for _ in range(2)]
        ages: list[float] = []
        with (
            serving(lambda: chance.choice(hosts).call_with_info()) as (url, statuses),
            caching_client(tmp_path / "one.db") as one,
            caching_client(tmp_path / "other.db") as other,
        ):
            for _ in range(200):
                time.advance(chance.uniform(0, 3))
                ages.append(time.now() - float(chance.choice([one, other]).get(url).text))
    assert max(ages) < oldest
    assert max(ages) > 5  # it was kept
    assert len(statuses) < 150  # by the clients, too
    assert "hit" in statuses
