"""Hosts that share a Redis against a dict: what any of them finds is what any of them kept last."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from mlcache import open_backend
from mlcache.backends.encoded import Encoded
from mlcache.backends.invalidation import listen
from mlcache.backends.memory import Lru
from mlcache.backends.redis.store import Redis
from mlcache.backends.redis.target import Target
from mlcache.backends.tiered import Tiers
from mlcache.codec import FrameCodec
from mlcache.entry import Entry, Key, Verdict, judge
from mlcache.testing import FakeClock
from mlcache.testing.backends import key
from tests.redis.servers import Server, wait_until
from tests.stateful.machine import check

SPACE = "app.f@1"
KEYS = [key(number, SPACE) for number in range(3)]
SPANS = st.sampled_from([1000.0, 10_000.0, math.inf])
HOSTS = st.integers(0, 1)


def fail(tier: str, operation: str, of: Key | None, error: Exception) -> NoReturn:
    raise AssertionError(f"{tier} failed at {operation} of {of}") from error


class Machine(RuleBasedStateMachine):
    """Every step is followed by as much time as its news need."""

    server: Server

    @initialize()
    def open(self) -> None:
        self.server.command("FLUSHALL")
        self.time = FakeClock()
        self.time.__enter__()
        self.last: dict[Key, Entry] = {}
        self.serial = 0
        self.stores = [Redis(Target(nodes=(("127.0.0.1", self.server.port),), timeout=5.0)) for _ in range(2)]
        self.hosts = [
            Tiers([Lru(max_bytes=2**20), Encoded(store, FrameCodec())], fail) for store in self.stores
        ]
        self.hearings = [listen(tiers, SPACE, lambda _: None) for tiers in self.hosts]

    def teardown(self) -> None:
        if hasattr(self, "stores"):
            for store in self.stores:
                store.close()
            self.time.__exit__(None, None, None)

    @rule(host=HOSTS, at=st.sampled_from(KEYS), fresh=SPANS, stale=st.sampled_from([0.0, 5000.0]))
    def keep(self, host: int, at: Key, fresh: float, stale: float) -> None:
        now = self.time.now()
        self.serial += 1
        self.last[at] = Entry(f"value {self.serial}", now, now + fresh, now + fresh + stale, 0.5, 100)
        with self.news():
            self.hosts[host].keep(at, self.last[at])

    @rule(host=HOSTS, at=st.sampled_from(KEYS))
    def find(self, host: int, at: Key) -> None:
        expected, now = self.last.get(at), self.time.now()
        found = self.hosts[host].find(at)
        if expected is None or judge(expected, now) is Verdict.DEAD:
            assert found is None
        else:
            assert found is not None
            assert self.parts(found.entry) == self.parts(expected)

    @rule(host=HOSTS, at=st.sampled_from(KEYS))
    def drop(self, host: int, at: Key) -> None:
        with self.news():
            assert self.hosts[host].drop(at) is (self.last.pop(at, None) is not None)

    @rule(host=HOSTS)
    def clear(self, host: int) -> None:
        with self.news():
            assert self.hosts[host].clear(SPACE) == len(self.last)
        self.last.clear()

    @rule(seconds=st.sampled_from([500.0, 1000.0, 5000.0]))
    def wait(self, seconds: float) -> None:
        self.time.advance(seconds)

    @invariant()
    def lists_what_was_kept(self) -> None:
        if hasattr(self, "stores"):
            assert set(self.stores[0].keys(SPACE)) == set(self.last)

    def news(self) -> Any:
        """Wait, after the block, until the other host has heard of it."""
        return _News(self.stores[0])

    def parts(self, entry: Entry) -> tuple[Any, ...]:
        return entry.value, entry.created, entry.fresh_until, entry.stale_until, entry.cost


class _News:
    def __init__(self, store: Redis) -> None:
        self._heard = store.heard

    def __enter__(self) -> None:
        self._before = self._heard.messages

    def __exit__(self, *_: object) -> None:
        wait_until(lambda: self._heard.messages > self._before, "the news")


@pytest.mark.parametrize("steps", [30])
def test_what_any_host_finds_is_what_any_host_kept_last(steps: int, server: Server) -> None:
    Machine.server = server
    run_state_machine_as_test(
        Machine, settings=settings(max_examples=15, stateful_step_count=steps, deadline=None)
    )


URLS: dict[str, Callable[[pytest.FixtureRequest], str]] = {
    "alone": lambda request: str(request.getfixturevalue("server").url),
    "by TLS": lambda request: str(request.getfixturevalue("encrypted")),
    "by Sentinel": lambda request: str(request.getfixturevalue("watched").url),
    "in a cluster": lambda request: (
        f"redis+cluster://127.0.0.1:{request.getfixturevalue('nodes')[0].port}?timeout=5s"
    ),
}


@pytest.mark.parametrize("name", URLS)
@pytest.mark.usefixtures("server", "encrypted", "watched", "nodes")
def test_every_kind_of_server_behaves_as_a_dict(name: str, request: pytest.FixtureRequest) -> None:
    url = URLS[name](request)

    def make(_: Path) -> Any:
        opened: Any = open_backend(url)
        return Encoded(opened, FrameCodec()) if name == "alone" else opened

    check(make, persistent=True, examples=8)
