"""GDSF: that it does what the paper says, and that it pays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcache.backends.gdsf import COST_FLOOR, Gdsf
from mlcache.backends.memory import Lru, Memory
from mlcache.entry import Entry, Key


def key(number: int) -> Key:
    return Key("app.f@1", number.to_bytes(16, "big"))


def entry(cost: float, size: int) -> Entry:
    return Entry(None, 0.0, cost=cost, size=size)


def kept(store: Memory) -> list[int]:
    return [number for number in range(20) if store.find(key(number).digest) is not None]


def test_what_was_cheap_to_compute_goes_first() -> None:
    store = Gdsf(max_bytes=2**30, max_items=3)
    for number, cost in enumerate((3.0, 0.1, 2.0, 1.0)):
        store.put(key(number), entry(cost, 1000))
    assert kept(store) == [0, 2, 3]


def test_what_is_large_goes_first() -> None:
    store = Gdsf(max_bytes=2**30, max_items=3)
    for number, size in enumerate((1000, 100_000, 2000, 3000)):
        store.put(key(number), entry(1.0, size))
    assert kept(store) == [0, 2, 3]


def test_what_is_used_seldom_goes_first() -> None:
    store = Gdsf(max_bytes=2**30, max_items=3)
    for number in range(3):
        store.put(key(number), entry(1.0, 1000))
    for number in (0, 0, 2):
        store.get(key(number))
    store.put(key(3), entry(1.0, 1000))
    assert kept(store) == [0, 2, 3]


def test_what_was_dear_but_is_used_no_more_gives_way_in_the_end() -> None:
    store = Gdsf(max_bytes=2**30, max_items=3)
    store.put(key(0), entry(10.0, 1000))
    for turn in range(200):
        store.put(key(1 + turn % 6), entry(1.0, 1000))
        store.get(key(1 + turn % 6))
    assert 0 not in kept(store)


def test_a_cost_of_zero_counts_as_a_small_one() -> None:
    store = Gdsf(max_bytes=2**30, max_items=2)
    store.put(key(0), entry(0.0, 100))
    store.put(key(1), entry(COST_FLOOR, 10_000))
    store.put(key(2), entry(1.0, 100))
    assert kept(store) == [0, 2]


def test_what_was_replaced_and_deleted_leaves_nothing_behind() -> None:
    store = Gdsf(max_bytes=2**30, max_items=3)
    for turn in range(2000):
        store.put(key(turn % 4), entry(1.0 + turn, 1000))
        store.delete(key((turn + 2) % 4))
    assert len(store._heap) <= 2 * 3 + 65
    assert len(store._standings) == store.usage().items


class Definition:
    """GDSF as it is defined, looking at every entry each time."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._inflation = 0.0
        self._number = 0
        self.entries: dict[int, tuple[int, int, float]] = {}  # size, frequency, weight
        self._priorities: dict[int, tuple[float, int]] = {}

    def put(self, number: int, cost: float, size: int) -> None:
        before = self.entries.get(number)
        others = {each: entry for each, entry in self.entries.items() if each != number}
        while sum(each[0] for each in others.values()) + size > self._max_bytes:
            least = min(self.entries, key=lambda each: self._priorities[each])
            self._inflation = self._priorities.pop(least)[0]
            del self.entries[least]
            others.pop(least, None)
            before = None if least == number else before
        self.entries[number] = size, before[1] if before else 0, cost / size
        self.use(number)

    def use(self, number: int) -> None:
        if number in self.entries:
            size, frequency, weight = self.entries[number]
            self.entries[number] = size, frequency + 1, weight
            self._number += 1
            self._priorities[number] = self._inflation + (frequency + 1) * weight, self._number

    def delete(self, number: int) -> None:
        self.entries.pop(number, None)


COSTS = (0.5, 1.0, 1.7, 8.0)
SIZES = (2000, 3000, 5000)
STEPS = st.tuples(
    *(st.sampled_from(["put", "use", "delete"]), st.integers(0, 7)),
    *(st.sampled_from(COSTS), st.sampled_from(SIZES)),
)


@given(st.lists(STEPS, max_size=80))
def test_it_does_as_the_definition_says(steps: list[tuple[str, int, float, int]]) -> None:
    """Costs that are no multiples of each other leave few ties, in which either may go first."""
    store, definition = Gdsf(max_bytes=12_000), Definition(12_000)
    for turn, (action, number, about, size) in enumerate(steps):
        cost = about * (1 + turn / 1e4)
        if action == "put":
            store.put(key(number), entry(cost, size - Gdsf.overhead))
            definition.put(number, cost, size)
        elif action == "use":
            store.get(key(number))
            definition.use(number)
        else:
            store.delete(key(number))
            definition.delete(number)
        assert kept(store) == sorted(definition.entries)


@dataclass(frozen=True)
class Trace:
    """Requests with a Zipf distribution, for things of log-uniform cost and size.

    Args:
        requests: one number each.
        costs: seconds, over three orders of magnitude.
        sizes: bytes, over two.
    """

    requests: npt.NDArray[np.int64]
    costs: npt.NDArray[np.float64]
    sizes: npt.NDArray[np.int64]

    def saved(self, store: Memory) -> float:
        """Computing seconds that ``store`` saves."""
        seconds = 0.0
        for number in self.requests.tolist():
            cost = float(self.costs[number])
            if store.get(key(number)) is not None:
                seconds += cost
            else:
                store.put(key(number), entry(cost, int(self.sizes[number]) - store.overhead))
        return seconds


def trace(seed: int, things: int = 3000, requests: int = 30_000) -> Trace:
    chance = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, things + 1) ** 0.7
    return Trace(
        chance.choice(things, requests, p=popularity / popularity.sum()),
        10 ** chance.uniform(-2, 1, things),
        (10 ** chance.uniform(4, 6, things)).astype(np.int64),
    )


@pytest.mark.parametrize("seed", range(3))
def test_it_saves_twice_the_computing_time_that_lru_saves(seed: int) -> None:
    given = trace(seed)
    twentieth = int(given.sizes.sum() // 20)
    by_use, by_worth = given.saved(Lru(max_bytes=twentieth)), given.saved(Gdsf(max_bytes=twentieth))
    assert by_worth >= 2 * by_use
