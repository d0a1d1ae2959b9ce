"""Statistics of few samples of times, which follow no known distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
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
    """The ratio of two medians with its bootstrap confidence interval: ratio, low, high.

    The samples are drawn independently; NaN where ``before`` has a median of zero.
    """
    base = float(np.median(before))
    if base == 0:
        return math.nan, math.nan, math.nan
    above = np.median(_drawn(after, seed=1), axis=1)
    below = np.median(_drawn(before, seed=2), axis=1)
    ratios = above / np.where(below == 0, base, below)
    return float(np.median(after)) / base, *_bounds(ratios, level)


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


def _drawn(samples: Samples, seed: int) -> NDArray[np.float64]:
    values = np.asarray(samples, dtype=np.float64)
    rng = np.random.default_rng(seed)
    return values[rng.integers(len(values), size=(DRAWS, len(values)))]


def _bounds(values: NDArray[np.float64], level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


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
