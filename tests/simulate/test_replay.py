"""Replays, against what a store is known to do and against the cache itself."""

from __future__ import annotations

import time
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from mlcache import clock, ml_cache, open_backend
from mlcache.simulate.replay import Store, replay
from mlcache.simulate.score import score
from mlcache.testing import FakeClock
from mlcache.trace.reading import load
from mlcache.trace.recorder import Recorder
from mlcache.trace.synthetic import Shape, make
from mlcache.trace.workload import Workload


def store(url: str) -> Store:
    return cast("Store", open_backend(url))


def workload(keys: list[int], times: list[float] | None = None) -> Workload:
    return Workload(
        np.array(keys),
        np.arange(len(keys), dtype=np.float64) if times is None else np.array(times),
        np.array([1.0, 2.0, 4.0]),
        np.array([1_000, 2_000, 4_000]),
    )


def test_a_call_is_a_hit_if_the_store_has_the_answer() -> None:
    hits = replay(workload([0, 1, 0, 2, 1, 0]), store("lru?max_items=2"))
    assert hits.tolist() == [False, False, True, False, False, False]


def test_what_is_too_large_is_computed_each_time() -> None:
    hits = replay(workload([2, 2, 0, 0]), store("lru?max_bytes=2KiB"))
    assert hits.tolist() == [False, False, False, True]


def test_the_measures_weigh_the_same_hits_by_calls_bytes_and_seconds() -> None:
    work = workload([0, 0, 2, 2, 1])
    result = score(work, replay(work, store("lru?max_bytes=1MiB")))
    assert result.hit_rate == 2 / 5
    assert result.byte_hit_rate == 5_000 / 12_000
    assert result.seconds_saved == 5.0
    assert result.share_saved == 5 / 12


@pytest.mark.parametrize("policy", ["lru", "ttl"])
def test_with_a_ttl_an_answer_serves_for_so_long_from_its_computation(policy: str) -> None:
    work = workload([0, 0, 0, 0, 0], [0.0, 5.0, 9.5, 10.0, 19.0])
    hits = replay(work, store(f"{policy}?max_bytes=1MiB"), ttl=10.0)
    assert hits.tolist() == [False, True, True, False, True]
    assert clock.now is time.time


def test_the_policy_ttl_evicts_what_is_over_first() -> None:
    work = workload([0, 1, 0, 2, 1], [0.0, 5.0, 6.0, 11.0, 12.0])
    assert replay(work, store("ttl?max_items=2"), ttl=10.0).tolist() == [False, False, True, False, True]
    assert replay(work, store("lru?max_items=2"), ttl=10.0).tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("policy", ["lru", "lfu", "ttl", "gdsf"])
@pytest.mark.parametrize("ttl", [None, 20.0])
def test_the_replay_of_a_record_has_the_hits_that_the_service_had(
    policy: str, ttl: float | None, tmp_path: Path
) -> None:
    work = make("zipf", Shape(keys=60, calls=1_500, sizes=(1_000, 50_000)))
    url, pace = f"{policy}?max_bytes=200KB", FakeClock()
    hits: list[bool] = []

    @ml_cache(backend=url, ttl=ttl, ignore=["work", "pace"])
    def compute(number: int) -> bytes:
        pace.advance(float(work.costs[number]))
        return bytes(int(work.sizes[number]))

    with pace, Recorder(tmp_path / "trace"):
        for key in work.keys.tolist():
            hits.append(compute.call_with_info(key).status == "hit")
            pace.advance(0.1)
    recorded = load([tmp_path / "trace"]).workload
    assert 0.1 < np.mean(hits) < 0.9
    assert replay(recorded, store(url), ttl).tolist() == hits
