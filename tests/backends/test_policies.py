"""What each policy evicts first."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcache.backends.memory import Lru, Memory
from mlcache.backends.policies import Lfu, Rr, Ttl
from mlcache.entry import Entry, Key
from mlcache.testing import FakeClock


def key(number: int) -> Key:
    return Key("app.f@1", number.to_bytes(16, "big"))


def put(store: Memory, *numbers: int, until: float = math.inf) -> None:
    for number in numbers:
        store.put(key(number), Entry(number, 0.0, until, until))


def use(store: Memory, *numbers: int) -> None:
    for number in numbers:
        assert store.get(key(number)) is not None


def kept(store: Memory, numbers: Iterable[int] = range(20)) -> list[int]:
    return [number for number in numbers if store.find(key(number).digest) is not None]


class TestLru:
    def test_what_was_used_least_recently_goes(self) -> None:
        store = Lru(max_bytes=2**20, max_items=3)
        put(store, 1, 2, 3)
        use(store, 1)
        put(store, 4)
        assert kept(store) == [1, 3, 4]

    def test_to_replace_is_to_use(self) -> None:
        store = Lru(max_bytes=2**20, max_items=3)
        put(store, 1, 2, 3, 1, 4)
        assert kept(store) == [1, 3, 4]


class TestLfu:
    def test_what_was_used_least_often_goes(self) -> None:
        store = Lfu(max_bytes=2**20, max_items=3)
        put(store, 1, 2, 3)
        use(store, 1, 1, 1, 3, 3, 2)
        put(store, 4)
        assert kept(store) == [1, 3, 4]

    def test_of_equals_the_oldest_goes(self) -> None:
        store = Lfu(max_bytes=2**20, max_items=3)
        put(store, 1, 2, 3, 4)
        assert kept(store) == [2, 3, 4]

    def test_a_new_entry_is_never_the_one_that_goes(self) -> None:
        store = Lfu(max_bytes=2**20, max_items=3)
        put(store, 1, 2, 3)
        use(store, 1, 2, 3)
        put(store, 4)
        assert kept(store) == [2, 3, 4]

    def test_a_replaced_entry_has_been_used_as_often_as_before(self) -> None:
        store = Lfu(max_bytes=2**20, max_items=3)
        put(store, 1, 2, 3)
        use(store, 1, 1, 1, 2, 3)
        put(store, 1)
        put(store, 4, 5)
        assert kept(store) == [1, 3, 5]

    def test_a_deleted_entry_starts_anew(self) -> None:
        store = Lfu(max_bytes=2**20, max_items=2)
        put(store, 1, 2)
        use(store, 1, 1, 1, 2)
        store.delete(key(1))
        put(store, 1, 3)
        assert kept(store) == [2, 3]

    def test_uses_count_without_any_lock(self) -> None:
        store = Lfu(max_bytes=2**20, max_items=2)
        put(store, 1, 2)
        with store._lock:
            store.touch(key(1).digest)
            store.touch(key(1).digest)
        put(store, 3)
        assert kept(store) == [1, 3]

    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=60))
    def test_it_does_as_the_definition_says(self, steps: list[tuple[bool, int]]) -> None:
        """Against counts in a dict: the least goes, of equals the one whose count is the oldest."""
        store = Lfu(max_bytes=2**20, max_items=3)
        counts: dict[int, int] = {}  # in the order of the last change
        for reads, number in steps:
            if reads:
                found = store.get(key(number)) is not None
                assert found == (number in counts)
            else:
                put(store, number)
                if number not in counts and len(counts) == 3:
                    del counts[min(counts, key=lambda each: counts[each])]
            if not reads or number in counts:
                counts[number] = counts.pop(number, 0) + 1
        assert kept(store) == sorted(counts)


class TestRr:
    def test_something_goes_but_not_always_the_same(self) -> None:
        left: set[int] = set()
        for _ in range(200):
            store = Rr(max_bytes=2**20, max_items=3)
            put(store, 1, 2, 3, 4)
            assert len(kept(store)) == 3
            assert 4 in kept(store)
            left.update(kept(store))
        assert left == {1, 2, 3, 4}


class TestTtl:
    def test_what_has_expired_goes_first(self) -> None:
        with FakeClock(1000.0) as time:
            store = Ttl(max_bytes=2**20, max_items=3)
            put(store, 1)
            put(store, 2, until=1010.0)
            put(store, 3, until=1020.0)
            time.advance(10)
            put(store, 4)
            assert kept(store) == [1, 3, 4]

    def test_what_expired_first_goes_before_what_expired_later(self) -> None:
        with FakeClock(1000.0) as time:
            store = Ttl(max_bytes=2**20, max_items=3)
            for number, until in ((1, 1030.0), (2, 1010.0), (3, 1020.0)):
                put(store, number, until=until)
            time.advance(60)
            put(store, 4)
            assert kept(store) == [1, 3, 4]
            put(store, 5)
            assert kept(store) == [1, 4, 5]

    def test_where_nothing_has_expired_the_least_recently_used_goes(self) -> None:
        with FakeClock(1000.0):
            store = Ttl(max_bytes=2**20, max_items=3)
            put(store, 1, until=1010.0)
            put(store, 2, until=1001.0)
            put(store, 3)
            use(store, 1)
            put(store, 4)
            assert kept(store) == [1, 3, 4]

    def test_an_expired_entry_stays_while_there_is_room(self) -> None:
        with FakeClock(1000.0) as time:
            store = Ttl(max_bytes=2**20, max_items=3)
            put(store, 1, until=1010.0)
            time.advance(60)
            put(store, 2, 3)
            assert kept(store) == [1, 2, 3]

    def test_a_renewed_entry_has_its_new_deadline_alone(self) -> None:
        with FakeClock(1000.0) as time:
            store = Ttl(max_bytes=2**20, max_items=3)
            put(store, 1, until=1010.0)
            put(store, 2, until=1050.0)
            put(store, 1, until=1100.0)
            put(store, 3, until=1200.0)
            time.advance(60)
            put(store, 4)
            assert kept(store) == [1, 3, 4]

    def test_deadlines_that_are_over_are_not_kept_for_ever(self) -> None:
        with FakeClock(1000.0):
            store = Ttl(max_bytes=2**20, max_items=3)
            for turn in range(2000):
                put(store, turn % 4, until=2000.0 + turn)
            assert len(store._deadlines) <= 2 * 3 + 65

    def test_what_it_knows_of_deadlines_survives_tidying_up(self) -> None:
        with FakeClock(1000.0) as time:
            store = Ttl(max_bytes=2**20, max_items=3)
            put(store, 1, until=1010.0)
            for turn in range(200):
                put(store, 2, until=2000.0 + turn)
            put(store, 3)
            time.advance(60)
            use(store, 1)
            put(store, 4)
            assert kept(store) == [2, 3, 4]


def _without_cachetools(program: str) -> str:
    program = f"import sys; sys.modules['cachetools'] = None\nfrom mlcache import open_backend\n{program}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", ["lfu", "rr"])
def test_without_cachetools_the_error_says_what_to_install(name: str) -> None:
    said = _without_cachetools(f"open_backend('{name}')")
    assert (
        f"backend '{name}' needs the package 'cachetools': install it with pip install 'mlcache[memory]'"
        in said
    )


@pytest.mark.parametrize("name", ["lru", "ttl", "gdsf"])
def test_the_others_need_no_package(name: str) -> None:
    assert _without_cachetools(f"print(open_backend('{name}').name)").strip() == name
