"""What one host writes or drops, the memory of all others forgets."""

from __future__ import annotations

import asyncio
import gc
import json
import math
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mlcache import ml_cache
from mlcache.backends.encoded import Encoded
from mlcache.backends.memory import Lru
from mlcache.backends.redis import subscription as listening
from mlcache.backends.redis.store import Redis
from mlcache.backends.tiered import Tiers
from mlcache.codec import FrameCodec
from mlcache.entry import Entry, Key
from tests.redis.servers import Server, Watched, wait_until

ROOT = Path(__file__).parents[2]
MEMORY = "lru?max_bytes=16MiB"


class Host:
    """A process with its own memory before a Redis that it shares, as far as one process can play many.

    Args:
        url: of the Redis.
        name: of the function that all have.
    """

    def __init__(self, url: str, name: str = "hosts.square") -> None:
        self.calls = 0
        self.value = 0

        @ml_cache(backend=f"{MEMORY}, {url}", name=name, version=None)
        def square(number: int) -> int:
            self.calls += 1
            return number * number + self.value

        self.square = square

    def __ml_cache_key__(self) -> str:
        """All hosts run the same function."""
        return "host"

    @property
    def redis(self) -> Redis:
        """Its backend."""
        far: Any = self.square._actions.cache.store.backends[-1]
        assert isinstance(far.inner, Redis)
        return far.inner

    def tier(self, number: int) -> str | None:
        """Where it has the answer."""
        found = self.square.peek(number)
        return None if found is None else found.tier

    def in_memory(self, number: int) -> bool:
        """Whether its memory has the answer; nothing is promoted by asking."""
        memory: Any = self.square._actions.cache.store.backends[0]
        return memory.find(self.square.cache_key(number).digest) is not None

    def close(self) -> None:
        """Let go of its connections."""
        self.redis.close()


@pytest.fixture
def hosts(server: Server) -> Iterator[Callable[..., Host]]:
    made: list[Host] = []

    def make(url: str = server.url, **options: Any) -> Host:
        made.append(Host(url, **options))
        return made[-1]

    yield make
    for host in made:
        host.close()


@pytest.fixture
def pair(hosts: Callable[..., Host]) -> tuple[Host, Host]:
    """Two hosts that both have the answer to 7 in their memory."""
    here, there = hosts(), hosts()
    assert there.tier(7) is None  # opens its cache
    before = there.redis.heard.messages
    assert here.square(7) == 49
    wait_until(lambda: there.redis.heard.messages > before, "the news that it was written")
    assert there.square(7) == 49
    assert (here.calls, there.calls) == (1, 0)
    assert here.in_memory(7)
    assert there.in_memory(7)
    return here, there


def test_what_is_invalidated_here_is_forgotten_there(pair: tuple[Host, Host]) -> None:
    here, there = pair
    there.value = 1  # the world has changed
    here.square.invalidate(7)
    wait_until(lambda: not there.in_memory(7), "the news")
    assert there.square(7) == 50


def test_what_is_put_here_replaces_what_is_there(pair: tuple[Host, Host]) -> None:
    here, there = pair
    here.square.put(-1, 7)
    wait_until(lambda: not there.in_memory(7), "the news")
    assert (there.square(7), there.calls) == (-1, 0)
    assert here.in_memory(7)  # one's own news are no news


def test_what_is_refreshed_here_replaces_what_is_there(pair: tuple[Host, Host]) -> None:
    here, there = pair
    here.value = 1
    assert here.square.refresh(7) == 50
    wait_until(lambda: not there.in_memory(7), "the news")
    assert there.square(7) == 50


def test_what_is_cleared_here_is_forgotten_there(pair: tuple[Host, Host]) -> None:
    here, there = pair
    there.square(8)
    here.square.cache_clear()
    wait_until(lambda: not there.in_memory(7) and not there.in_memory(8), "the news")
    assert there.tier(7) is None


def test_other_entries_and_other_functions_stay(pair: tuple[Host, Host], hosts: Callable[..., Host]) -> None:
    here, there = pair
    stranger = hosts(name="hosts.other")
    stranger.square(7)
    there.square(8)
    here.square.invalidate(7)
    wait_until(lambda: not there.in_memory(7), "the news")
    assert there.in_memory(8)
    assert stranger.in_memory(7)


def test_it_is_counted_and_timed(pair: tuple[Host, Host]) -> None:
    here, there = pair
    before = there.redis.heard.messages
    here.square.invalidate(7)
    wait_until(lambda: there.redis.heard.messages == before + 1, "the count")
    assert 0 <= there.redis.heard.delay < 5


def test_the_news_come_soon(pair: tuple[Host, Host]) -> None:
    here, there = pair
    delays = []
    for _ in range(50):
        there.square(7)
        assert there.in_memory(7)
        here.square.invalidate(7)
        started = time.perf_counter()
        wait_until(lambda: not there.in_memory(7), "the news")
        delays.append(time.perf_counter() - started)
    assert statistics.median(delays) < 0.25  # a thousandth in fact; the rest is for busy machines


def test_it_works_by_sentinel(watched: Watched, hosts: Callable[..., Host]) -> None:
    watched.primary.command("FLUSHALL")
    here, there = hosts(watched.url), hosts(watched.url)
    assert answers_of_news(here, there) == [49, -1, -2]


def test_it_works_in_a_cluster_between_nodes(nodes: list[Server], hosts: Callable[..., Host]) -> None:
    for node in nodes:
        node.command("FLUSHALL")
    here, there = (hosts(f"redis+cluster://127.0.0.1:{node.port}") for node in nodes[:2])
    assert answers_of_news(here, there) == [49, -1, -2]


def answers_of_news(here: Host, there: Host) -> list[int]:
    """What one host answers at first, and after each of the changes that another makes."""
    here.square(7)
    answers = [there.square(7)]
    for changed in (-1, -2):
        here.square.invalidate(7)
        wait_until(lambda: not there.in_memory(7), "the news")
        there.square(7)
        here.square.put(changed, 7)
        wait_until(lambda: not there.in_memory(7), "the news")
        answers.append(there.square(7))
    return answers


def test_a_computation_under_way_there_is_not_kept_if_its_key_is_invalidated_here(server: Server) -> None:
    entered, leave = threading.Event(), threading.Event()

    @ml_cache(backend=f"{MEMORY}, {server.url}", name="hosts.slow", version=None, ignore=("entered", "leave"))
    def square(number: int) -> int:
        entered.set()
        assert leave.wait(10)
        return number  # by old facts

    thread = threading.Thread(target=square, args=(7,))
    square.peek(7)  # opens its cache
    thread.start()
    assert entered.wait(10)
    store: Any = square._actions.cache.store.backends[-1]
    before = store.inner.heard.messages
    with closing(Redis(_target(server))) as here:
        here.delete(square.cache_key(7))
    wait_until(lambda: store.inner.heard.messages > before, "the news")
    leave.set()
    thread.join()
    assert square.peek(7) is None
    store.close()


@pytest.mark.parametrize("asks_between", [False, True])
@pytest.mark.parametrize("clears", [False, True])
def test_without_memory_it_is_not_kept_either_as_its_lease_was_taken_away(
    server: Server, *, asks_between: bool, clears: bool
) -> None:
    facts = ["old"]
    entered, leave = threading.Event(), threading.Event()

    def host() -> Any:
        @ml_cache(backend=server.url, name="hosts.facts", version=None, ignore=("facts", "entered", "leave"))
        def look(number: int) -> str:
            seen = facts[number]
            entered.set()
            assert seen != "old" or leave.wait(10)
            return seen

        return look

    here, there = host(), host()
    with ThreadPoolExecutor(1) as threads:
        old = threads.submit(there, 0)
        assert entered.wait(10)
        facts[0] = "new"
        _ = here.cache_clear() if clears else here.invalidate(0)
        assert not asks_between or here(0) == "new", "it does not wait for who computes from older facts"
        leave.set()
        assert old.result(10) == "old"
    assert here(0) == there(0) == "new"
    assert here.cache_info().errors == there.cache_info().errors == 0


@pytest.mark.parametrize("suspends", [False, True])
def test_what_is_put_while_it_is_computed_elsewhere_is_not_lost_to_that(
    server: Server, *, suspends: bool
) -> None:
    entered, leave = threading.Event(), threading.Event()

    def host() -> Any:
        @ml_cache(backend=server.url, name="hosts.put", version=None, ignore=("entered", "leave"))
        def look(number: int) -> str:
            entered.set()
            assert leave.wait(10)
            return f"computed {number}"

        return look

    here, there = host(), host()
    with ThreadPoolExecutor(1) as threads:
        computed = threads.submit(lambda: asyncio.run(there.aio(0)) if suspends else there(0))
        assert entered.wait(10)
        if suspends:
            asyncio.run(here.aio.put("put", 0))
        else:
            here.put("put", 0)
        leave.set()
        assert computed.result(10) == "computed 0"
    assert here(0) == there(0) == "put"
    assert here.cache_info().errors == there.cache_info().errors == 0


def listeners() -> int:
    return sum(thread.name == "mlcache-listener" for thread in threading.enumerate())


def test_nobody_listens_where_there_is_nothing_to_forget(server: Server) -> None:
    @ml_cache(backend=server.url)
    def far(number: int) -> int:
        return number

    @ml_cache(backend=f"{server.url}, lru")
    def wrong_way_round(number: int) -> int:
        return number

    far(1)
    wrong_way_round(1)
    assert listeners() == 0


def test_one_thread_listens_for_all_functions_and_ends_with_the_last(hosts: Callable[..., Host]) -> None:
    made = [hosts(name=f"hosts.{number}") for number in range(5)]
    for host in made:
        host.square(1)
    assert listeners() == 1
    for host in made:
        assert listeners() == 1
        host.close()
    assert listeners() == 0


def test_who_goes_on_after_closing_listens_again(pair: tuple[Host, Host]) -> None:
    here, there = pair
    there.close()
    assert not there.in_memory(7)
    assert there.square(7) == 49
    assert listeners() == 1
    wait_until(lambda: there.redis._reach().listener.is_listening, "the listener")
    there.square(7)
    assert there.in_memory(7)
    here.square.invalidate(7)
    wait_until(lambda: not there.in_memory(7), "the news")


def test_the_thread_ends_with_functions_that_were_never_closed(server: Server) -> None:
    Host(server.url).square(1)
    assert listeners() == 1
    gc.collect()
    wait_until(lambda: listeners() == 0, "the end of the thread")


async def test_on_an_event_loop_nobody_waits_for_the_listener(server: Server) -> None:
    @ml_cache(backend=f"{MEMORY}, {server.url}")
    async def square(number: int) -> int:
        return number

    assert await square(7) == 7
    store: Any = square._actions.cache.store
    far = store.backends[-1]
    wait_until(lambda: far.inner._reach().listener.is_listening, "the listener")
    await square(7)
    assert store.backends[0].find((await square.cache_key(7)).digest) is not None
    with closing(Redis(_target(server))) as here:
        await here.delete_async(await square.cache_key(7))
        digest = (await square.cache_key(7)).digest
        wait_until(lambda: store.backends[0].find(digest) is None, "the news")
    far.close()


def test_after_a_gap_nothing_is_trusted_that_was_kept_before(tmp_path: Path) -> None:
    _ = tmp_path
    with Server() as server:
        host = Host(server.url)
        assert host.square(7) == 49
        server.kill()
        assert host.square(7) == 49  # memory goes on while there is no news
        assert host.in_memory(7)
        server.start()
        wait_until(lambda: not host.in_memory(7), "the new beginning")
        assert host.redis.heard.gaps == 1
        host.close()


def test_a_connection_that_has_gone_silent_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "QUIET", 0.1)
    with Server() as server:
        host = Host(f"{server.url}?timeout=200ms&breaker=50ms")
        assert host.square(7) == 49
        listener = host.redis._reach().listener
        server.stop()
        wait_until(lambda: not listener.is_listening, "the suspicion")
        server.go_on()
        wait_until(lambda: listener.is_listening, "the connection")
        assert listener.heard.gaps >= 1
        assert not host.in_memory(7)
        host.close()


def test_an_idle_connection_is_kept(monkeypatch: pytest.MonkeyPatch, hosts: Callable[..., Host]) -> None:
    monkeypatch.setattr(listening, "QUIET", 0.25)
    here, there = hosts(), hosts()
    here.square(7)
    there.square(7)
    gaps = there.redis.heard.gaps
    there.redis._reach().listener._ended.wait(1.5)  # some pings
    assert there.redis.heard.gaps == gaps
    here.square.invalidate(7)
    wait_until(lambda: not there.in_memory(7), "the news")


def test_what_else_is_published_there_does_no_harm(pair: tuple[Host, Host], server: Server) -> None:
    here, there = pair
    channel, gaps = there.redis._reach().listener.channel, there.redis.heard.gaps
    for noise in (b"", b"hello", b"\xc1", b"\x93\x01\x02\x03", bytes(1000)):
        server.command("PUBLISH", channel, noise)
    here.square.invalidate(7)
    wait_until(lambda: not there.in_memory(7), "the news")
    assert there.redis._reach().listener.heard.gaps == gaps


def test_databases_and_prefixes_are_apart(server: Server, hosts: Callable[..., Host]) -> None:
    urls = [server.url, server.url[:-1] + "1", f"{server.url}?prefix=mine"]
    here, *others = (hosts(url) for url in urls)
    for host in (here, *others):
        host.square(7)
    here.square.invalidate(7)
    here.square.cache_clear()
    there = hosts()
    there.square(8)
    assert [host.in_memory(7) for host in others] == [True, True]
    assert [host.tier(7) for host in others] == ["lru", "lru"]


OTHER_HOST = """
import json, sys
from mlcache import ml_cache

@ml_cache(backend=sys.argv[1], name="hosts.twin", version=None)
def twin(number: int) -> int:
    return -number

for line in sys.stdin:
    method, *arguments = json.loads(line)
    answer = getattr(twin, method)(*arguments) if method != "call" else twin(*arguments)
    print(json.dumps(answer if isinstance(answer, (int, float)) else None), flush=True)
"""


@pytest.mark.parametrize("theirs", ["lru, {url}", "{url}"])
def test_other_processes_are_heard(theirs: str, server: Server) -> None:
    command = [sys.executable, "-c", OTHER_HOST, theirs.format(url=server.url)]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, cwd=ROOT, **pipes) as process:
        to, back = process.stdin, process.stdout
        assert to is not None
        assert back is not None

        def ask(*what: Any) -> Any:
            to.write(json.dumps(what) + "\n")
            to.flush()
            return json.loads(back.readline())

        @ml_cache(backend=f"{MEMORY}, {server.url}", name="hosts.twin", version=None)
        def twin(number: int) -> int:
            return number * number

        store: Any = twin._actions.cache.store

        def in_memory() -> bool:
            return store.backends[0].find(twin.cache_key(7).digest) is not None

        assert twin(7) == 49
        assert ask("call", 7) == 49
        ask("put", -1, 7)
        wait_until(lambda: not in_memory(), "the news")
        assert twin(7) == -1
        twin.put(5, 7)
        wait_until(lambda: ask("call", 7) == 5, "the news there")
        for drop in ("invalidate", "cache_clear"):
            wait_until(lambda: twin(7) and in_memory(), "the news that are older")
            ask(drop, *([7] if drop == "invalidate" else []))
            wait_until(lambda: not in_memory(), "the news")
        store.close()
        to.close()
        assert process.wait(20) == 0


class Slow:
    """A shared backend; between a lookup and its answer, something happens."""

    def __init__(self, inner: Any, meanwhile: Callable[[], object]) -> None:
        self.inner = inner
        self.name, self.holds, self.blocking = "redis", inner.holds, False
        self.put, self.delete = inner.put, inner.delete
        self._meanwhile = meanwhile

    def get(self, key: Key) -> Entry | None:
        found: Entry | None = self.inner.get(key)
        self._meanwhile()
        return found


def test_news_that_overtake_a_lookup_are_not_lost(server: Server) -> None:
    key = Key("app.f@1", bytes(16))
    nearer, far = Lru(max_bytes=2**20), Encoded(Redis(_target(server)), FrameCodec())
    far.put(key, Entry("old", 1.0, math.inf, math.inf, 1.0, 10))
    overtaken: Any = Slow(far, lambda: tiers.forget(key.namespace, [key], before=1))
    tiers = Tiers([nearer, overtaken], _fail)
    assert tiers.find(key) is not None
    assert nearer.get(key) is None
    Tiers([nearer, far], _fail).find(key)  # which nothing overtakes
    assert nearer.get(key) is not None
    far.close()


def _fail(tier: str, operation: str, key: Key | None, error: Exception) -> None:
    raise AssertionError(f"{tier} failed at {operation} of {key}") from error


def _target(server: Server) -> Any:
    from mlcache.backends.address import take_apart
    from mlcache.backends.redis.target import Target

    return Target.of(take_apart(server.url))
