"""A function that is decorated twice: each of the two goes by its own terms, whatever the other keeps."""

from __future__ import annotations

import gc
import weakref

import pytest

from mlcache import Expiry, clock, ml_cache
from mlcache.namesakes import namesakes_of
from mlcache.testing import FakeClock


def test_each_of_two_that_are_in_use_goes_by_its_own_terms() -> None:
    def compute(_x: int) -> float:
        return clock.now()

    with FakeClock() as time:
        long, short = ml_cache(ttl="1d")(compute), ml_cache(ttl="5s")(compute)
        long(1)
        short(1)  # by now both have looked up in memory
        made = long(2)
        time.advance(4)
        assert short(2) == made
        time.advance(1)
        assert short(2) == time.now() > made
        made = long.refresh(3)
        time.advance(600)
        assert long(3) == made
        assert short(3) == time.now()


async def test_so_it_is_with_coroutine_functions() -> None:
    async def compute(_x: int) -> float:
        return clock.now()

    with FakeClock() as time:
        long, short = ml_cache(ttl="1d")(compute), ml_cache(ttl="5s")(compute)
        await short(1)
        made = await long(1)
        assert await short(1) == made
        time.advance(5)
        assert await long(1) == made
        assert await short(1) == time.now()


def test_an_error_that_one_keeps_is_not_raised_by_another_that_keeps_none() -> None:
    calls: list[int] = []

    def compute(x: int) -> int:
        calls.append(x)
        raise ValueError(x)

    keeping, other = ml_cache(ttl=Expiry(errors="1m"))(compute), ml_cache(ttl="1h")(compute)
    for cached, executions in [(keeping, 1), (other, 2), (keeping, 3), (keeping, 3), (other, 4), (other, 5)]:
        with pytest.raises(ValueError, match="1"):
            cached(1)
        assert len(calls) == executions


def test_under_the_same_terms_a_hit_is_as_short_as_ever() -> None:
    def compute(x: int) -> int:
        return x

    first, second = ml_cache(ttl="1h")(compute), ml_cache(ttl="1h")(compute)
    assert first(1) == second(1) == 1
    assert not namesakes_of(first.cache_key(1).namespace).open(repr(Expiry("1h")))
    assert second.cache_info().hits == 1


def test_nobody_holds_what_is_decorated_after_its_time() -> None:
    def make() -> weakref.ref[object]:
        @ml_cache(ttl="1h")
        def count(n: int) -> int:
            return 0 if n == 0 else 1 + int(count(n - 1))

        assert count(3) == 3
        return weakref.ref(count)

    gone = make()
    gc.collect()
    assert gone() is None
