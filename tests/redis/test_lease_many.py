"""Many leases at once: one round trip, and each is as if it were taken alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from mlcache import ml_cache, open_backend
from mlcache.backends.redis import lease as leasing
from mlcache.backends.redis.store import Redis
from mlcache.errors import BackendError
from mlcache.testing.backends import key, payload
from tests.redis.servers import Server

NUMBER = 20


@pytest.fixture
def store(server: Server) -> Iterator[Redis]:
    backend = open_backend(f"redis://localhost:{server.port}/0")
    assert isinstance(backend, Redis)
    yield backend
    backend.close()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[Any]]:
    """What is sent, by round trip."""
    trips: list[Sequence[Any]] = []
    send = Redis.send

    def noted(self: Redis, commands: Sequence[Any]) -> list[Any]:
        trips.append(commands)
        return send(self, commands)

    monkeypatch.setattr(Redis, "send", noted)
    return trips


def leases(store: Redis) -> list[Any]:
    return [store.lock(key(number)) for number in range(NUMBER)]


def test_they_are_taken_and_let_go_of_in_one_round_trip_each(store: Redis, sent: list[Sequence[Any]]) -> None:
    mine = leases(store)
    assert store.acquire_many(mine) == [True] * NUMBER
    assert store.release_many(mine) == [False] * NUMBER
    assert [len(commands) for commands in sent] == [NUMBER, 2 * NUMBER]


def test_those_that_are_ours_are_renewed_and_no_others(store: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leasing, "BEAT", 0.05)
    monkeypatch.setattr(leasing, "_MILLISECONDS", 400)
    mine, others = leases(store), leases(store)
    store.send([("SET", others[0].name, others[0].token, "PX", 400)])
    assert store.acquire_many(mine) == [False, *[True] * (NUMBER - 1)]
    assert not threading.Event().wait(0.6)
    assert store.acquire_many(others) == [True, *[False] * (NUMBER - 1)]
    assert store.release_many(mine) == [False] * NUMBER
    assert store.send([("EXISTS", each.name) for each in mine]) == [1, *[0] * (NUMBER - 1)]
    store.release_many(others)


def test_one_that_redis_refuses_is_its_own_error(store: Redis, server: Server) -> None:
    mine = leases(store)[:3]
    server.command("ACL", "SETUSER", "default", "resetkeys", f"~{mine[0].name}*", f"~{mine[2].name}*")
    try:
        told = store.acquire_many(mine)
        assert [told[0], told[2]] == [True, True]
        assert "permission" in str(told[1])
        assert store.release_many(mine) == [False] * 3
    finally:
        server.command("ACL", "SETUSER", "default", "allkeys")


def test_none_is_renewed_of_a_server_that_does_not_answer(server: Server) -> None:
    store = open_backend(f"redis://127.0.0.1:{server.port}?timeout=200ms&breaker=60s")
    assert isinstance(store, Redis)
    mine = leases(store)
    server.command("CLIENT", "PAUSE", "600", "ALL")
    with pytest.raises(BackendError):
        store.acquire_many(mine)
    assert not leasing._heart_of(store)._held
    assert store.release_many(mine) == [False] * NUMBER
    store.close()
    server.command("PING")


def test_a_batch_of_missing_items_takes_a_few_round_trips(server: Server, sent: list[Sequence[Any]]) -> None:
    @ml_cache(batch="numbers", backend=f"redis://127.0.0.1:{server.port}")
    def negative(numbers: list[int]) -> list[int]:
        return [-number for number in numbers]

    assert negative(list(range(200))) == [-number for number in range(200)]
    assert [len(commands) for commands in sent] == [200, 400]
    assert negative.invalidate(list(range(200))) is True
    assert [len(commands) for commands in sent[2:]] == [200, 0]
    assert negative(list(range(3))) == [0, -1, -2]
    negative._actions.cache.store.close()


def test_others_are_told_of_all_that_was_deleted_at_once(store: Redis, server: Server) -> None:
    class Hears:
        """What it was told."""

        def __init__(self) -> None:
            self.news: list[Any] = []
            self.told = threading.Event()

        def hear(self, news: Any) -> None:
            self.news.append(news)
            self.told.set()

        def renew(self) -> None:
            """Nothing is kept."""

    other: Any = open_backend(f"redis://localhost:{server.port}/0")
    hears = Hears()
    other.subscribe(key(0).namespace, hears)
    keys = [key(number) for number in range(NUMBER)]
    store.put_many([(each, payload(1), float("inf")) for each in keys])
    assert hears.told.wait(20)
    hears.told.clear()
    assert store.delete_many([*keys, key(0), key(99)]) == [*[True] * NUMBER, False, False]
    assert hears.told.wait(20)
    assert hears.news[-1].dropped
    assert set(hears.news[-1].digests) == {each.digest for each in [*keys, key(99)]}
    other.close()
