"""Workloads of known patterns."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from mlcache.errors import ConfigurationError
from mlcache.trace import synthetic
from mlcache.trace.synthetic import NAMES, Shape, make

SMALL = Shape(keys=1_000, calls=20_000)


@pytest.mark.parametrize("name", NAMES)
def test_a_workload_keeps_to_its_shape(name: str) -> None:
    workload = make(name, SMALL)
    assert len(workload) == SMALL.calls == len(workload.times)
    assert len(workload.costs) == len(workload.sizes) == SMALL.keys
    assert workload.times[0] == 0
    assert (np.diff(workload.times) >= 0).all()
    assert 0 <= workload.keys.min() <= workload.keys.max() < SMALL.keys
    assert SMALL.costs[0] <= workload.costs.min() <= workload.costs.max() <= SMALL.costs[1]
    assert SMALL.sizes[0] - 1 <= workload.sizes.min() <= workload.sizes.max() <= SMALL.sizes[1]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_workload_and_another_another(name: str) -> None:
    first, second, other = make(name, SMALL, seed=1), make(name, SMALL, seed=1), make(name, SMALL, seed=2)
    for column in ("keys", "times", "costs", "sizes"):
        assert (getattr(first, column) == getattr(second, column)).all()
    assert (first.keys != other.keys).any()


@pytest.mark.parametrize("exponent", [0.5, 0.7, 1.0, 1.5])
def test_zipf_has_the_exponent_it_was_asked_for(exponent: float) -> None:
    workload = make("zipf", Shape(keys=100, calls=400_000, exponent=exponent))
    counts = np.bincount(workload.keys, minlength=100)
    slope = np.polyfit(np.log(np.arange(1, 41)), np.log(counts[:40]), 1)[0]
    assert slope == pytest.approx(-exponent, abs=0.03)


def test_an_exponent_of_zero_is_uniform() -> None:
    counts = np.bincount(make("zipf", Shape(keys=10, calls=100_000, exponent=0)).keys)
    assert counts.max() < 1.1 * counts.min()


def test_costs_spread_evenly_over_their_orders_of_magnitude() -> None:
    costs = make("uniform", Shape(keys=30_000, calls=10, costs=(0.001, 1.0))).costs
    share = np.histogram(np.log10(costs), bins=[-3, -2, -1, 0])[0] / len(costs)
    assert share == pytest.approx([1 / 3] * 3, abs=0.02)


def test_a_shifting_working_set_is_small_at_a_time_and_passes_over_all_keys() -> None:
    workload = make("shifting", Shape(keys=1_000, calls=40_000, exponent=0.2))
    stages = workload.keys.reshape(synthetic.STAGES, -1)
    assert all(len(np.unique(stage)) <= 100 for stage in stages)
    shared = [len(np.intersect1d(one, two)) for one, two in itertools.pairwise(stages)]
    assert all(40 <= number <= 50 for number in shared)
    assert len(workload.asked) == 1_000


def test_a_scan_asks_for_no_key_again_before_it_had_all_others() -> None:
    keys = make("scan", Shape(keys=100, calls=1_000)).keys
    assert all(len(np.unique(keys[start : start + 100])) == 100 for start in range(901))


def test_bursts_repeat_keys_that_are_otherwise_rare_and_come_faster() -> None:
    workload = make("bursts", Shape(keys=10_000, calls=50_000))
    again = workload.keys[1:] == workload.keys[:-1]
    gaps = np.diff(workload.times)
    assert 0.4 < again.mean() < 0.6
    assert gaps[again].mean() < gaps[~again].mean() / 5


def test_a_mixed_workload_has_the_others_in_it() -> None:
    workload = make("mixed", Shape(keys=1_000, calls=50_000, exponent=1.2))
    assert len(workload.asked) == 1_000  # the scan
    assert np.bincount(workload.keys)[0] > 5 * np.median(np.bincount(workload.keys))  # Zipf's law


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("keys", [1, 2, 3])
def test_a_workload_may_be_tiny(name: str, keys: int) -> None:
    assert len(make(name, Shape(keys=keys, calls=3))) == 3


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"keys": 0}, "keys is 0"),
        ({"calls": -1}, "calls is -1"),
        ({"rate": float("nan")}, "rate is nan"),
        ({"exponent": -0.5}, "exponent is -0.5"),
        ({"costs": (1.0, 0.1)}, "costs are"),
        ({"sizes": (0, 10)}, "sizes are"),
    ],
)
def test_a_shape_out_of_range_is_refused(change: dict[str, Any], part: str) -> None:
    with pytest.raises(ConfigurationError, match=part):
        Shape(**change)


def test_a_pattern_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'zip': give one of uniform, zipf"):
        make("zip")
