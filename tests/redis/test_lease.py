"""The lock of a key in Redis: one holder of all processes, for as long as it shows that it lives."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from mlcache import open_backend
from mlcache.backends.redis.lease import LEASE
from mlcache.backends.redis.store import Redis
from mlcache.entry import Key
from tests.redis.servers import Server

KEY = Key("app.f@1", b"1" * 16)


@pytest.fixture
def store(server: Server) -> Iterator[Redis]:
    backend = open_backend(f"redis://localhost:{server.port}/0")
    assert isinstance(backend, Redis)
    yield backend
    backend.close()


def test_one_holds_it_until_it_lets_go(store: Redis) -> None:
    mine, other = store.lock(KEY), store.lock(KEY)
    assert mine.acquire()
    assert not other.acquire()
    other.release()
    assert not other.acquire()
    mine.release()
    assert other.acquire()
    other.release()


def test_it_is_renewed_while_it_is_held(store: Redis) -> None:
    mine, other = store.lock(KEY), store.lock(KEY)
    assert mine.acquire()
    assert not threading.Event().wait(1.5 * LEASE)
    assert not other.acquire()
    mine.release()


def test_who_lets_go_late_does_not_end_anothers(store: Redis, server: Server) -> None:
    mine, other = store.lock(KEY), store.lock(KEY)
    assert mine.acquire()
    server.command("FLUSHALL")
    assert other.acquire()
    mine.release()
    assert not store.lock(KEY).acquire()
    other.release()


def test_leases_are_no_entries(store: Redis) -> None:
    lease = store.lock(KEY)
    assert lease.acquire()
    assert store.count(KEY.namespace) == 0
    lease.release()
