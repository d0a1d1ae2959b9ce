"""What all stores in memory have in common: bounds, accounts, threads and forks."""

from __future__ import annotations

import math
import os
import random
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlcache.backends.address import Defaults, take_apart
from mlcache.backends.gdsf import Gdsf
from mlcache.backends.memory import USES_REMEMBERED, Lru, Memory
from mlcache.backends.open import open_address
from mlcache.backends.policies import Lfu, Rr, Ttl
from mlcache.backends.protocol import InMemory
from mlcache.entry import Entry, Key
from mlcache.errors import ConfigurationError, EntryTooLargeError

POLICIES = [Lru, Lfu, Rr, Ttl, Gdsf]


@pytest.fixture(params=POLICIES, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> type[Memory]:
    policy: type[Memory] = request.param
    return policy


def key(number: int, namespace: str = "app.f@1") -> Key:
    return Key(namespace, number.to_bytes(16, "big"))


def entry(size: int = 0, value: object = None, *, until: float = math.inf, cost: float = 0.01) -> Entry:
    return Entry(value, 0.0, until, until, cost, size)


def fill(store: Memory, numbers: range, size: int = 0) -> None:
    for number in numbers:
        store.put(key(number), entry(size))


def kept(store: Memory, numbers: range) -> list[int]:
    return [number for number in numbers if store.find(key(number).digest) is not None]


def test_the_number_of_entries_is_bounded(kind: type[Memory]) -> None:
    store = kind(max_bytes=2**20, max_items=3)
    fill(store, range(10))
    assert len(kept(store, range(10))) == 3
    assert (store.usage().items, store.usage().max_items) == (3, 3)


def test_bytes_are_bounded_with_what_keeping_takes(kind: type[Memory]) -> None:
    store = kind(max_bytes=3 * (1000 + kind.overhead))
    fill(store, range(10), size=1000)
    assert len(kept(store, range(10))) == 3
    assert store.usage().bytes == store.usage().max_bytes


def test_one_large_entry_takes_the_place_of_many(kind: type[Memory]) -> None:
    store = kind(max_bytes=10 * (1000 + kind.overhead))
    fill(store, range(10), size=1000)
    store.put(key(99), entry(10 * 1000))
    assert store.find(key(99).digest) is not None
    assert store.usage().bytes <= 10 * (1000 + kind.overhead)


def test_what_is_larger_than_the_whole_store_is_refused_and_the_old_value_goes(kind: type[Memory]) -> None:
    store = kind(max_bytes=2**16)
    fill(store, range(3))
    with pytest.raises(EntryTooLargeError, match=f"{kind.name}: raise max_bytes or MLCACHE_MAX_BYTES"):
        store.put(key(1), entry(2**16))
    assert kept(store, range(3)) == [0, 2]


@pytest.mark.parametrize("bounds", [{"max_bytes": 0}, {"max_bytes": 9, "max_items": 0}])
def test_bounds_are_above_zero(kind: type[Memory], bounds: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match="must be above zero"):
        kind(**bounds)


def test_urls_say_the_bounds(kind: type[Memory]) -> None:
    store = open_address(take_apart(f"{kind.name}?max_bytes=1MiB&max_items=7"), Defaults())
    assert isinstance(store, kind)
    assert (store.usage().max_bytes, store.usage().max_items) == (2**20, 7)
    assert repr(store) == f"<{kind.name}: 0 entries, 0 B of 1.0 MiB>"


def test_the_fast_path_may_look_into_it(kind: type[Memory]) -> None:
    store = kind(max_bytes=2**20)
    assert isinstance(store, InMemory)
    assert store.find(key(1).digest) is None
    store.put(key(1), first := entry())
    assert store.find(key(1).digest) is first


def test_a_use_of_what_is_gone_does_no_harm(kind: type[Memory]) -> None:
    store = kind(max_bytes=2**20, max_items=2)
    for number in range(50):
        store.put(key(number), entry())
        store.get(key(number))
        store.delete(key(number))
        fill(store, range(100, 104))
    assert store.usage().items == 2


def test_more_uses_than_are_remembered_do_no_harm(kind: type[Memory]) -> None:
    store = kind(max_bytes=2**20, max_items=2)
    fill(store, range(2))
    for _ in range(3 * USES_REMEMBERED):
        store.get(key(1))
    fill(store, range(2, 4))
    assert store.usage().items == 2


def test_replacing_leaves_no_trace_in_the_accounts(kind: type[Memory]) -> None:
    store = kind(max_bytes=2**20)
    for size in [*range(1000), 7]:
        store.put(key(1), entry(size, until=1e12 + size))
    assert store.usage().bytes == 7 + kind.overhead
    store.delete(key(1))
    assert (store.usage().bytes, store.usage().items, store.count("app.f@1")) == (0, 0, 0)


def test_values_are_let_go_of(kind: type[Memory]) -> None:
    class Value:
        """Something that can be counted."""

    gone: list[int] = []

    class Counted(Value):
        def __del__(self) -> None:
            gone.append(1)

    store = kind(max_bytes=2**20, max_items=5)
    for number in range(20):
        store.put(key(number % 12), entry(0, Counted(), until=1e12 + number))
    assert len(gone) == 15
    store.clear("app.f@1")
    assert len(gone) == 20


def test_a_destructor_may_use_the_store_that_evicts_its_value(kind: type[Memory]) -> None:
    store = kind(max_bytes=2**20, max_items=2)

    class Stubborn:
        def __del__(self) -> None:
            store.put(key(1000 + random.randrange(5)), entry())
            store.get(key(1))

    for number in range(20):
        store.put(key(number), entry(0, Stubborn()))
    assert store.usage().items <= 2
    store.clear("app.f@1")


@pytest.fixture
def _switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(*work: Callable[[], None]) -> None:
    with ThreadPoolExecutor(len(work)) as threads:
        for done in [threads.submit(each) for each in work]:
            done.result()


@pytest.mark.usefixtures("_switching_often")
def test_bounds_hold_at_every_moment_while_threads_write_and_read(kind: type[Memory]) -> None:
    bound = 50 * (2000 + kind.overhead)
    store = kind(max_bytes=bound, max_items=60)
    seen: list[tuple[int, int]] = []
    finished = threading.Event()

    def write(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(1500):
            at = key(chance.randrange(300))
            if chance.random() < 0.1:
                store.delete(at)
            else:
                store.put(at, entry(chance.randrange(4000), until=chance.choice([1.0, 1e12, math.inf])))

    def read() -> None:
        while not finished.is_set():
            for number in range(300):
                store.get(key(number))
            seen.append((store.usage().bytes, store.usage().items))

    def write_all() -> None:
        try:
            in_threads(*[lambda seed=seed: write(seed) for seed in range(3)])
        finally:
            finished.set()

    in_threads(write_all, read, read)
    assert max(used for used, _ in seen) <= bound
    assert max(items for _, items in seen) <= 60
    left = [found for number in range(300) if (found := store.find(key(number).digest)) is not None]
    assert store.usage().items == len(left) == store.count("app.f@1")
    assert store.usage().bytes == sum(each.size + kind.overhead for each in left)


def test_real_memory_stays_within_five_percent_of_the_bound(kind: type[Memory]) -> None:
    """Measured by Python itself, over small values, where tables weigh the most."""
    chance = random.Random(0)
    bound = 4 * 2**20
    store = kind(max_bytes=bound)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(12_000):
            number, payload = chance.randrange(10_000), bytes(chance.randrange(2000))
            store.get(key(chance.randrange(10_000)))
            until = 1e12 + chance.random()
            store.put(key(number), entry(sys.getsizeof(payload), payload, until=until, cost=chance.random()))
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert store.usage().items > 1000  # it is full, and so it has evicted
    assert used <= 1.05 * bound


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
class TestAfterAFork:
    def test_the_child_has_the_entries(self, kind: type[Memory]) -> None:
        store = kind(max_bytes=2**20)
        fill(store, range(5))
        assert _in_child(lambda: len(kept(store, range(5)))) == 5

    def test_the_child_starts_empty_if_a_thread_was_writing_just_then(self, kind: type[Memory]) -> None:
        store = kind(max_bytes=2**20, max_items=4)
        fill(store, range(3))
        writing, forked = threading.Event(), threading.Event()

        def write() -> None:
            with store._lock:
                store._take(key(1).digest)  # the tables and the policy disagree now
                writing.set()
                forked.wait()
                store._release(key(1).digest)

        def use() -> int:
            found = len(kept(store, range(3)))
            fill(store, range(10, 20))
            store.get(key(15))
            return found * 100 + len(kept(store, range(10, 20)))

        with ThreadPoolExecutor(1) as threads:
            done = threads.submit(write)
            writing.wait()
            answer = _in_child(use)
            forked.set()
            done.result()
        assert answer == 4
        assert len(kept(store, range(3))) == 2


def _in_child(work: Callable[[], int]) -> int:
    """What ``work`` returns in a forked process; 255 if it raises or never ends."""
    child = os.fork()
    if not child:
        answer = 255
        try:
            watchdog = threading.Timer(20, os._exit, [255])
            watchdog.daemon = True
            watchdog.start()
            answer = work()
        finally:
            os._exit(answer)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
