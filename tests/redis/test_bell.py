"""Who waits for a lease is woken when it is let go of, and polls slowly where it cannot be told."""

from __future__ import annotations

import asyncio
import math
import os
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from mlcache import open_backend
from mlcache.backends.redis import bell as ringing
from mlcache.backends.redis import lease as leasing
from mlcache.backends.redis import subscription
from mlcache.backends.redis.lease import Lease
from mlcache.backends.redis.store import Redis
from mlcache.entry import Key
from mlcache.errors import BackendError
from tests.redis.servers import Server, Watched, wait_until

KEY = Key("app.f@1", b"1" * 16)
OTHER = Key("app.f@1", b"2" * 16)


@pytest.fixture(autouse=True)
def no_net(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits does so until the bell rings: no test is so slow that a lease ends before."""
    monkeypatch.setattr(leasing, "NET", math.inf)
    monkeypatch.setattr(leasing, "_MILLISECONDS", 1000 * 300)


@pytest.fixture
def open_store() -> Iterator[Callable[[str], Redis]]:
    made: list[Redis] = []

    def make(url: str) -> Redis:
        backend = open_backend(url)
        assert isinstance(backend, Redis)
        made.append(backend)
        return backend

    yield make
    for backend in made:
        backend.close()


@pytest.fixture
def store(server: Server, open_store: Callable[[str], Redis]) -> Redis:
    return open_store(f"{server.url}?timeout=5s")


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


class Unstartable(threading.Thread):
    """A thread more than there can be."""

    def start(self) -> None:
        raise RuntimeError("no more threads")


def refused(store: Redis, key: Key = KEY) -> Lease:
    """A lease that somebody else held long ago, and whose end can be heard by now."""
    lease = store.lock(key)
    assert not lease.acquire()
    lease._refused_at = -math.inf
    with store.bell().waiting("nothing", lambda: None):
        wait_until(lambda: store.bell().is_listening, "the bell")
    return lease


def awaits(store: Redis, number: int = 1) -> bool:
    """Whether so many wait for the bell, and the server knows."""
    rings = sum(map(len, store.bell()._waiting.values()))
    marked = store.send([("STRLEN", f"{store._commands.name(KEY)}:lease")])
    return rings == number and marked == [33]


def is_back(store: Redis) -> bool:
    """Whether the server is asked again; asking makes the breaker look."""
    try:
        store.send([("PING",)])
    except BackendError:
        return False
    return True


def counted(store: Redis, command: str) -> int:
    """How often the server has carried out a command, scripts included."""
    found = store._reach().do(lambda link: link.client.info("commandstats"))
    return int(found.get(f"cmdstat_{command}", {}).get("calls", 0))


def rings(mine: Redis, theirs: Redis, pool: ThreadPoolExecutor) -> bool:
    """Whether who waits has the lease once it is let go of."""
    held = mine.lock(KEY)
    assert held.acquire()
    other = refused(theirs)
    waiting = pool.submit(other.acquire)
    wait_until(lambda: awaits(theirs), "the waiting")
    assert not waiting.done()
    held.release()
    taken = waiting.result(10)
    other.release()
    return taken


def test_who_waits_has_it_as_soon_as_it_is_free(store: Redis, pool: ThreadPoolExecutor) -> None:
    assert rings(store, store, pool)


def test_it_rings_by_tls(
    encrypted: str, open_store: Callable[[str], Redis], pool: ThreadPoolExecutor
) -> None:
    assert rings(open_store(encrypted), open_store(f"{encrypted}&connect_timeout=5s"), pool)


def test_it_rings_by_sentinel(
    watched: Watched, open_store: Callable[[str], Redis], pool: ThreadPoolExecutor
) -> None:
    watched.primary.command("FLUSHALL")
    assert rings(open_store(watched.url), open_store(f"{watched.url}&timeout=5s"), pool)


def test_it_rings_in_a_cluster_between_nodes(
    nodes: list[Server], open_store: Callable[[str], Redis], pool: ThreadPoolExecutor
) -> None:
    for node in nodes:
        node.command("FLUSHALL")
    mine, theirs = (open_store(f"redis+cluster://127.0.0.1:{node.port}") for node in nodes[:2])
    assert rings(mine, theirs, pool)


async def test_a_task_that_waits_has_it_as_soon_as_it_is_free(store: Redis) -> None:
    held = store.lock(KEY)
    assert await held.acquire_async()
    other = store.lock(KEY)
    assert not await other.acquire_async()
    await asyncio.to_thread(refused, store)
    other._refused_at = -math.inf
    waiting = asyncio.ensure_future(other.acquire_async())
    await asyncio.to_thread(wait_until, lambda: awaits(store), "the waiting")
    assert not waiting.done()
    await held.release_async()
    assert await waiting
    await other.release_async()


async def test_a_task_that_is_cancelled_waits_no_more(store: Redis) -> None:
    held = store.lock(KEY)
    assert held.acquire()
    other = await asyncio.to_thread(refused, store)
    waiting = asyncio.ensure_future(other.acquire_async())
    await asyncio.to_thread(wait_until, lambda: awaits(store), "the waiting")
    waiting.cancel()
    assert isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], asyncio.CancelledError)
    assert not store.bell()._waiting
    held.release()


def test_waiting_costs_nothing_until_it_rings(store: Redis, pool: ThreadPoolExecutor) -> None:
    held = store.lock(KEY)
    assert held.acquire()
    others = [refused(store) for _ in range(4)]
    marks = counted(store, "setrange")
    waiting = [pool.submit(other.acquire) for other in others]
    wait_until(lambda: counted(store, "setrange") == marks + 4, "the waiting")
    before = counted(store, "set")
    assert not threading.Event().wait(0.3)  # in which there would be a dozen polls each
    assert (counted(store, "set"), counted(store, "setrange")) == (before, marks + 4)
    held.release()
    results = [each.result(10) for each in waiting]
    assert sorted(results) == [False, False, False, True], "all wake, and one has it"
    assert counted(store, "set") == before + 4
    others[results.index(True)].release()


def test_all_that_wait_share_one_connection(store: Redis, server: Server, pool: ThreadPoolExecutor) -> None:
    held = [store.lock(key) for key in (KEY, OTHER)]
    assert [each.acquire() for each in held] == [True, True]
    others = [refused(store, key) for key in (KEY, OTHER, KEY, OTHER)]
    waiting = [pool.submit(other.acquire) for other in others]
    wait_until(lambda: awaits(store, 4), "the waiting")
    with server.client() as client:
        assert len(client.client_list(_type="pubsub")) == 1
    for each in held:
        each.release()
    assert sum(each.result(10) for each in waiting) == 2
    for each in others:
        each.release()


def test_it_does_not_ring_for_nobody(store: Redis) -> None:
    before = counted(store, "publish")
    lease = store.lock(KEY)
    assert lease.acquire()
    assert not store.lock(KEY).acquire()  # who comes but once does not wait
    lease.release()
    assert counted(store, "publish") == before
    assert not any(thread.name == "mlcache-bell" for thread in threading.enumerate())


def test_a_lost_connection_wakes_all_and_they_poll(
    store: Redis, server: Server, pool: ThreadPoolExecutor
) -> None:
    held = store.lock(KEY)
    assert held.acquire()
    other = refused(store)
    waiting = pool.submit(other.acquire)
    wait_until(lambda: awaits(store), "the waiting")
    server.command("CLIENT", "KILL", "TYPE", "pubsub")
    assert waiting.result(10) is False
    held.release()
    assert other.acquire()
    other.release()


def test_it_rings_again_after_the_server_was_restarted(
    open_store: Callable[[str], Redis], pool: ThreadPoolExecutor
) -> None:
    with Server() as own:
        store = open_store(f"{own.url}?breaker=50ms")
        held = store.lock(KEY)
        assert held.acquire()
        waiting = pool.submit(refused(store).acquire)
        wait_until(lambda: awaits(store), "the waiting")
        own.kill()
        with pytest.raises(BackendError, match="does not answer"):
            waiting.result(10)
        with pytest.raises(BackendError):  # and no thread tries to listen meanwhile
            store.bell()
        own.start()
        wait_until(lambda: is_back(store), "the server")
        held.release()
        assert rings(store, store, pool)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_has_a_bell_of_its_own(store: Redis, pool: ThreadPoolExecutor) -> None:
    held = store.lock(KEY)
    assert held.acquire()
    refused(store)
    marks = counted(store, "setrange")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            mine = refused(store)
            status = 0 if mine.acquire() else 2
            mine.release()
        except BaseException:  # noqa: BLE001 - a child must not go on with the tests
            traceback.print_exc()
        finally:
            os._exit(status)
    wait_until(lambda: counted(store, "setrange") > marks, "the waiting of the child")
    held.release()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert rings(store, store, pool)


def test_a_lease_that_is_not_renewed_is_waited_for_no_longer(store: Redis) -> None:
    """Its holder died: nobody rings."""
    name = f"{store._commands.name(KEY)}:lease"
    store.send([("SET", name, "0" * 32, "PX", 400)])
    other = refused(store)
    assert other.acquire() is False
    wait_until(other.acquire, "the end of the lease", 1)
    other.release()


def test_the_mark_of_who_waits_does_not_end_the_holding(store: Redis, pool: ThreadPoolExecutor) -> None:
    held = store.lock(KEY)
    assert held.acquire()
    other = refused(store)
    waiting = pool.submit(other.acquire)
    wait_until(lambda: awaits(store), "the waiting")
    stranger: Any = store.lock(KEY)
    assert store.send(leasing.renewals([stranger, held, stranger])) == [1]
    assert store.send(stranger.leaving()) == [0, 0]
    held.release()
    assert waiting.result(10)
    other.release()


def test_a_user_without_the_channel_polls(server: Server, open_store: Callable[[str], Redis]) -> None:
    rights = ("on", ">secret", "+@all", "~*", "resetchannels", "&mlcache:news:*")
    try:
        server.command("ACL", "SETUSER", "deaf", *rights)
        mine = open_store(f"redis://deaf:secret@127.0.0.1:{server.port}/0")
        held, other = mine.lock(KEY), mine.lock(KEY)
        assert held.acquire()
        assert not other.acquire()
        assert not other.acquire()
        held.release()
        assert other.acquire()
        other.release()
        assert mine.send([("EXISTS", f"{mine._commands.name(KEY)}:lease")]) == [0]
    finally:
        server.command("ACL", "DELUSER", "deaf")


def test_the_thread_ends_once_nobody_waits(store: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (ringing, subscription):
        monkeypatch.setattr(module, "QUIET", 0.05)
    bell = store.bell()
    for _ in range(2):  # and begins anew
        held = store.lock(KEY)
        assert held.acquire()
        refused(store)
        held.release()
        wait_until(lambda: bell._thread is None, "the end of the thread")


def test_the_thread_ends_although_others_leases_ring(
    store: Redis, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ringing, "QUIET", 0.05)
    bell = store.bell()
    with bell.waiting("nothing", lambda: None):
        wait_until(lambda: bell.is_listening, "the bell")

    def has_ended() -> bool:
        server.command("PUBLISH", bell.channel, "somebody's")
        return bell._thread is None

    wait_until(has_ended, "the end of the thread")


def test_a_finalizer_that_runs_under_the_lock_may_wait(store: Redis) -> None:
    """As one that calls a cached function, wherever the garbage collector runs it."""
    bell = store.bell()

    def wait_under_the_lock() -> None:
        with bell._lock, bell.waiting("nothing", lambda: None):
            pass

    thread = threading.Thread(target=wait_under_the_lock, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()


def test_a_thread_that_cannot_be_started_is_started_the_next_time(
    store: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    bell = store.bell()
    with monkeypatch.context() as patch:
        patch.setattr(threading, "Thread", Unstartable)
        with pytest.raises(RuntimeError, match="no more threads"), bell.waiting("nothing", lambda: None):
            pass
    assert not bell._waiting
    with bell.waiting("nothing", lambda: None):
        wait_until(lambda: bell.is_listening, "the bell")


def test_many_that_come_and_go_are_all_woken(store: Redis) -> None:
    """Each takes the lease in turn, and nobody is forgotten."""
    turns: list[int] = []

    def work(worker: int) -> None:
        lease = store.lock(KEY)
        while not lease.acquire():
            pass
        turns.append(worker)
        lease.release()

    with ThreadPoolExecutor(12) as many:
        done: list[Future[None]] = [many.submit(work, worker) for worker in range(24)]
        for each in done:
            each.result(20)
    assert sorted(turns) == list(range(24))
    assert not store.bell()._waiting
