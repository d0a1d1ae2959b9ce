"""The ways of a miss beside the fast path."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from mlcache import Expiry, events, ml_cache
from mlcache.entry import Entry
from mlcache.steps import Outcome, Status
from mlcache.testing import FakeClock

PATIENCE = 20.0


class Signal(asyncio.Event):
    """One that a cached function may close over."""

    def __ml_cache_key__(self) -> str:
        return "signal"


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    with FakeClock() as clock:
        yield clock


async def test_a_task_that_joins_a_flight_waits_for_it_and_is_counted() -> None:
    let_go = Signal()

    @ml_cache
    async def score(x: int) -> list[int]:
        await let_go.wait()
        return [x]

    seen: list[events.Event] = []
    with events.hook(seen.append):
        asked = [asyncio.ensure_future(score(1)) for _ in range(3)]
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(let_go.set)
        answers = await asyncio.wait_for(asyncio.gather(*asked), PATIENCE)
    assert answers == [[1]] * 3
    assert len({id(answer) for answer in answers}) == 3, "each has its own"
    assert [type(event).__name__ for event in seen] == ["Coalesced", "Coalesced", "Computed"]
    info = await score.cache_info()
    assert (info.misses, info.coalesced, info.hits) == (1, 2, 0)


async def test_a_task_whose_leader_gave_up_leads_itself() -> None:
    entered, calls = Signal(), 0

    @ml_cache
    async def score(x: int) -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            entered.set()
            await Signal().wait()
        return x

    first = asyncio.ensure_future(score(1))
    await entered.wait()
    second = asyncio.ensure_future(score(1))
    await asyncio.sleep(0)
    (flight,) = score._actions.cache.flights._flights.values()
    assert flight.task is not None
    flight.task.cancel()
    assert await asyncio.wait_for(second, PATIENCE) == 1
    with pytest.raises(asyncio.CancelledError):
        await first
    assert calls == 2


async def test_a_stale_answer_is_given_at_once_while_a_flight_is_under_way(clock: FakeClock) -> None:
    let_go, calls = Signal(), 0

    @ml_cache(ttl=Expiry(10, stale=50))
    async def score(x: int) -> int:
        nonlocal calls
        calls += 1
        if calls > 1:
            await let_go.wait()
        return calls * x

    assert await score(1) == 1
    clock.advance(11)
    assert [await score(1) for _ in range(3)] == [1, 1, 1]
    info = await score.cache_info()
    assert (info.stale, info.coalesced) == (3, 0)
    let_go.set()
    assert await score.refresh(1) == 3


async def test_a_fresh_answer_is_given_at_once_while_it_is_refreshed() -> None:
    entered, let_go, calls = Signal(), Signal(), 0

    @ml_cache
    async def score(x: int) -> int:
        nonlocal calls
        calls += 1
        if calls > 1:
            entered.set()
            await let_go.wait()
        return calls * x

    assert await score(1) == 1
    renewing = asyncio.ensure_future(score.refresh(1))
    await entered.wait()
    with events.hook(lambda _: None):  # off the fast path
        assert await asyncio.wait_for(score(1), PATIENCE) == 1
    let_go.set()
    assert await renewing == 2


async def test_a_task_does_not_take_what_its_leader_had_found_before_it_expired(clock: FakeClock) -> None:
    @ml_cache(ttl=10)
    async def score(x: int) -> float:
        return 2.0 * x

    flights = score._actions.cache.flights
    flight, _ = flights.join(await score.cache_key(1))
    found = Entry(1.0, clock.now(), clock.now() + 10, clock.now() + 10)
    clock.advance(11)
    asked = asyncio.ensure_future(score(1))
    await asyncio.sleep(0)
    flights.land(flight, Outcome(found, Status.HIT, "lru"))
    assert await asyncio.wait_for(asked, PATIENCE) == 2.0
