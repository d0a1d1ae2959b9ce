"""Memory policies over sizes, simulated on known patterns: where each saves the most, and where not."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from mlcache.bench.words import number
from mlcache.simulate.study import simulate
from mlcache.trace import synthetic
from mlcache.trace.synthetic import Shape

NAMES = ("lru", "lfu", "gdsf", "bound")
"""The policies, and what none can exceed."""
FRACTIONS = (0.01, 0.05, 0.2, 0.5)
NEAR = 0.005
"""A share of the computing time that is no difference worth a word."""

SHAPE = Shape(keys=2000, calls=30_000)
PATTERNS: dict[str, tuple[str, Shape]] = {
    "Zipf 0.7": ("zipf", msgspec.structs.replace(SHAPE, exponent=0.7)),
    "Zipf 1.0": ("zipf", msgspec.structs.replace(SHAPE, exponent=1.0)),
    "Zipf 0.9, one cost and size": (
        "zipf",
        msgspec.structs.replace(SHAPE, costs=(0.03, 0.03), sizes=(10_000, 10_000)),
    ),
    "a shifting working set": ("shifting", SHAPE),
    "a scan": ("scan", SHAPE),
    "bursts": ("bursts", SHAPE),
}
"""Traffic by name; costs lie over three orders of magnitude and sizes over two where nothing else is said."""


class Curves(msgspec.Struct):
    """The share of the computing time that each policy saves of one pattern, by size.

    Args:
        pattern: of the traffic.
        fractions: sizes, as shares of the working set.
        saved: by policy, a number a size.
    """

    pattern: str
    fractions: list[float]
    saved: dict[str, list[float]]


def study(patterns: Sequence[str] = tuple(PATTERNS), shape: Shape | None = None) -> list[Curves]:
    """The curves of the patterns, all of them where nothing is said; ``shape`` stands for theirs."""
    found: list[Curves] = []
    for pattern in patterns:
        workload, usual = PATTERNS[pattern]
        studied = simulate(synthetic.make(workload, shape or usual), policies=NAMES, fractions=FRACTIONS)
        saved = {name: [point.score.share_saved for point in studied.curve(name)] for name in NAMES}
        found.append(Curves(pattern, list(FRACTIONS), saved))
    return found


def in_words(curves: Curves) -> str:
    """Who saves the most at which size, and by how much ``gdsf`` is ahead of ``lru`` or behind the best."""
    said = [_at(curves, position) for position in range(len(curves.fractions))]
    return f"Of the computing time {'; '.join(said)}."


def _at(curves: Curves, position: int) -> str:
    stores = {name: values[position] for name, values in curves.saved.items() if name != "bound"}
    size = f"{curves.fractions[position]:.0%}".replace("%", " %")
    best = max(stores, key=lambda name: stores[name])
    behind = {name: saved for name, saved in stores.items() if name != best}
    second = max(behind, key=lambda name: behind[name])
    if stores[best] < NEAR:
        return f"at {size} nothing saves any"
    if stores[best] - behind[second] < NEAR:
        return f"at {size} {best} and {second} save {number('net', stores[best])}"
    rest = ", ".join(f"{name} {number('net', saved)}" for name, saved in behind.items())
    return f"at {size} {best} saves {number('net', stores[best])} ({rest})"
