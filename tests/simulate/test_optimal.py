"""Belady's policy and the bound, against the best of all choices where these can be tried."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcache.simulate.optimal import belady, bound, next_uses
from mlcache.simulate.score import score
from mlcache.simulate.study import OFFLINE, STORES, simulate
from mlcache.trace.synthetic import NAMES, Shape, make
from mlcache.trace.workload import Workload

KEYS = st.lists(st.integers(0, 4), min_size=1, max_size=12)
ROOM = st.integers(1, 12)
SIZES = st.lists(st.integers(1, 6), min_size=5, max_size=5)


def workload(keys: list[int], sizes: list[int], costs: list[float] | None = None) -> Workload:
    times = np.arange(len(keys), dtype=np.float64)
    return Workload(
        np.array(keys), times, np.array(costs or [1.0] * len(sizes), dtype=np.float64), np.array(sizes)
    )


def best_of_all(work: Workload, max_bytes: int, worth: tuple[float, ...]) -> float:
    """The most that any choices of what to keep after each call can save, by trying them all."""
    keys, sizes = work.keys.tolist(), work.sizes.tolist()

    @cache
    def most(place: int, kept: frozenset[int]) -> float:
        if place == len(keys):
            return 0.0
        there = kept | {keys[place]}
        choices = (
            frozenset(choice)
            for number in range(len(there) + 1)
            for choice in itertools.combinations(sorted(there), number)
            if sum(sizes[key] for key in choice) <= max_bytes
        )
        gain = worth[keys[place]] if keys[place] in kept else 0.0
        return gain + max(most(place + 1, choice) for choice in choices)

    return most(0, frozenset())


def test_the_next_use_of_each_call_is_found() -> None:
    assert next_uses(workload([0, 1, 0, 0, 2, 1], [1] * 3)).tolist() == [2, 5, 3, 6, 6, 6]


@given(keys=KEYS, room=st.integers(1, 5))
def test_with_one_size_belady_has_the_most_hits_there_can_be(keys: list[int], room: int) -> None:
    work = workload(keys, [1] * 5)
    assert belady(work, room).sum() == best_of_all(work, room, (1.0,) * 5)


@given(keys=KEYS, sizes=SIZES, costs=st.lists(st.integers(1, 9), min_size=5, max_size=5), room=ROOM)
def test_nothing_exceeds_the_bound_in_any_measure(
    keys: list[int], sizes: list[int], costs: list[int], room: int
) -> None:
    work = workload(keys, sizes, [float(cost) for cost in costs])
    limit = bound(work, room)
    answered = sum(sizes[key] for key in keys)
    nearly = 1 + 1e-9
    assert best_of_all(work, room, (1.0,) * 5) <= limit.hit_rate * len(keys) * nearly
    assert best_of_all(work, room, tuple(map(float, sizes))) <= limit.byte_hit_rate * answered * nearly
    assert best_of_all(work, room, tuple(map(float, costs))) <= limit.seconds_saved * nearly


@given(keys=KEYS, sizes=SIZES, room=ROOM)
def test_belady_keeps_within_its_room(keys: list[int], sizes: list[int], room: int) -> None:
    work = workload(keys, sizes)
    hits, uses = belady(work, room), next_uses(work)
    used = np.zeros(len(keys))
    for place in range(len(keys)):
        if uses[place] < len(keys) and hits[uses[place]]:
            used[place : uses[place]] += sizes[keys[place]]
    assert (used <= room).all()


def test_the_bound_is_tight_where_all_fits_and_for_a_scan() -> None:
    work = make("zipf", Shape(keys=100, calls=5_000))
    everything = bound(work, int(work.sizes.sum()))
    assert everything.hit_rate == pytest.approx(1 - len(work.asked) / 5_000)
    scan = make("scan", Shape(keys=100, calls=20_000, sizes=(10, 10)))
    assert bound(scan, 200).hit_rate == pytest.approx(0.2, abs=0.005)
    assert belady(scan, 200).mean() == pytest.approx(0.2, abs=0.005)


def test_what_is_over_by_its_next_use_is_no_hit() -> None:
    work = workload([0, 1, 0, 0, 1], [1, 1])
    assert belady(work, 2, ttl=2.0).tolist() == [False, False, False, True, False]
    assert belady(work, 2, ttl=2.5).tolist() == [False, False, True, False, False]
    assert bound(work, 2, ttl=2.0).hit_rate == pytest.approx(1 / 5)
    assert bound(work, 2, ttl=2.5).hit_rate == pytest.approx(2 / 5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ttl", [None, 5.0])
def test_no_store_exceeds_the_bound(name: str, ttl: float | None) -> None:
    work = make(name, Shape(keys=300, calls=5_000))
    study = simulate(work, policies=STORES + OFFLINE, fractions=(0.02, 0.1, 0.4, 1.0), ttl=ttl)
    for limit in study.curve("bound"):
        for point in study.points:
            if point.fraction == limit.fraction:
                for what in ("hit_rate", "byte_hit_rate", "share_saved"):
                    reached = getattr(point.score, what)
                    assert reached <= getattr(limit.score, what) + 1e-9, (point, limit)


def test_no_store_has_more_hits_than_belady_where_all_sizes_are_the_same() -> None:
    work = make("mixed", Shape(keys=300, calls=5_000, sizes=(1_000, 1_000)))
    study = simulate(work, policies=("lru", "lfu", "gdsf", "rr", "belady"), fractions=(0.05, 0.3))
    for best in study.curve("belady"):
        reached = [point.score.hit_rate for point in study.points if point.fraction == best.fraction]
        assert max(reached) == best.score.hit_rate
    assert score(work, belady(work, 10**9)).hit_rate == pytest.approx(1 - len(work.asked) / len(work))
