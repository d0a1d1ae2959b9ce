"""Which policy loads least, told by a clock that only loads move: the policies differ and nothing else does.

Each model is a stand-in of the size and the loading time that were measured of a real one, and they are
asked for one after another. So thousands of requests take a second, and no noise is in the way.
"""

from __future__ import annotations

import itertools
import statistics
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.harness import Case, Result
from benchmarks.tenants import Cost, weights
from mlcache.errors import MlcacheWarning
from mlcache.models import CachedModelRepository, CallableModel
from mlcache.testing import FakeClock

Costs = Mapping[str, Cost]

SHARE = 0.3
"""Of all models' bytes."""

DRIFT, FALLING = 400, 5
"""Where busy tenants change: after so many requests, so many of the busiest become the quietest."""


class Size(NamedTuple):
    """How much is measured: orders of popularity, and requests in each."""

    orders: int
    requests: int


FULL = Size(3, 4000)
QUICK = Size(1, 200)


def compare(costs: Costs, policies: Sequence[str], size: Size = FULL) -> list[Case]:
    """The seconds of loading for each request, one sample an order of popularity.

    Args:
        costs: of each model.
        policies: by their names.
        size: how much is measured.
    """
    mean = Cost(*(statistics.mean(each) for each in zip(*costs.values(), strict=True)))
    kinds = {"these models": costs, "models all alike": dict.fromkeys(costs, mean)}
    return [
        Case(
            f"{models}, busy tenants {'change' if drifts else 'stay busy'}, memory for {SHARE:.0%} of their "
            "bytes, by a clock that only loads move",
            [_loading(of, policy, size, drifts=drifts) for policy in policies],
        )
        for (models, of), drifts in itertools.product(kinds.items(), (False, True))
    ]


def _loading(costs: Costs, policy: str, size: Size, *, drifts: bool) -> Result:
    result, shares = Result(f"mlcache, {policy}"), list[float]()
    for order in range(size.orders):
        seconds, loads = _replay(costs, policy, _requests(costs, size.requests, order, drifts=drifts))
        result.samples.append(seconds / size.requests)
        shares.append(loads / size.requests)
    result.remark = f"loading a request, {statistics.median(shares):.0%} load"
    return result


def _replay(costs: Costs, policy: str, requests: Iterator[str]) -> tuple[float, int]:
    """Seconds and number of all loads."""
    room = int(SHARE * sum(cost.bytes for cost in costs.values()))
    with FakeClock() as clock, warnings.catch_warnings():
        warnings.simplefilter("ignore", MlcacheWarning)
        store = StandIns(costs, clock)
        with CachedModelRepository(store, max_bytes=room, policy=policy, check_every=None) as models:
            for model_id in requests:
                with models.lease(model_id):
                    pass
            return clock.ticks(), models.info().loads


def _requests(costs: Costs, count: int, order: int, *, drifts: bool) -> Iterator[str]:
    luck = np.random.default_rng(order)
    ids = luck.permutation(list(costs)).tolist()
    for _ in range(0, count, DRIFT):
        yield from luck.choice(ids, min(DRIFT, count), p=weights(len(ids))).tolist()
        if drifts:
            ids = ids[FALLING:] + ids[:FALLING]


class StandIns:
    """A store whose models take what real ones take, and do nothing.

    Args:
        costs: of each model.
        clock: by which they take time to load.
    """

    def __init__(self, costs: Costs, clock: FakeClock) -> None:
        self._costs = costs
        self._clock = clock

    def get_model(self, model_id: str, /) -> CallableModel:
        """A stand-in, after its time."""
        size, seconds = self._costs[model_id]
        self._clock.advance(seconds)
        return CallableModel(_nothing, size=int(size))


def _nothing(_: object) -> list[float]:
    return []
