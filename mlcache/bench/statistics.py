"""Statistics of few samples of times, which follow no known distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

EXACT = 20_000
"""So many ways to divide the samples are gone through; where there are more, the normal law stands in."""

Samples = Sequence[float]


def interval(samples: Samples, level: float = 0.95) -> tuple[float, float]:
    """Confidence interval of the median, between two order statistics, as the sign test has it.

    It holds the median at least as often as ``level`` says, whatever the distribution (Thompson 1936).
    Where there are too few samples for that it is their range, and ``tells`` is false.

    Args:
        samples: at least one.
        level: of confidence.
    """
    ordered = sorted(samples)
    left_off = max(_rank(len(ordered), level) - 1, 0)
    return float(ordered[left_off]), float(ordered[-1 - left_off])


def tells(count: int, level: float = 0.95) -> bool:
    """Whether so many samples are enough for an interval of the level: six for 95 %."""
    return _rank(count, level) > 0


def ratio(after: Samples, before: Samples, level: float = 0.95) -> tuple[float, float, float]:
    """How many times as large the samples have become: the estimate and its confidence interval.

    The median of the ratios of all pairs of samples, and the interval of those ratios that the test of
    ``mann_whitney`` would not be sure to differ from (Hodges and Lehmann 1963), whatever the distribution.
    Where there are too few samples for the level it is the range of the ratios. NaN where not all samples
    before are above zero.
    """
    if min(before) <= 0:
        return math.nan, math.nan, math.nan
    ratios = np.sort(np.divide.outer(np.asarray(after), np.asarray(before)), axis=None)
    left_off = max(_rank_of_pairs(len(after), len(before), level) - 1, 0)
    return float(np.median(ratios)), float(ratios[left_off]), float(ratios[-1 - left_off])


def paired_difference(one: Samples, other: Samples, level: float = 0.95) -> tuple[float, float, float]:
    """The median of ``one - other`` over samples taken side by side, with its interval."""
    differences = [mine - its for mine, its in zip(one, other, strict=False)]
    return float(np.median(differences)), *interval(differences, level)


def mann_whitney(one: Samples, other: Samples) -> float:
    """Two-sided p-value of the rank test of Mann and Whitney (1947): that neither tends to be larger.

    Exact by going through all ways to divide the samples where these are few, ties included; else
    by the normal law, corrected for ties and for continuity.
    """
    ranks = _ranks(np.asarray([*one, *other], dtype=np.float64))
    first = len(one)
    if not first or first == len(ranks) or np.ptp(ranks) == 0:
        return 1.0
    if math.comb(len(ranks), first) <= EXACT:
        return _exact(ranks, first)
    return _normal(ranks, first)


def least_p(one: int, other: int) -> float:
    """The least p-value that ``mann_whitney`` can find for so many samples each."""
    return min(1.0, 2 / math.comb(one + other, one))


def adjusted(p_values: Samples) -> list[float]:
    """P-values of many tests at once, after Benjamini and Hochberg (1995): control of false discoveries."""
    order = np.argsort(p_values)[::-1]
    count, least, found = len(p_values), 1.0, [1.0] * len(p_values)
    for place, index in enumerate(order.tolist()):
        least = min(least, p_values[index] * count / (count - place))
        found[index] = least
    return found


def _rank(count: int, level: float) -> int:
    """The rank, from below and from above, of the samples at an interval's ends; zero where there is none."""
    ways, number = 0, 0
    while number < count / 2 and 2 * (ways + math.comb(count, number)) <= (1 - level) * 2**count:
        ways += math.comb(count, number)
        number += 1
    return number


def _rank_of_pairs(one: int, other: int, level: float) -> int:
    """The rank, from below and from above, of the pairs at an interval's ends; zero where there is none."""
    if math.comb(one + other, one) > EXACT:
        deviation = math.sqrt(one * other * (one + other + 1) / 12)
        off = NormalDist().inv_cdf((1 + level) / 2) * deviation
        return max(int(one * other / 2 + 0.5 - off), 0)
    below = np.cumsum(_ways(one, other)) / math.comb(one + other, one)
    return int(np.searchsorted(below, (1 - level) / 2, side="right"))


def _ways(one: int, other: int) -> NDArray[np.int64]:
    """By number of pairs that are one way round, in how many orders of all samples they are."""
    ways = np.zeros(one * other + 1, dtype=np.int64)
    ways[0] = 1
    for number in range(1, one + 1):
        ways[other + number :] -= ways[: -(other + number)].copy()
        for place in range(number, len(ways)):
            ways[place] += ways[place - number]
    return ways


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[place], dtype=np.float64)


def _exact(ranks: NDArray[np.float64], first: int) -> float:
    middle = first * (len(ranks) + 1) / 2
    off = abs(float(ranks[:first].sum()) - middle)
    sums = [abs(sum(chosen) - middle) for chosen in combinations(ranks.tolist(), first)]
    return float(sum(each >= off - 1e-9 for each in sums)) / len(sums)


def _normal(ranks: NDArray[np.float64], first: int) -> float:
    count = len(ranks)
    second = count - first
    _, ties = np.unique(ranks, return_counts=True)
    tied = float((ties.astype(np.float64) ** 3 - ties).sum()) / (count * (count - 1))
    deviation = math.sqrt(first * second / 12 * (count + 1 - tied))
    off = abs(float(ranks[:first].sum()) - first * (count + 1) / 2) - 0.5
    return min(1.0, math.erfc(max(off, 0.0) / deviation / math.sqrt(2)))
