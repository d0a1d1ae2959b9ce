"""Workloads: patterns of traffic, drawn by chance or recorded, with payloads to their keys."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlcache.bench import words
from mlcache.bench.payloads import payload
from mlcache.bench.work import Work, identity_of
from mlcache.errors import ConfigurationError
from mlcache.trace import synthetic
from mlcache.trace.workload import Workload

STAMPEDE = "stampede"
NAMES = (*synthetic.NAMES, STAMPEDE)

WAIT = 0.0005
"""Seconds that a replay waits for an answer on average; longer ones are scaled down, see ``scaled``."""

ROOM = 2**30
"""Bytes of the answers that are made for a replay at most: all are in memory at once."""

PATIENCE = 4.0
"""Seconds that each of many callers waits for answers at most in a replay, see ``capped``."""
LEAST = 3
"""Calls that each of them makes at least."""
COLD = 12
"""Keys of a stampede at most: each takes as long as its answer, for all who ask."""


class Size(msgspec.Struct, frozen=True):
    """How much is replayed.

    Args:
        keys: distinct calls.
        calls: calls made, the warm-up included.
        repetitions: so many orders are drawn.
        exponent: of Zipf's law.
        costs: least and greatest seconds that an answer takes to compute.
    """

    keys: int = 120
    calls: int = 480
    repetitions: int = 7
    exponent: float = 0.9
    costs: tuple[float, float] = (0.005, 0.05)


def work(workload: str, payload_name: str, size: Size) -> Work:
    """The work of a known pattern: the same arguments, the same work.

    Args:
        workload: one of ``NAMES``.
        payload_name: one of ``payloads.PAYLOADS``.
        size: how much.

    Raises:
        ConfigurationError: there is no such workload or payload, or its answers take more than ``ROOM``.
    """
    if workload not in NAMES:
        raise ConfigurationError(f"there is no workload {workload!r}: give one of {', '.join(NAMES)}")
    kind = payload(payload_name)
    shape = synthetic.Shape(
        keys=size.keys, calls=size.calls, exponent=size.exponent, costs=size.costs, sizes=kind.sizes
    )
    if workload == STAMPEDE:
        return _stampede(payload_name, shape, size)
    drawn = [synthetic.make(workload, shape, seed=seed) for seed in range(size.repetitions)]
    if (total := int(drawn[0].sizes.sum())) > ROOM:
        raise ConfigurationError(
            f"the answers of {size.keys:,} calls take {words.size(total)}, and a replay makes at most "
            f"{words.size(ROOM)}: give fewer --keys, or a smaller --payload"
        )
    orders = [each.keys for each in drawn]
    return _with_payload(workload, payload_name, drawn[0], orders, size.calls // 3)


def recorded(trace: Workload, payload_name: str, calls: int) -> Work:
    """The first calls of a recorded trace, with a payload as large as the recorded answers.

    Args:
        trace: what was recorded: its costs and sizes hold, its times are not waited for.
        payload_name: one of ``payloads.PAYLOADS``; the trace knows keys, not arguments.
        calls: how many are replayed at most; fewer where their answers take more than ``ROOM``.

    Raises:
        ConfigurationError: there are no calls, or none whose answers there is room for.
    """
    if not len(trace):
        raise ConfigurationError("the trace has no calls: record some, see the how-to on traces")
    calls = min(calls, _fitting(trace))
    asked, order = np.unique(trace.keys[:calls], return_inverse=True)
    cut = Workload(
        keys=order.astype(np.int64),
        times=trace.times[:calls],
        costs=trace.costs[asked],
        sizes=trace.sizes[asked],
    )
    made = _with_payload("trace", payload_name, cut, [cut.keys], len(cut) // 3)
    return msgspec.structs.replace(made, available=len(trace))


def _fitting(trace: Workload) -> int:
    """How many of the first calls have answers that take no more than ``ROOM`` together."""
    asked, first = np.unique(trace.keys, return_index=True)
    new = np.zeros(len(trace))
    new[first] = trace.sizes[asked]
    count = int(np.searchsorted(np.cumsum(new), ROOM, side="right"))
    if count < min(LEAST, len(trace)):
        raise ConfigurationError(
            f"the first answers of the trace take {words.size(float(new[:LEAST].sum()))}, and a replay makes "
            f"at most {words.size(ROOM)}: mlcache simulate replays it without making any"
        )
    return count


def scaled(work: Work) -> Work:
    """The same work, replayed faster: waits are shortened, all by one factor, to ``WAIT`` on average.

    It is for one caller: it changes nothing but how long the replay takes, as what a cache takes is measured
    beside the waits. Of many callers one waits for what another computes, and would wait too little.
    """
    mean = float(work.costs[work.order(0)].mean())
    return msgspec.structs.replace(work, scale=min(1.0, WAIT / mean) if mean > 0 else 1.0)


def capped(work: Work, callers: int) -> Work:
    """The first calls of a work whose waits are whole, so few that a replay takes ``PATIENCE`` at most.

    Args:
        work: of one order.
        callers: who share the calls.
    """
    waited = np.cumsum(work.costs[work.order(0)]) / callers
    return work.first(max(int(np.searchsorted(waited, PATIENCE, side="right")), LEAST * callers))


def _stampede(payload_name: str, shape: synthetic.Shape, size: Size) -> Work:
    """Cold keys one after the other, which everybody asks for at once."""
    cold = max(min(shape.keys, COLD), 2)
    few = msgspec.structs.replace(shape, keys=cold, calls=cold)
    drawn = synthetic.make("uniform", few)
    orders = [np.random.default_rng(seed).permutation(cold) for seed in range(size.repetitions)]
    made = _with_payload(STAMPEDE, payload_name, drawn, orders, 1)
    return msgspec.structs.replace(made, together=True)


def _with_payload(
    name: str, payload_name: str, drawn: Workload, orders: list[NDArray[np.int64]], warm: int
) -> Work:
    kind = payload(payload_name)
    numbers = range(len(drawn.costs))
    return Work(
        workload=name,
        payload=payload_name,
        orders=orders,
        warm=warm,
        calls=[((kind.argument(number),), {}) for number in numbers],
        answers=[kind.answer(number, int(drawn.sizes[number])) for number in numbers],
        costs=drawn.costs,
        sizes=drawn.sizes,
        identity=identity_of(orders[0]),
    )
