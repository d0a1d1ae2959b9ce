"""When a worker that died is replaced."""

from __future__ import annotations

import random

import pytest

from mlcache.offload.backoff import FIRST, LONGEST, LONGEST_READY, TRIES, Backoff


@pytest.fixture(params=[0.5, 1.0])
def share(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """The share of the longest wait that chance leaves: the least or the most."""
    least = request.param == 0.5

    def uniform(low: float, high: float) -> float:
        return low if least else high

    monkeypatch.setattr(random, "uniform", uniform)
    return float(request.param)


def test_the_first_death_is_made_good_at_once_and_each_more_takes_twice_as_long(share: float) -> None:
    backoff = Backoff()
    waits = [backoff.delay()]
    for _ in range(4):
        backoff.died()
        waits.append(backoff.delay())
    assert waits == [0.0, 0.0, *(share * FIRST * 2**number for number in range(3))]


def test_no_wait_is_longer_than_the_longest(share: float) -> None:
    backoff = Backoff()
    for _ in range(5000):
        backoff.died()
    assert backoff.delay() == share * LONGEST_READY
    backoff.failed_to_start(OSError())
    assert backoff.delay() == share * LONGEST


def test_a_start_that_fails_counts_as_a_death(share: float) -> None:
    backoff = Backoff()
    backoff.failed_to_start(OSError())
    assert backoff.delay() == 0.0
    backoff.failed_to_start(OSError())
    assert backoff.delay() == share * FIRST


def test_an_answer_forgives_all_deaths_and_a_start_all_failures_to_start() -> None:
    backoff, reason = Backoff(), OSError("no memory")
    for number in range(TRIES):
        assert not backoff.is_broken, number
        backoff.failed_to_start(reason)
    assert backoff.is_broken
    assert backoff.reason is reason
    backoff.started()
    assert not backoff.is_broken
    assert backoff.reason is None
    assert backoff.delay() > 0, "that it starts says nothing of the calls that it dies of"
    backoff.succeeded()
    assert backoff.delay() == 0.0


def test_not_all_go_in_step() -> None:
    backoff = Backoff()
    for _ in range(20):
        backoff.died()
    waits = {backoff.delay() for _ in range(100)}
    assert len(waits) > 50
    assert LONGEST_READY / 2 <= min(waits) <= max(waits) <= LONGEST_READY
