"""Intervals, ratios and rank tests, held against scipy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcache.bench import statistics

NUMBERS = st.lists(st.integers(0, 12).map(float), min_size=2, max_size=5)


def test_the_interval_holds_the_median_and_narrows_with_more_samples() -> None:
    rng = np.random.default_rng(0)
    few, many = rng.normal(10, 1, 8).tolist(), rng.normal(10, 1, 200).tolist()
    (low, high), (lower, upper) = statistics.interval(few), statistics.interval(many)
    assert low <= np.median(few) <= high
    assert upper - lower < (high - low) / 2


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        low, high = statistics.interval(rng.normal(5, 2, 25).tolist())
        held += low <= 5 <= high
    assert 0.88 <= held / 200 <= 1.0


@pytest.mark.parametrize(
    ("count", "rank"), [(1, 1), (5, 1), (6, 1), (7, 1), (8, 1), (9, 2), (12, 3), (25, 8), (100, 40)]
)
def test_the_ends_are_those_samples_that_the_sign_test_leaves(count: int, rank: int) -> None:
    samples = [float(number) for number in range(1, count + 1)]
    assert statistics.interval(samples[::-1]) == (rank, count + 1 - rank)


def test_the_rank_of_the_ends_is_that_of_the_binomial_distribution() -> None:
    binomial = pytest.importorskip("scipy.stats").binom
    for count in range(6, 120):
        low, _ = statistics.interval([float(number) for number in range(1, count + 1)])
        assert 2 * binomial.cdf(low - 1, count, 0.5) <= 0.05 < 2 * binomial.cdf(low, count, 0.5)


def test_six_samples_are_the_fewest_for_an_interval() -> None:
    assert [statistics.tells(count) for count in (1, 5, 6, 7)] == [False, False, True, True]


def test_one_sample_is_its_own_interval() -> None:
    assert statistics.interval([3.0]) == (3.0, 3.0)


def test_a_ratio_has_its_interval_around_it() -> None:
    found, low, high = statistics.ratio([2.0, 2.1, 1.9, 2.0], [1.0, 1.1, 0.9, 1.0])
    assert found == pytest.approx(2.0)
    assert 1.7 < low <= found <= high < 2.4
    assert math.isnan(statistics.ratio([1.0], [0.0])[0])


def test_a_ratio_does_not_hold_what_the_test_is_sure_of_and_holds_all_else() -> None:
    """Its ends are where the test of Mann and Whitney turns, whether that is exact or by the normal law."""
    rng = np.random.default_rng(3)
    for sizes in ((4, 4), (5, 7), (8, 8), (9, 9), (30, 20)):
        after, before = rng.lognormal(1.0, 0.3, sizes[0]), rng.lognormal(0.0, 0.3, sizes[1])
        found, low, high = statistics.ratio(after.tolist(), before.tolist())
        assert low <= found <= high
        for end, outwards in ((low, 1 - 1e-9), (high, 1 + 1e-9)):
            inside, outside = [
                statistics.mann_whitney(after.tolist(), (before * factor).tolist())
                for factor in (end / outwards, end * outwards)
            ]
            assert outside < 0.05 <= inside


def test_a_ratio_of_few_samples_has_their_range() -> None:
    assert statistics.ratio([4.0, 8.0], [1.0, 2.0]) == (4.0, 2.0, 8.0)


def test_nineteen_of_twenty_ratios_hold_the_truth() -> None:
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(300):
        after, before = 3 * rng.lognormal(0, 1, 8), rng.lognormal(0, 1, 7)
        _, low, high = statistics.ratio(after.tolist(), before.tolist())
        held += low <= 3 <= high
    assert 0.92 <= held / 300 <= 1.0


def test_differences_are_of_samples_taken_side_by_side() -> None:
    found, low, high = statistics.paired_difference([1.1, 5.1, 9.1], [1.0, 5.0, 9.0])
    assert found == pytest.approx(0.1)
    assert [low, high] == pytest.approx([0.1, 0.1])


@settings(max_examples=25)
@given(NUMBERS, NUMBERS)
def test_the_exact_test_is_that_of_all_permutations(one: list[float], other: list[float]) -> None:
    scipy = pytest.importorskip("scipy.stats")

    def sum_of_ranks(first: Any, second: Any) -> float:
        return float(scipy.rankdata(np.concatenate([first, second]))[: len(one)].sum())

    middle = len(one) * (len(one) + len(other) + 1) / 2
    expected = scipy.permutation_test(
        (one, other),
        lambda first, second: abs(sum_of_ranks(first, second) - middle),
        vectorized=False,
        alternative="greater",
        n_resamples=np.inf,
    ).pvalue
    assert statistics.mann_whitney(one, other) == pytest.approx(expected)


def test_many_samples_are_judged_by_the_normal_law() -> None:
    scipy = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(2)
    one, other = rng.integers(0, 20, 40).astype(float), rng.integers(3, 23, 30).astype(float)
    expected = scipy.mannwhitneyu(one, other, method="asymptotic").pvalue
    assert statistics.mann_whitney(one.tolist(), other.tolist()) == pytest.approx(expected)


def test_equal_samples_tell_nothing() -> None:
    assert statistics.mann_whitney([1.0, 1.0], [1.0, 1.0]) == 1.0
    assert statistics.mann_whitney([], [1.0]) == 1.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_p_values_are_corrected_as_benjamini_and_hochberg_say(p_values: list[float]) -> None:
    scipy = pytest.importorskip("scipy.stats")
    assert statistics.adjusted(p_values) == pytest.approx(scipy.false_discovery_control(p_values).tolist())
