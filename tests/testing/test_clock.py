"""The clock that stands still."""

from __future__ import annotations

import threading
import time as system
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlcache import clock, ml_cache
from mlcache.testing import FakeClock


def test_what_the_real_clock_wrote_is_used_by_one_that_begins_now() -> None:
    cached = ml_cache(ttl=3600)(lambda x: x)
    cached(1)
    with FakeClock():
        assert cached.call_with_info(1).status == "miss"
    cached(2)
    with FakeClock(system.time()) as time:
        assert cached.call_with_info(2).status == "hit"
        time.advance(3600)
        assert cached.call_with_info(2).status == "miss"


def test_time_stands_still_until_it_is_advanced() -> None:
    with FakeClock(start=1000.0) as time:
        assert (clock.now(), clock.now()) == (1000.0, 1000.0)
        before = clock.ticks()
        time.advance(1.5)
        assert clock.now() == 1001.5
        assert clock.ticks() - before == 1.5


def test_the_clocks_before_it_come_back() -> None:
    real = (clock.now, clock.ticks)
    with FakeClock(start=1.0):
        with FakeClock(start=2.0):
            assert clock.now() == 2.0
        assert clock.now() == 1.0
    assert (clock.now, clock.ticks) == real


def test_the_clocks_before_it_come_back_after_an_error() -> None:
    real = (clock.now, clock.ticks)
    with pytest.raises(ZeroDivisionError), FakeClock():
        _ = 1 / 0
    assert (clock.now, clock.ticks) == real


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
def test_time_does_not_go_back(seconds: float) -> None:
    with FakeClock() as time, pytest.raises(ValueError, match="zero or more"):
        time.advance(seconds)


def test_no_second_is_lost_when_many_threads_advance_it() -> None:
    time = FakeClock(start=0.0)
    together = threading.Barrier(4)

    def work() -> None:
        together.wait()
        for _ in range(1000):
            time.advance(1)

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(work) for _ in range(4)]:
            done.result()
    assert time.now() == 4000.0


def test_it_says_what_it_shows() -> None:
    assert repr(FakeClock(start=12.5)) == "<FakeClock at 12.500>"


def test_a_cached_answer_grows_old_by_it() -> None:
    calls: list[int] = []

    @ml_cache(ttl=60)
    def score(x: int) -> int:
        calls.append(x)
        return x

    with FakeClock() as time:
        score(1)
        time.advance(59)
        score(1)
        assert calls == [1]
        time.advance(1)
        score(1)
        assert calls == [1, 1]
