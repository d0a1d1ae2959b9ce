"""Synthetic workloads: patterns of traffic that are known, each the same for the same seed."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlcache.errors import ConfigurationError
from mlcache.trace.workload import Workload

WINDOW = 0.1
"""The share of the keys that a shifting working set has at a time."""
STAGES = 20
"""How often the working set shifts, each time by half of itself, so that it has passed over all keys once."""
BURST = 50
"""Calls that a burst has on average."""
HASTE = 10
"""How many times as fast as other calls those of a burst come."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """How large a workload is, and between which bounds costs and sizes lie.

    Args:
        keys: how many keys there are; not each needs to be asked for.
        calls: how many calls there are.
        exponent: of Zipf's law: the key of rank r is asked for in proportion to r ** -exponent; 0 is uniform.
        rate: calls a second.
        costs: least and greatest seconds that a value takes to compute, drawn log-uniformly.
        sizes: least and greatest bytes of a value, drawn log-uniformly and independently of the cost.

    Raises:
        ConfigurationError: a number is out of its range.
    """

    keys: int = 20_000
    calls: int = 300_000
    exponent: float = 0.9
    rate: float = 100.0
    costs: tuple[float, float] = (0.001, 1.0)
    sizes: tuple[float, float] = (1_000, 100_000)

    def __post_init__(self) -> None:
        for what in ("keys", "calls", "rate"):
            if not 0 < getattr(self, what) < math.inf:
                raise ConfigurationError(f"{what} is {getattr(self, what)!r}: give a number above zero")
        if not 0 <= self.exponent < math.inf:
            raise ConfigurationError(f"exponent is {self.exponent!r}: give zero, which is uniform, or more")
        for what in ("costs", "sizes"):
            low, high = getattr(self, what)
            if not 0 < low <= high < math.inf:
                raise ConfigurationError(
                    f"{what} are {getattr(self, what)!r}: give the least and the greatest, both above zero"
                )


Numbers = NDArray[np.int64]
Pattern = Callable[[Shape, np.random.Generator], Numbers]


def make(name: str, shape: Shape | None = None, *, seed: int = 0) -> Workload:
    """The workload of a known pattern: the same arguments, the same workload.

    Args:
        name: one of ``NAMES``: ``uniform``; ``zipf``, where few keys are asked for often; ``shifting``, a
            working set that moves; ``scan``, all keys in their order, over and over; ``bursts``, one
            key many times in a short while, between calls by Zipf's law; ``mixed``, all of them by turns.
        shape: its size and bounds; None: 20,000 keys and 300,000 calls.
        seed: of the random numbers.

    Raises:
        ConfigurationError: there is no such pattern.
    """
    if name not in _PATTERNS:
        raise ConfigurationError(f"there is no workload {name!r}: give one of {', '.join(NAMES)}")
    shape = shape or Shape()
    rng = np.random.default_rng(seed)
    costs = _log_uniform(shape.costs, shape.keys, rng)
    sizes = _log_uniform(shape.sizes, shape.keys, rng).astype(np.int64)
    keys = _PATTERNS[name](shape, rng)
    gaps = rng.exponential(1 / shape.rate, len(keys))
    if name == "bursts":
        gaps[1:][keys[1:] == keys[:-1]] /= HASTE
    times = np.cumsum(gaps)
    return Workload(keys=keys, times=times - times[0], costs=costs, sizes=sizes)


def _uniform(shape: Shape, rng: np.random.Generator) -> Numbers:
    return rng.integers(shape.keys, size=shape.calls)


def _zipf(shape: Shape, rng: np.random.Generator) -> Numbers:
    return _ranks(shape.keys, shape.calls, shape.exponent, rng)


def _shifting(shape: Shape, rng: np.random.Generator) -> Numbers:
    """By Zipf's law among a tenth of the keys, which changes by half of itself from stage to stage."""
    width = max(2, int(shape.keys * WINDOW))
    stages = [
        rng.permutation(np.arange(stage * (width // 2), stage * (width // 2) + width) % shape.keys)
        for stage in range(STAGES)
    ]
    ranks = _ranks(width, shape.calls, shape.exponent, rng)
    stage_of = np.arange(shape.calls) * STAGES // shape.calls
    return np.asarray(stages, dtype=np.int64)[stage_of, ranks]


def _scan(shape: Shape, rng: np.random.Generator) -> Numbers:
    return (np.arange(shape.calls) + rng.integers(shape.keys)) % shape.keys


def _bursts(shape: Shape, rng: np.random.Generator) -> Numbers:
    """Single calls by Zipf's law, and after each ``BURST`` of them one key, any, as many times on average."""
    keys = _zipf(shape, rng)
    end = 0
    while (start := end + int(rng.geometric(1 / BURST))) < shape.calls:
        end = start + int(rng.geometric(1 / BURST))
        keys[start:end] = rng.integers(shape.keys)
    return keys


def _mixed(shape: Shape, rng: np.random.Generator) -> Numbers:
    """The other patterns by turns: for each call one of them is drawn, and goes on where it was."""
    others = [pattern for name, pattern in _PATTERNS.items() if name != "mixed"]
    turn = rng.integers(len(others), size=shape.calls)
    keys = np.empty(shape.calls, dtype=np.int64)
    for number, pattern in enumerate(others):
        mine = np.flatnonzero(turn == number)
        if len(mine):
            keys[mine] = pattern(msgspec.structs.replace(shape, calls=len(mine)), rng)
    return keys


def _ranks(count: int, calls: int, exponent: float, rng: np.random.Generator) -> Numbers:
    """Ranks from 0 by Zipf's law over ``count`` keys, drawn through the inverse of its distribution."""
    shares = np.cumsum(np.arange(1, count + 1, dtype=np.float64) ** -exponent)
    drawn: Numbers = np.searchsorted(shares[:-1], rng.random(calls) * shares[-1], side="right")
    return drawn


def _log_uniform(bounds: tuple[float, float], count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    return np.exp(rng.uniform(math.log(bounds[0]), math.log(bounds[1]), count))


_PATTERNS: dict[str, Pattern] = {
    "uniform": _uniform,
    "zipf": _zipf,
    "shifting": _shifting,
    "scan": _scan,
    "bursts": _bursts,
    "mixed": _mixed,
}
NAMES = tuple(_PATTERNS)
