"""What happened is counted, and told to hooks."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from mlcache import Expiry, MlcacheWarning, disabled, hook, ml_cache
from mlcache.backends.disk import Disk
from mlcache.backends.memory import Lru
from mlcache.entry import Entry, Key
from mlcache.errors import BackendError
from mlcache.events import (
    Bypassed,
    Coalesced,
    Computed,
    Counter,
    Event,
    Failed,
    Hit,
    NotKept,
    Raised,
    Stale,
    Tally,
)
from mlcache.testing import FakeClock


class Broken:
    """A backend of which nothing works."""

    name = "broken"
    holds: ClassVar[Literal["entries"]] = "entries"
    blocking = False

    def get(self, key: Key) -> Entry | None:
        raise OSError(f"cannot get {key}")

    def put(self, key: Key, entry: Entry) -> None:
        raise OSError(f"cannot put {key} {entry}")

    def delete(self, key: Key) -> bool:
        raise OSError(f"cannot delete {key}")


def kinds(events: list[Any]) -> list[type[Event]]:
    return [type(event) for event in events]


def test_hooks_see_every_event_of_every_function() -> None:
    seen: list[Any] = []
    f = ml_cache(when=lambda value: value > 0, ttl=60)(lambda x: 10 // x if x < 10 else 0)
    other = ml_cache(lambda x: x)
    f(1)
    with FakeClock() as time, hook(seen.append):
        f(2)
        time.advance(5)
        f(2)
        f(20)
        with pytest.raises(ZeroDivisionError):
            f(0)
        with disabled():
            f(2)
        other(1)
    f(2)
    assert kinds(seen) == [Computed, Hit, Computed, NotKept, Raised, Bypassed, Computed]
    assert seen[0].key == f.cache_key(2)
    assert seen[0].cost == 0.0
    assert (seen[1].tier, seen[1].age) == ("lru", 5.0)
    assert "when" in seen[3].reason
    assert isinstance(seen[4].error, ZeroDivisionError)
    assert seen[6].key == other.cache_key(1)


async def test_hooks_see_what_happens_on_an_event_loop() -> None:
    seen: list[Any] = []
    plain = ml_cache(lambda x: x)

    @ml_cache
    async def f(x: int) -> int:
        await asyncio.sleep(0)
        return x

    with hook(seen.append):
        await asyncio.gather(f(1), f(1), f(1))
        await f(1)
        await plain.aio(1)
        await plain.aio(1)
        with disabled():
            await f(1)
            await plain.aio(1)
    expected = [Computed, Coalesced, Coalesced, Coalesced, Hit, Computed, Coalesced, Hit, Bypassed, Bypassed]
    found = kinds(seen)
    assert [each for each in found if each is not Coalesced] == [
        each for each in expected if each is not Coalesced
    ]
    assert found.count(Coalesced) == (await f.cache_info()).coalesced


def test_hooks_see_failures_of_tiers_also_in_strict_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    f = ml_cache(backend=Broken())(lambda x: x)
    with hook(seen.append), pytest.warns(MlcacheWarning):
        f(1)
    failed = [event for event in seen if isinstance(event, Failed)]
    assert {(event.tier, event.operation) for event in failed} == {("broken", "get"), ("broken", "put")}
    assert all(isinstance(event.error, OSError) for event in failed)
    assert all(event.key == f.cache_key(1) for event in failed)
    monkeypatch.setenv("MLCACHE_STRICT", "1")
    g = ml_cache(backend=Broken())(lambda x: -x)
    seen.clear()
    with hook(seen.append), pytest.raises(BackendError):
        g(1)
    assert Failed in kinds(seen)


@pytest.mark.parametrize("name", ["lru", "disk"])
def test_hits_are_counted_whether_a_hook_watches_or_not(name: str, tmp_path: Path) -> None:
    backend: Any = Disk(tmp_path / "cache", max_bytes=2**20) if name == "disk" else Lru(max_bytes=2**20)
    f = ml_cache(backend=backend)(lambda x: x)
    seen: list[Any] = []
    f(1)
    f(1)
    with hook(seen.append):
        f(1)
    f(1)
    assert f.cache_info().hits == 3
    assert [(type(event), event.tier) for event in seen] == [(Hit, name)]
    if name == "disk":
        backend.close()


def test_hooks_can_be_nested_and_are_gone_afterwards() -> None:
    outer: list[Any] = []
    inner: list[Any] = []
    f = ml_cache(lambda x: x)
    with hook(outer.append):
        with hook(inner.append):
            f(1)
        f(1)
    with pytest.raises(ValueError, match="out"), hook(outer.append):
        raise ValueError("out")
    f(1)
    assert (kinds(outer), kinds(inner)) == ([Computed, Hit], [Computed])


def test_a_hook_may_be_taken_away_by_another_while_events_are_told() -> None:
    seen: list[Any] = []
    inner = hook(lambda _: inner.__exit__(None, None, None))
    f = ml_cache(lambda x: x)
    inner.__enter__()
    with hook(seen.append):
        f(1)
    assert kinds(seen) == [Computed]


def test_a_hook_sees_other_threads() -> None:
    seen: list[Any] = []
    f = ml_cache(lambda x: x)
    with hook(seen.append):
        threads = [threading.Thread(target=f, args=(x,)) for x in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert kinds(seen) == [Computed] * 5


def test_an_entry_too_large_is_told_as_not_kept_in_memory() -> None:
    seen: list[Any] = []
    f = ml_cache(backend=Lru(max_bytes=2000))(lambda: b"x" * 5000)
    with hook(seen.append), pytest.warns(MlcacheWarning, match="max_bytes"):
        assert len(f()) == 5000
    assert f.cache_info().not_kept == 1
    assert f.cache_info().errors == 0
    assert kinds(seen) == [Computed, Failed]


def test_an_event_is_frozen() -> None:
    event = Hit(Key("n", b""), "lru", 1.0)
    with pytest.raises(AttributeError):
        event.age = 2.0  # type: ignore[misc]


def test_a_counter_counts_over_threads_and_begins_anew() -> None:
    counter = Counter()
    add = counter.add

    def many() -> None:
        for _ in range(10_000):
            add()

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.value == 40_000
    assert counter.value == 40_000  # looking does not count
    counter.reset()
    assert counter.value == 0
    add()
    assert counter.value == 1


def test_a_tally_begins_anew_as_a_whole() -> None:
    tally = Tally()
    for name in Tally.__slots__:
        getattr(tally, name).add()
    tally.reset()
    assert [getattr(tally, name).value for name in Tally.__slots__] == [0] * len(Tally.__slots__)


def test_stale_answers_are_told_apart_from_hits() -> None:
    seen: list[Any] = []
    renewed = threading.Event()

    def note(event: Any) -> None:
        seen.append(event)
        if isinstance(event, Computed):
            renewed.set()

    f = ml_cache(ttl=Expiry(10, stale=20))(lambda x: x)
    with FakeClock() as time:
        f(1)
        time.advance(15)
        with hook(note):
            f(1)
            assert renewed.wait(10)
    (stale,) = (event for event in seen if isinstance(event, Stale))
    assert (stale.tier, stale.age) == ("lru", 15.0)
    assert (f.cache_info().stale, f.cache_info().hits) == (1, 0)
