"""Studies: what policies save at several sizes."""

from __future__ import annotations

from statistics import median
from typing import Any

import pytest

from mlcache.errors import ConfigurationError
from mlcache.simulate.study import POLICIES, scaled, simulate
from mlcache.trace.synthetic import NAMES, Shape, make

SMALL = make("zipf", Shape(keys=200, calls=3_000))


@pytest.mark.parametrize(("exponent", "times"), [(0.7, 2.0), (1.0, 1.3)])
def test_gdsf_saves_more_computing_time_than_lru(exponent: float, times: float) -> None:
    """With the costs of other seeds, too: the key asked for most has a tenth of the calls by itself."""
    shape = Shape(keys=20_000, calls=300_000, exponent=exponent, costs=(0.001, 1.0), sizes=(1e3, 1e5))
    ratios: list[float] = []
    for seed in range(3):
        study = simulate(make("zipf", shape, seed=seed), policies=("lru", "gdsf"), fractions=(0.05,))
        lru, gdsf = study.points
        ratios.append(gdsf.score.seconds_saved / lru.score.seconds_saved)
    assert median(ratios) >= times


def test_where_costs_and_sizes_are_the_same_gdsf_has_nothing_to_weigh() -> None:
    work = make("zipf", Shape(keys=1_000, calls=20_000, costs=(0.1, 0.1), sizes=(10_000, 10_000)))
    lfu, gdsf = simulate(work, policies=("lfu", "gdsf"), fractions=(0.1,)).points
    assert gdsf.score.seconds_saved == pytest.approx(lfu.score.seconds_saved, rel=0.1)


def test_a_study_has_a_point_for_each_policy_and_size_in_rising_order() -> None:
    advanced: list[int] = []
    study = simulate(SMALL, fractions=(0.5, 0.1, 0.1), advance=lambda: advanced.append(1))
    assert [point.policy for point in study.points] == 2 * list(POLICIES)
    assert [point.fraction for point in study.curve("lru")] == [0.1, 0.5]
    assert len(advanced) == len(study.points)
    assert study.calls == 3_000
    assert study.seconds == SMALL.seconds
    assert study.points[0].max_bytes == int(0.1 * study.working_set)


def test_processes_that_share_the_work_come_to_the_same() -> None:
    alone = simulate(SMALL, fractions=(0.1, 0.5), ttl=30.0)
    assert simulate(SMALL, fractions=(0.1, 0.5), ttl=30.0, jobs=2) == alone


@pytest.mark.parametrize("name", NAMES)
def test_more_room_saves_more_in_lru(name: str) -> None:
    work = make(name, Shape(keys=200, calls=3_000))
    curve = simulate(work, policies=("lru",), fractions=(0.05, 0.2, 0.5, 1.0)).curve("lru")
    rates = [point.score.hit_rate for point in curve]
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(1 - len(work.asked) / len(work))


def test_the_best_is_the_store_that_saves_the_most_seconds() -> None:
    study = simulate(SMALL, fractions=(0.1,))
    best = study.best(0.1)
    assert best is not None
    assert best.policy == "gdsf"
    assert simulate(SMALL, policies=("bound",), fractions=(0.1,)).best(0.1) is None


def test_scaling_a_sample_leaves_shares_as_they_are() -> None:
    study = simulate(SMALL, policies=("lru",), fractions=(0.1,))
    half = scaled(study, 0.5)
    assert (half.calls, half.seconds, half.sample) == (2 * study.calls, 2 * study.seconds, 0.5)
    assert half.points[0].score.seconds_saved == 2 * study.points[0].score.seconds_saved
    assert half.points[0].score.share_saved == study.points[0].score.share_saved
    assert half.points[0].fraction == 0.1


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"policies": ["mru"]}, "no policy 'mru' to simulate: give some of lru, lfu"),
        ({"fractions": [0.0]}, "size 0.0 is no share"),
        ({"fractions": [1.5]}, "size 1.5 is no share"),
        ({"ttl": 0.0}, "ttl is 0.0"),
        ({"jobs": 0}, "jobs is 0"),
    ],
)
def test_what_cannot_be_simulated_is_refused(given: dict[str, Any], part: str) -> None:
    with pytest.raises(ConfigurationError, match=part):
        simulate(SMALL, **given)
