"""Whatever befalls Redis, a caller gets the right answer, soon, and no exception."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import os
import pickle
import socket
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from mlcache import ml_cache
from mlcache.backends.breaker import Breaker
from mlcache.backends.redis.store import Redis
from mlcache.codec import FrameCodec, Signer
from mlcache.entry import Entry
from mlcache.errors import BackendError, CannotEncodeError, MlcacheWarning
from tests.faults.children import run
from tests.redis.servers import PATIENCE, Server, Watched, cluster, wait_until

QUICK = "timeout=200ms&connect_timeout=200ms&breaker=50ms"


@pytest.fixture
def own() -> Iterator[Server]:
    """A server of the test's own, which may do anything to it."""
    with Server() as server:
        yield server


def far(function: Any) -> Redis:
    """The Redis of a cached function."""
    encoded: Any = function._actions.cache.store.backends[-1]
    assert isinstance(encoded.inner, Redis)
    return encoded.inner


def counting(backend: str) -> tuple[Any, list[int]]:
    """A cached function, and the arguments with which it was really called."""
    calls: list[int] = []

    @ml_cache(backend=backend, ignore=("calls",))
    def square(number: int) -> int:
        calls.append(number)
        return number * number

    return square, calls


def test_one_that_was_never_there_costs_one_warning_and_no_time(own: Server) -> None:
    own.kill()
    square, calls = counting(f"{own.url}?{QUICK}")
    with pytest.warns(MlcacheWarning, match="redis failed at get; calls go on without: redis at .* does not"):
        assert square(3) == 9
    started = time.perf_counter()
    assert [square(number) for number in range(200)] == [number * number for number in range(200)]
    assert time.perf_counter() - started < 5
    assert len(calls) == 201
    assert square.cache_info().errors > 200
    far(square).close()


@pytest.mark.parametrize("nearer", ["", "lru?max_bytes=1MiB, "])
def test_one_that_is_killed_and_comes_back_is_used_again(nearer: str, own: Server) -> None:
    square, calls = counting(f"{nearer}{own.url}?{QUICK}")
    assert square(3) == 9
    own.kill()
    with pytest.warns(MlcacheWarning, match="calls go on without"):
        assert square(4) == 16
    own.start()
    numbers = itertools.count(5)
    wait_until(lambda: square(next(numbers)) and own.command("KEYS", "*"), "that it is used again")
    last = next(numbers) - 1
    before = len(calls)
    assert square(last) == last * last
    assert len(calls) == before
    far(square).close()


def _stand_still(server: Server) -> Callable[[], None]:
    server.stop()
    return server.go_on


def _pause(server: Server) -> Callable[[], None]:
    server.command("CLIENT", "PAUSE", 60_000, "ALL")
    return server.kill  # who is paused cannot be told to go on


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """Whatever a breaker was told of a server that did not answer: each time, somebody waited for it."""
    told: list[BaseException] = []
    trip = Breaker.trip

    def noted(self: Breaker, error: BaseException) -> BackendError:
        told.append(error)
        return trip(self, error)

    monkeypatch.setattr(Breaker, "trip", noted)
    return told


@pytest.mark.parametrize("halt", [_stand_still, _pause])
def test_one_that_stands_still_costs_one_timeout(
    halt: Callable[[Server], Callable[[], None]], own: Server, trips: list[BaseException]
) -> None:
    square, calls = counting(f"{own.url}?timeout=300ms&connect_timeout=300ms&breaker=10m")
    assert square(3) == 9
    go_on = halt(own)
    started = time.perf_counter()
    with pytest.warns(MlcacheWarning, match="does not answer"):
        assert square(3) == 9
    assert 0.25 < time.perf_counter() - started < 3
    for number in range(100):
        assert square(number) == number * number
    assert len(trips) == 1
    assert len(calls) == 102
    go_on()
    far(square).close()


async def test_one_that_stands_still_costs_one_timeout_on_an_event_loop(
    own: Server, trips: list[BaseException]
) -> None:
    @ml_cache(backend=f"{own.url}?timeout=300ms&connect_timeout=300ms&breaker=10m")
    async def square(number: int) -> int:
        return number * number

    assert await square(3) == 9
    own.stop()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticker = asyncio.ensure_future(tick())
    with pytest.warns(MlcacheWarning, match="does not answer"):
        assert await asyncio.gather(*(square(number) for number in range(50))) == [n * n for n in range(50)]
    assert ticks >= 5  # the loop went on meanwhile
    assert await asyncio.gather(*(square(number) for number in range(50))) == [n * n for n in range(50)]
    assert len(trips) == 1
    ticker.cancel()
    own.go_on()
    far(square).close()


async def test_a_loop_that_was_busy_for_longer_than_a_timeout_blames_no_server(server: Server) -> None:
    @ml_cache(backend=f"{server.url}?timeout=100ms&connect_timeout=100ms")
    async def square(number: int) -> int:
        return number * number

    assert await square(3) == 9
    others = [asyncio.ensure_future(square(number)) for number in range(10)]
    for _ in range(3):  # they send
        await asyncio.sleep(0)
    assert not threading.Event().wait(0.3)
    assert await asyncio.gather(*others) == [number * number for number in range(10)]
    assert (await square.cache_info()).errors == 0
    far(square).close()


async def test_a_loop_that_is_busy_all_the_time_blames_no_server(server: Server) -> None:
    @ml_cache(backend=f"{server.url}?timeout=20s&connect_timeout=50ms")
    async def square(number: int) -> int:
        return number * number

    found = asyncio.ensure_future(square.peek(3))
    while not found.done():  # which takes connecting longer than it may
        assert not threading.Event().wait(0.06)
        await asyncio.sleep(0)
    assert await found is None
    assert (await square.cache_info()).errors == 0
    assert await square(3) == 9
    far(square).close()


def test_one_that_is_restarted_under_load_harms_no_answer(own: Server) -> None:
    square, _ = counting(f"lru?max_items=4, {own.url}?{QUICK}")
    stop = threading.Event()
    wrong: list[tuple[int, int]] = []

    def load(worker: int) -> int:
        number = worker
        while not stop.is_set():
            number = (number * 7 + 1) % 101
            answer = square(number)
            if answer != number * number:
                wrong.append((number, answer))
        return number

    with warnings.catch_warnings(), ThreadPoolExecutor(6) as pool:
        warnings.simplefilter("ignore", MlcacheWarning)
        done = [pool.submit(load, worker) for worker in range(6)]
        try:
            for _ in range(3):
                stop.wait(0.2)
                own.kill()
                stop.wait(0.2)
                own.start()
            wait_until(lambda: len(own.command("KEYS", "*")) > 20, "that it is used again")
        finally:
            stop.set()
        for each in done:
            each.result(PATIENCE)
    assert not wrong
    far(square).close()


@pytest.fixture
def failing() -> Iterator[Watched]:
    """A Redis with a replica that is about to take its place."""
    with contextlib.ExitStack() as stack:
        yield Watched(stack)


def test_a_failover_harms_no_answer(failing: Watched) -> None:
    square, calls = counting(f"{failing.url}&{QUICK}")
    assert square(3) == 9
    wait_until(lambda: failing.replica.command("KEYS", "*"), "the replica's copy")
    failing.primary.kill()

    def is_used_again() -> bool:
        assert square(4) == 16
        return failing.address() == failing.replica.port and square.peek(4) is not None

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MlcacheWarning)
        wait_until(is_used_again, "the failover", 60)
    before = len(calls)
    assert (square(4), square(3)) == (16, 9)
    assert len(calls) == before
    far(square).close()


def test_a_node_of_a_cluster_that_dies_harms_no_answer() -> None:
    with cluster() as nodes:
        square, _ = counting(f"redis+cluster://127.0.0.1:{nodes[0].port}?{QUICK}")
        assert [square(number) for number in range(30)] == [number * number for number in range(30)]
        nodes[2].kill()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MlcacheWarning)
            started = time.perf_counter()
            assert [square(number) for number in range(60)] == [number * number for number in range(60)]
            assert time.perf_counter() - started < 10
        far(square).close()


class Silent:
    """A server that takes connections and never says a word."""

    def __init__(self) -> None:
        self.connections: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis+cluster://127.0.0.1:{self._listening.getsockname()[1]}?timeout=300ms&breaker=10m"
        self._thread = threading.Thread(target=self._accept)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.connections.append(self._listening.accept()[0])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()
        for each in self.connections:
            each.close()


def test_a_cluster_that_does_not_answer_is_asked_once_however_many_threads_come_first() -> None:
    with Silent() as silent:
        square, _ = counting(silent.url)
        with ThreadPoolExecutor(8) as pool, pytest.warns(MlcacheWarning, match="does not answer"):
            assert list(pool.map(square, range(8))) == [number * number for number in range(8)]
        assert len(silent.connections) == 1
        far(square).close()


async def test_a_cluster_that_does_not_answer_is_asked_once_however_many_tasks_come_first() -> None:
    with Silent() as silent:

        @ml_cache(backend=silent.url)
        async def square(number: int) -> int:
            return number * number

        with pytest.warns(MlcacheWarning, match="does not answer"):
            assert await asyncio.gather(*map(square, range(8))) == [number * number for number in range(8)]
        assert len(silent.connections) == 1
        far(square).close()


class Bomb:
    """Says when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return Path.touch, (self.file,)


def _frames_of(bomb: Bomb) -> dict[str, bytes]:
    """What somebody could plant who can write to Redis and has not the secret."""
    signer = Signer(b"not the secret of anybody")
    whole = FrameCodec(signer=signer).encode(Entry(bomb, 1.0, math.inf, math.inf, 1.0, 10))
    return {
        "a frame signed with another secret": whole,
        "a raw pickle": pickle.dumps(bomb),
        "a pickle of protocol 0": pickle.dumps(bomb, protocol=0),
        "a frame with a pickle in the place of its body": whole[:64] + pickle.dumps(bomb),
    }


@pytest.mark.parametrize("secret", [None, "the secret of those who share it"])
@pytest.mark.parametrize("kind", _frames_of(Bomb(Path())))
def test_a_hostile_pickle_never_runs(
    kind: str, secret: str | None, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if secret is not None:
        monkeypatch.setenv("MLCACHE_SECRET", secret)
    bomb = Bomb(tmp_path / "it ran")
    square, calls = counting(server.url)
    name = f"mlcache:{square.cache_key(3).namespace}:{square.cache_key(3).digest.hex()}"
    server.command("SET", name, _frames_of(bomb)[kind])
    with pytest.warns(MlcacheWarning, match="redis failed at get"):
        assert square(3) == 9
    assert not bomb.file.exists()
    assert square(3) == 9  # and what was planted has been replaced
    assert calls == [3]
    pickle.loads(pickle.dumps(bomb))
    assert bomb.file.exists()  # it would have run
    far(square).close()


class Opaque:
    """Of a type that only pickle can write."""

    def __init__(self, number: int) -> None:
        self.number = number


def test_what_needs_a_pickle_is_not_kept_without_a_secret(server: Server) -> None:
    @ml_cache(backend=server.url)
    def make(number: int) -> Opaque:
        return Opaque(number)

    with pytest.warns(MlcacheWarning, match="set MLCACHE_SECRET") as caught:
        assert [make(number).number for number in (0, 1, 2, 0)] == [0, 1, 2, 0]
    assert len(caught) == 1
    assert server.command("KEYS", "*") == []
    far(make).close()


def test_what_needs_a_pickle_is_an_error_without_a_secret_where_that_is_asked_for(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLCACHE_STRICT", "1")

    @ml_cache(backend=server.url)
    def make(number: int) -> Opaque:
        return Opaque(number)

    with pytest.raises(CannotEncodeError, match="set MLCACHE_SECRET"):
        make(1)
    far(make).close()


def test_what_needs_a_pickle_is_kept_with_a_secret(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLCACHE_SECRET", "the secret of those who share it")

    @ml_cache(backend=server.url)
    def make(number: int) -> Opaque:
        return Opaque(number)

    assert [make(7).number, make(7).number] == [7, 7]
    assert make.cache_info().hits == 1
    far(make).close()


def test_a_dead_one_is_an_error_where_that_is_asked_for(own: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLCACHE_STRICT", "1")
    own.kill()
    square, _ = counting(f"{own.url}?{QUICK}")
    with pytest.raises(BackendError, match="does not answer"):
        square(1)
    with pytest.raises(BackendError, match="is left alone until it answers again"):
        square(1)
    far(square).close()


def test_a_full_one_is_a_failed_put_and_no_dead_server(own: Server) -> None:
    own.command("CONFIG", "SET", "maxmemory", "1mb")

    @ml_cache(backend=f"{own.url}?{QUICK}")
    def large(number: int) -> np.ndarray[Any, Any]:
        return np.full(300_000, number)

    with pytest.warns(MlcacheWarning, match="command not allowed when used memory"):
        assert large(7).sum() == 2_100_000
    assert not far(large)._reach().breaker.is_open
    far(large).close()


def test_a_wrong_password_is_a_warning_that_does_not_show_it(own: Server) -> None:
    own.command("CONFIG", "SET", "requirepass", "right-horse")
    wrong, right = (own.url.replace("//", f"//:{word}@") for word in ("battery-staple", "right-horse"))
    square, _ = counting(f"{wrong}?{QUICK}")
    with pytest.warns(MlcacheWarning) as caught:
        assert square(3) == 9
    assert "battery-staple" not in str(caught[0].message)
    far(square).close()
    square, calls = counting(f"{right}?{QUICK}")
    assert (square(3), square(3), calls) == (9, 9, [3])
    far(square).close()


def test_who_may_not_publish_is_told_what_to_grant(own: Server) -> None:
    own.command("ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all", "resetchannels")
    square, _ = counting(own.url.replace("//", "//app:pw@"))
    with pytest.warns(MlcacheWarning, match="grant the user its channels"):
        assert square(3) == 9
    far(square).close()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(server: Server) -> None:
    square, _ = counting(f"lru?max_bytes=1MiB, {server.url}")
    assert [square(number) for number in range(5)] == [0, 1, 4, 9, 16]
    ready, child_says = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            backend = far(square)
            assert all(square(number) == number * number for number in range(20))
            wait_until(lambda: backend._reach().listener.is_listening, "the listener")
            square(7)
            os.write(child_says, b"ready")
            key = square.cache_key(7)
            memory = square._actions.cache.store.backends[0]
            wait_until(lambda: memory.find(key.digest) is None, "the news")
            status = 0
        except BaseException:  # noqa: BLE001 - a child must not go on with the tests
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(child_says)
    assert os.read(ready, 5) == b"ready"
    os.close(ready)
    # Both talk at once: on a shared connection, answers would go astray.
    assert all(square(number) == number * number for number in range(20))
    square.invalidate(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert square(7) == 49
    far(square).close()


SHARER = """
import sys
import numpy as np
import mlcache.backends.redis.clients  # once for all
from mlcache import ml_cache
from tests.faults.forks import all_at_once

@ml_cache(backend=sys.argv[1], name="faults.shared", version=None)
def shared(number: int) -> np.ndarray:
    return np.full(20_000, number, np.int64)

def work(me):
    torn = 0
    for turn in range(200):
        number = (me * 5 + turn * 3) % 7
        if turn % 3 == 0:
            shared.put(np.full(20_000, number * 1000 + me, np.int64), number)
        elif turn % 10 == 0:
            shared.invalidate(number)
        found = shared(number)
        whole = found.shape == (20_000,) and (found == found[0]).all()
        torn += not (whole and (found[0] == number or found[0] // 1000 == number))
    return torn

all_at_once(8, work)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_eight_processes_behind_memory_find_no_torn_value(server: Server) -> None:
    url = f"lru?max_items=3, {server.url}?timeout=20s&connect_timeout=20s"
    assert run(SHARER, url) == "0\n" * 8


def test_a_value_that_was_cut_short_is_a_miss(server: Server) -> None:
    square, calls = counting(server.url)
    assert square(3) == 9
    with contextlib.closing(Redis(far(square).target)) as plain:
        key = square.cache_key(3)
        whole = plain.get(key)
        assert whole is not None
        plain.put(key, whole[:-1], math.inf)
    with pytest.warns(MlcacheWarning, match="redis failed at get"):
        assert square(3) == 9
    assert calls == [3, 3]
    far(square).close()
