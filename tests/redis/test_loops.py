"""Redis on event loops: a client for each, closed with it, and nothing mixed up by a cancellation."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlcache import open_backend
from mlcache.backends.encoded import Encoded
from mlcache.backends.redis.store import Redis
from mlcache.codec import FrameCodec
from mlcache.entry import Entry
from mlcache.errors import CannotEncodeError, CorruptEntryError
from mlcache.testing.backends import key, payload
from tests.redis.servers import Server, wait_until


@pytest.fixture
def backend(server: Server) -> Iterator[Redis]:
    made = open_backend(f"{server.url}?max_connections=4&timeout=5s")
    assert isinstance(made, Redis)
    yield made
    made.close()


def others(server: Server) -> int:
    """How many are connected to it, beside whoever asks."""
    with server.client() as client:
        return int(client.info("clients")["connected_clients"]) - 1


async def test_every_operation_can_be_awaited(backend: Redis) -> None:
    assert await backend.get_async(key(1)) is None
    await backend.put_async(key(1), payload(1), math.inf)
    assert await backend.get_async(key(1)) == payload(1)
    assert await backend.delete_async(key(1)) is True
    assert await backend.delete_async(key(1)) is False
    assert await backend.put_many_async([(key(n), payload(n), math.inf) for n in range(40)]) == [None] * 40
    found = await backend.get_many_async([key(n) for n in range(41)])
    assert found == [*map(payload, range(40)), None]
    assert await backend.clear_async("app.f@1") == 40
    assert await backend.clear_async("app.f@1") == 0


async def test_a_thread_and_a_loop_find_the_same(backend: Redis) -> None:
    await backend.put_async(key(1), payload(1), math.inf)
    assert await asyncio.to_thread(backend.get, key(1)) == payload(1)


def test_each_loop_has_a_client_that_is_closed_with_it(backend: Redis, server: Server) -> None:
    before = others(server)

    async def use() -> int:
        await asyncio.gather(*(backend.put_async(key(n), payload(n), math.inf) for n in range(20)))
        assert len(backend._reach()._loops) == 1
        return others(server)

    for _ in range(3):
        assert asyncio.run(use()) == before + 4  # max_connections
        assert len(backend._reach()._loops) == 0
        wait_until(lambda: others(server) == before, "the end of the loop's connections")


def test_loops_of_many_threads_do_not_get_in_each_others_way(backend: Redis) -> None:
    together = threading.Barrier(4)
    wrong: list[int] = []

    async def use(worker: int) -> None:
        for turn in range(20):
            await backend.put_async(key(worker), payload(worker, turn), math.inf)
            if await backend.get_async(key(worker)) != payload(worker, turn):
                wrong.append(turn)

    def run(worker: int) -> None:
        together.wait()
        asyncio.run(use(worker))

    threads = [threading.Thread(target=run, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(backend._reach()._loops) == 0


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_was_closed_without_care_is_forgotten(backend: Redis) -> None:
    for _ in range(3):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(backend.put_async(key(1), payload(1), math.inf))
        loop.close()  # asyncio.run would have shut down its asynchronous generators before
    assert asyncio.run(backend.get_async(key(1))) == payload(1)
    assert len(backend._reach()._loops) == 0
    gc.collect()


async def test_closing_on_a_running_loop_ends_its_connections(server: Server) -> None:
    before = others(server)
    backend = open_backend(f"{server.url}?timeout=6s")
    assert isinstance(backend, Redis)
    await backend.put_async(key(1), payload(1), math.inf)
    backend.close()
    while others(server) > before:
        await asyncio.sleep(0)
    assert await backend.get_async(key(1)) == payload(1)  # who asks again gets a new one
    backend.close()
    while others(server) > before:
        await asyncio.sleep(0)


async def test_what_is_cancelled_in_the_middle_leaves_no_answer_for_the_next(backend: Redis) -> None:
    for number in range(8):
        await backend.put_async(key(number), payload(number), math.inf)
    for turn in range(200):
        task = asyncio.ensure_future(backend.get_async(key(turn % 8)))
        for _ in range(turn % 12):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        other = (turn + 3) % 8
        assert await backend.get_async(key(other)) == payload(other)


async def test_more_tasks_than_connections_wait_for_their_turn(backend: Redis, server: Server) -> None:
    before = others(server)
    await asyncio.gather(*(backend.put_async(key(n), payload(n), math.inf) for n in range(200)))
    found = await asyncio.gather(*(backend.get_async(key(n)) for n in range(200)))
    assert found == [payload(n) for n in range(200)]
    assert others(server) <= before + 4


def test_more_threads_than_connections_wait_for_their_turn(backend: Redis, server: Server) -> None:
    before = others(server)

    def work(worker: int) -> None:
        for turn in range(10):
            backend.put(key(worker), payload(worker, turn), math.inf)
            assert backend.get(key(worker)) == payload(worker, turn)

    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(24) as pool:
        list(pool.map(work, range(24)))
    assert others(server) <= before + 4


class Opaque:
    """Of a type that only pickle can write."""


def entry(value: object) -> Entry:
    return Entry(value, 1.0, math.inf, math.inf, 0.5, 10)


def test_many_at_once_come_back_each_in_its_place(backend: Redis, tmp_path: Path) -> None:
    _ = tmp_path
    encoded: Any = Encoded(backend, FrameCodec())
    replies = encoded.put_many([(key(0), entry("a")), (key(1), entry(Opaque())), (key(2), entry("c"))])
    assert [type(reply) for reply in replies] == [type(None), CannotEncodeError, type(None)]
    backend.put(key(3), b"no frame", math.inf)
    found = encoded.get_many([key(number) for number in range(4)])
    assert [found[0].value, found[1], found[2].value] == ["a", None, "c"]
    assert isinstance(found[3], CorruptEntryError)
    assert encoded.get_many([]) == []
    assert encoded.put_many([]) == []


async def test_many_at_once_can_be_awaited_through_the_codec(backend: Redis) -> None:
    encoded: Any = Encoded(backend, FrameCodec())
    replies = await encoded.put_many_async([(key(0), entry("a")), (key(1), entry(Opaque()))])
    assert [type(reply) for reply in replies] == [type(None), CannotEncodeError]
    found = await encoded.get_many_async([key(0), key(1)])
    assert [found[0].value, found[1]] == ["a", None]
    assert (await encoded.get_async(key(0))).value == "a"
    await encoded.put_async(key(0), entry("b"))
    assert (await encoded.get_async(key(0))).value == "b"
    assert await encoded.delete_async(key(0)) is True
