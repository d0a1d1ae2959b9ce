"""The lock of a key in Redis: one holder of all processes, for as long as it shows that it lives."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from mlcache import Expiry, ml_cache, open_backend
from mlcache.backends.redis import lease as leasing
from mlcache.backends.redis.bell import Bell
from mlcache.backends.redis.lease import LEASE
from mlcache.backends.redis.store import Redis
from mlcache.entry import Key
from mlcache.testing import FakeClock
from tests.redis.servers import Server

KEY = Key("app.f@1", b"1" * 16)
TIMEOUT = 10.0


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


async def test_it_is_renewed_although_the_reply_is_not_read(
    store: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop is busy just then, for longer than a lease lasts."""
    monkeypatch.setattr(leasing, "BEAT", 0.05)
    monkeypatch.setattr(leasing, "_MILLISECONDS", 800)
    await store.get_async(KEY)  # connects
    mine = store.lock(KEY)
    asked = asyncio.ensure_future(mine.acquire_async())
    while store.send([("EXISTS", mine.name)]) == [0]:
        await asyncio.sleep(0)
    assert not threading.Event().wait(1.2)
    assert not store.lock(KEY).acquire()
    assert await asked
    await mine.release_async()


def test_one_that_was_taken_by_a_command_whose_reply_was_lost_is_ours(store: Redis) -> None:
    mine = store.lock(KEY)
    store.send([("SET", mine.name, mine.token, "PX", 60_000)])
    assert not mine.acquire()  # as the same command, sent once more, is answered
    assert mine.acquire()
    mine.release()
    assert store.send([("EXISTS", mine.name)]) == [0]


def test_many_are_renewed_by_one_command(store: Redis) -> None:
    mine = [store.lock(Key("app.f@1", bytes([number] * 16))) for number in range(20)]
    assert all(lease.acquire() for lease in mine)
    store.send([("PEXPIRE", lease.name, 60_000) for lease in mine[:10]])
    mine[3].release()
    assert store.send(leasing.renewals(mine)) == [19]
    assert sum(store.send(leasing.renewals(mine, 7))) == 19
    assert len(leasing.renewals(mine, 7)) == 3
    left = store.send([("PTTL", lease.name) for lease in mine])
    assert all(0 < each <= LEASE * 1000 for each in left[:3] + left[4:])
    for lease in mine:
        lease.release()


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


@pytest.mark.parametrize("holders", [0, 1])
async def test_who_lets_go_hears_that_it_was_taken_away(store: Redis, holders: int) -> None:
    for _ in range(2):
        mine, other = store.lock(KEY), store.lock(KEY)
        if holders:
            assert mine.acquire()
        store.supersede(KEY)
        assert await other.acquire_async()
        assert mine.release() is bool(holders)
        assert await other.release_async() is False
        assert other.release() is False
    assert store.send([("DBSIZE",)]) == [0], "nothing is left"


@pytest.mark.parametrize("suspends", [False, True])
async def test_who_renews_in_the_background_does_not_wait_for_it(store: Redis, *, suspends: bool) -> None:
    runs: list[int] = []

    def compute(x: int) -> int:
        runs.append(x)
        return len(runs)

    async def compute_suspending(x: int) -> int:
        return compute(x)

    options: Any = {"ttl": Expiry(60, stale=60), "backend": store, "name": "lease.renewed", "version": None}
    cached: Any = ml_cache(**options)(compute_suspending if suspends else compute)
    cached = cached if suspends else cached.aio

    async def asked() -> Any:
        result = await cached(1)
        while len(cached._actions.cache.flights):
            await asyncio.sleep(0.001)
        return result

    with FakeClock(time.time()) as now:
        assert await asked() == 1
        now.advance(61)
        elsewhere = store.lock(await cached.cache_key(1))
        assert elsewhere.acquire()
        assert [await asked(), await asked()] == [1, 1]
        assert len(runs) == 1
        elsewhere.release()
        assert [await asked(), await asked()] == [1, 2]


@pytest.mark.parametrize("suspends", [False, True])
async def test_who_clears_takes_those_of_a_namespace_away(store: Redis, *, suspends: bool) -> None:
    others = [Key("app.f@2", KEY.digest), Key("app.f@1:x", KEY.digest), Key("app.?@1", KEY.digest)]
    leases = [store.lock(key) for key in (KEY, *others)]
    assert all(lease.acquire() for lease in leases)
    store.put(KEY, b"data", math.inf)
    assert (await store.clear_async(KEY.namespace) if suspends else store.clear(KEY.namespace)) == 1
    assert [lease.release() for lease in leases] == [True, False, False, False]
    assert store.send([("DBSIZE",)]) == [0], "nothing is left"


def hearts() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "mlcache-heart"}


def test_tries_that_are_refused_share_a_thread(store: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leasing, "BEAT", 60.0)
    mine = store.lock(KEY)
    store.send([("SET", mine.name, "0" * 32, "PX", 60_000)])
    assert not mine.acquire()
    (heart,) = hearts()
    for _ in range(5):
        other = store.lock(KEY)
        assert not other.acquire()
        other.release()
        assert hearts() == {heart}
    store.send([("DEL", mine.name)])
    assert mine.acquire()
    mine.release()
    heart.join(10)
    assert not heart.is_alive(), "nothing is left to renew"


def test_the_thread_ends_a_while_after_a_try_was_refused(
    store: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leasing, "BEAT", 0.05)
    other = store.lock(KEY)
    store.send([("SET", other.name, "0" * 32, "PX", 60_000)])
    assert not other.acquire()
    for heart in hearts():
        heart.join(10)
    assert not hearts()


def test_leases_are_renewed_after_a_thread_could_not_be_started(
    store: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    heart, lease = leasing.Heart(), store.lock(KEY)
    with monkeypatch.context() as patch:
        patch.setattr(threading, "Thread", Unstartable)
        with pytest.raises(RuntimeError, match="no more threads"):
            heart.add(lease)
    assert not heart.remove(lease)
    heart.add(lease)
    assert len(hearts()) == 1
    assert heart.remove(lease)


class FakeWire:
    """To a server that is sent renewals, and may not answer."""

    spread = False

    def __init__(self, target: str) -> None:
        self.target = target
        self.sent, self.answers = threading.Semaphore(0), threading.Event()

    def send(self, commands: Sequence[object]) -> list[Any]:
        """Wait until there is an answer."""
        self.sent.release()
        assert self.answers.wait(TIMEOUT)
        return [1] * len(commands)

    async def send_async(self, commands: Sequence[object]) -> list[Any]:
        """As above."""
        return self.send(commands)

    def bell(self) -> Bell:
        """There is none."""
        raise NotImplementedError


def test_a_server_that_does_not_answer_holds_up_no_lease_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leasing, "BEAT", 0.01)
    wires = [FakeWire("silent"), FakeWire("well")]
    silent, well = wires
    well.answers.set()
    leases = [leasing.Lease("key", wire, "channel") for wire in wires]
    for lease in leases:
        leasing._heart_of(lease.wire).add(lease)
    assert silent.sent.acquire(timeout=TIMEOUT)
    for _ in range(3):
        assert well.sent.acquire(timeout=TIMEOUT), "its leases are renewed"
    silent.answers.set()
    threads = hearts()
    for lease in leases:
        assert leasing._heart_of(lease.wire).remove(lease)
    for thread in threads:
        thread.join(TIMEOUT)


class Unstartable(threading.Thread):
    """A thread more than there can be."""

    def start(self) -> None:
        raise RuntimeError("no more threads")
