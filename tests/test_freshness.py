"""How fresh is fresh enough: stale entries, early renewal, jitter, kept errors, a max_age."""

from __future__ import annotations

import asyncio
import gc
import inspect
import itertools
import math
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlcache import ConfigurationError, Expiry, ml_cache
from mlcache.backends.memory import Lru
from mlcache.crew import Crew, crew
from mlcache.drive import RENEWALS
from mlcache.entry import Entry, Failure
from mlcache.skew import SKEW
from mlcache.testing import FakeClock
from mlcache.waiting import tasks

TIMEOUT = 10.0


@pytest.fixture
def time() -> Iterator[FakeClock]:
    with FakeClock() as clock:
        yield clock


class Counted:
    """A function that counts its calls, can be told to fail, and says when it was called."""

    def __init__(self) -> None:
        self.calls = 0
        self.error: Exception | None = None
        self.called = threading.Semaphore(0)
        self.may_go = threading.Event()
        self.may_go.set()

    def __call__(self, _x: int) -> int:
        self.calls += 1
        call = self.calls
        self.called.release()
        assert self.may_go.wait(TIMEOUT)
        if self.error is not None:
            raise self.error
        return call

    def __ml_cache_key__(self) -> object:
        return "counted"


def settle() -> None:
    """Wait until the crew has nothing left to do."""
    while crew().busy:
        threading.Event().wait(0.001)


def cached(expiry: Expiry, backend: str = "lru?max_items=10") -> tuple[Counted, Any]:
    counted = Counted()

    @ml_cache(ttl=expiry, backend=backend)
    def compute(x: int) -> int:
        return counted(x)

    return counted, compute


@pytest.mark.parametrize("backend", ["lru?max_items=10", "disk", "lru?max_items=10, disk"])
def test_a_stale_entry_is_served_at_once_and_renewed_behind(time: FakeClock, backend: str) -> None:
    counted, compute = cached(Expiry(60, stale=30), backend)
    assert compute(1) == 1
    time.advance(60)
    counted.may_go.clear()
    first = compute.call_with_info(1)
    assert (first.value, first.status) == (1, "stale")
    assert counted.called.acquire(timeout=TIMEOUT)
    assert counted.called.acquire(timeout=TIMEOUT)
    assert [compute(1) for _ in range(5)] == [1] * 5
    counted.may_go.set()
    settle()
    assert (compute(1), counted.calls) == (2, 2)
    assert compute.cache_info().stale == 6


def test_beyond_its_stale_window_an_entry_is_dead(time: FakeClock) -> None:
    counted, compute = cached(Expiry(60, stale=30))
    compute(1)
    time.advance(90)
    assert (compute(1), counted.calls) == (2, 2)


async def test_a_coroutine_function_is_renewed_in_a_task(time: FakeClock) -> None:
    calls = 0
    renewed = asyncio.Event()

    @ml_cache(ttl=Expiry(60, stale=30), ignore="renewed")
    async def compute(x: int) -> int:
        nonlocal calls
        calls += 1
        if calls > 1:
            renewed.set()
        return calls * x

    assert await compute(1) == 1
    time.advance(61)
    assert await compute(1) == 1
    await asyncio.wait_for(renewed.wait(), TIMEOUT)
    async with asyncio.timeout(TIMEOUT):
        while (await compute.call_with_info(1)).status == "stale":
            await asyncio.sleep(0)
    assert await compute(1) == 2


async def test_aio_serves_stale_too(time: FakeClock) -> None:
    counted, compute = cached(Expiry(60, stale=30))
    await compute.aio(1)
    time.advance(61)
    assert (await compute.aio.call_with_info(1)).status == "stale"
    await asyncio.to_thread(settle)
    assert (await compute.aio(1), counted.calls) == (2, 2)


@pytest.mark.parametrize("errors", [None, 100])
def test_a_failing_renewal_leaves_the_stale_entry(time: FakeClock, errors: int | None) -> None:
    counted, compute = cached(Expiry(60, stale=30, errors=errors))
    compute(1)
    time.advance(61)
    counted.error = ValueError("no")
    assert compute(1) == 1
    settle()
    assert compute(1) == 1
    settle()
    assert counted.calls == (3 if errors is None else 2), "a kept error is a renewal that need not be tried"


def test_an_old_answer_is_served_where_computing_fails(time: FakeClock) -> None:
    counted, compute = cached(Expiry(60, stale_if_error="1h"))
    compute(1)
    time.advance(61)
    counted.error = ValueError("down")
    result = compute.call_with_info(1)
    assert (result.value, result.status, counted.calls) == (1, "stale", 2)
    time.advance(3600)
    with pytest.raises(ValueError, match="down"):
        compute(1)
    counted.error = None
    assert compute(1) == 4


@pytest.mark.parametrize("backend", ["lru?max_items=10", "disk", "lru?max_items=10, disk"])
def test_while_an_error_is_kept_the_old_answer_is_served_without_another_try(
    time: FakeClock, backend: str
) -> None:
    counted, compute = cached(Expiry(60, stale_if_error="1h", errors=10), backend)
    compute(1)
    time.advance(61)
    counted.error = ValueError("down")
    results = [compute.call_with_info(1) for _ in range(5)]
    assert {(result.value, result.status) for result in results} == {(1, "stale")}
    assert counted.calls == 2
    time.advance(10)
    assert (compute(1), counted.calls) == (1, 3), "the kept error is over, and another try fails too"
    counted.error = None
    assert (compute(1), counted.calls) == (1, 3)
    time.advance(10)
    assert [compute(1), compute(1)] == [4, 4]


def test_an_error_that_is_older_than_the_answer_keeps_nobody_from_trying(time: FakeClock) -> None:
    counted, compute = cached(Expiry(60, stale_if_error="1h", errors=60))
    compute(1)
    time.advance(61)
    counted.error = ValueError("down")
    assert compute(1) == 1
    time.advance(1)
    compute.put(7, 1)
    time.advance(58.5)
    counted.error = None
    assert (compute.fresh(max_age=5)(1), counted.calls) == (3, 3)


def test_who_asks_for_fresher_gets_a_try_though_an_error_is_kept(time: FakeClock) -> None:
    counted, compute = cached(Expiry(60, stale_if_error="1h", errors=60))
    compute(1)
    time.advance(61)
    counted.error = ValueError("down")
    assert [compute(1), compute(1)] == [1, 1]
    assert counted.calls == 2
    counted.error = None
    time.advance(1)
    assert (compute.fresh(max_age=100)(1), counted.calls) == (1, 2), "it is young enough for this caller"
    assert (compute.fresh(max_age=5)(1), counted.calls) == (3, 3)


def test_who_asks_for_fresher_gets_no_older_answer_if_the_try_fails(time: FakeClock) -> None:
    counted, compute = cached(Expiry(60, stale_if_error="1h"))
    compute(1)
    time.advance(61)
    counted.error = ValueError("down")
    with pytest.raises(ValueError, match="down"):
        compute.fresh(max_age=5)(1)
    assert (compute(1), compute.fresh(max_age=100)(1)) == (1, 1)


@pytest.mark.parametrize("backend", ["lru?max_items=10", "disk"])
def test_explain_says_that_a_try_failed_beside_an_old_answer(time: FakeClock, backend: str) -> None:
    counted, compute = cached(Expiry(60, stale_if_error="1h", errors=10), backend)
    compute(1)
    time.advance(61)
    assert "not tried again" not in str(compute.explain(1))
    counted.error = ValueError("down")
    compute(1)
    assert "not tried again for 10s, as that raised ValueError('down')" in str(compute.explain(1))
    time.advance(10)
    assert "not tried again" not in str(compute.explain(1))


@pytest.mark.parametrize("backend", ["lru?max_items=10", "disk"])
def test_an_error_may_be_kept_for_longer_than_an_answer(time: FakeClock, backend: str) -> None:
    counted, compute = cached(Expiry(10, stale=100, errors=60), backend)
    counted.error = ValueError("down")
    for _ in range(2):
        with pytest.raises(ValueError, match="down"):
            compute(1)
        time.advance(59)
    counted.error = None
    assert (compute(1), counted.calls) == (2, 2)


def test_a_kept_error_ends_as_the_terms_say_under_which_it_is_found() -> None:
    kept = Entry(Failure(ValueError("down")), 0.0, 60.0, 60.0)
    capped = Expiry(1, stale=100, errors={ValueError: 20}).capped(kept)
    assert (capped.fresh_until, capped.stale_until) == (20.0, 20.0)
    assert Expiry(1, errors={LookupError: 20}).capped(kept).fresh_until == 0.0
    assert Expiry(1, errors=60).capped(kept) is kept


def test_what_is_stale_ends_as_the_terms_say_under_which_it_is_found() -> None:
    kept = Entry(1, 0.0, 10.0, 110.0)
    capped = Expiry(60, stale=5).capped(kept)
    assert (capped.fresh_until, capped.stale_until) == (10.0, 15.0)
    assert Expiry(60, stale=500).capped(kept) is kept


def test_peek_and_explain_go_by_the_terms_by_which_a_call_does(time: FakeClock) -> None:
    def compute(x: int) -> int:
        return x

    def under(expiry: Expiry) -> Any:
        return ml_cache(backend="disk", ttl=expiry)(compute)

    under(Expiry("1d", stale="1d"))(1)
    time.advance(3600)
    shorter, ending = under(Expiry("1m")), under(Expiry("2d"))
    assert "dead, 1h old" in str(shorter.explain(1))
    assert shorter.peek(1) is None
    time.advance(86400)
    assert ending.peek(1) is None, "nothing is served stale any more"
    assert "dead" in str(ending.explain(1))
    assert ending.call_with_info(1).status == "miss"


@pytest.mark.parametrize("backend", ["lru?max_items=10", "disk"])
def test_a_kept_end_of_an_iterator_is_raised_as_itself(time: FakeClock, backend: str) -> None:
    counted, compute = cached(Expiry(60, errors=10), backend)
    counted.error = StopIteration("the end")
    ways: list[Callable[[int], object]] = [compute, compute.call_with_info, compute.fresh(max_age=10)]
    for way in (*ways, *ways):
        with pytest.raises(StopIteration, match="the end"):
            way(1)
    assert counted.calls == 1
    assert time.now() > 0


def test_an_old_answer_too_old_even_for_errors_is_replaced_by_a_kept_one(time: FakeClock) -> None:
    counted, compute = cached(Expiry(60, stale_if_error=30, errors=10))
    compute(1)
    time.advance(61)
    counted.error = ValueError("down")
    assert compute(1) == 1
    time.advance(30)
    for _ in range(3):
        with pytest.raises(ValueError, match="down"):
            compute(1)
    assert counted.calls == 3


@pytest.mark.parametrize("backend", ["lru?max_items=10", "disk"])
def test_a_refresh_that_fails_leaves_the_answer(time: FakeClock, backend: str) -> None:
    counted, compute = cached(Expiry(60, stale=30, errors=20), backend)
    assert compute(1) == 1
    counted.error = ValueError("no")
    for seconds in (0, 70):  # while it is fresh, and while it may be served stale
        time.advance(seconds)
        with pytest.raises(ValueError, match="no"):
            compute.refresh(1)
        calls = counted.calls
        assert compute(1) == 1
        settle()
        assert counted.calls == calls, "while the error is kept, there is no other try"
    compute.invalidate(1)
    for _ in range(2):  # now that there is none, the error is kept, and kept anew
        with pytest.raises(ValueError, match="no"):
            compute.refresh(1)
        time.advance(15)
    with pytest.raises(ValueError, match="no"):
        compute(1)
    assert counted.calls == 5


@pytest.mark.parametrize("backend", ["lru?max_items=10", "disk"])
def test_an_error_is_kept_for_its_time_by_its_type(time: FakeClock, backend: str) -> None:
    counted, compute = cached(Expiry(60, errors={ValueError: 10, LookupError: 20}), backend)
    counted.error = KeyError("gone")
    raised = []
    for _ in range(3):
        with pytest.raises(KeyError, match="gone") as caught:
            compute(1)
        raised.append(caught.value)
    assert counted.calls == 1
    assert raised[1] is not raised[2]
    time.advance(20)
    counted.error = None
    assert (compute(1), counted.calls) == (2, 2)


@pytest.mark.parametrize("backend", ["lru?max_items=10", "disk"])
def test_a_kept_error_is_raised_by_a_call_with_info_and_is_nothing_to_peek_at(
    time: FakeClock, backend: str
) -> None:
    counted, compute = cached(Expiry(60, errors=10), backend)
    counted.error = KeyError("gone")
    for _ in range(2):
        with pytest.raises(KeyError, match="gone"):
            compute.call_with_info(1)
        assert compute.peek(1) is None
    assert counted.calls == 1
    assert "the exception KeyError('gone'), fresh for 10s" in str(compute.explain(1))
    assert compute.invalidate(1)
    counted.error = None
    assert compute.call_with_info(1).status == "miss"
    assert time.now() > 0


async def test_a_kept_error_is_nothing_to_peek_at_on_an_event_loop() -> None:
    counted, compute = cached(Expiry(60, errors=10))
    counted.error = KeyError("gone")
    with pytest.raises(KeyError, match="gone"):
        await compute.aio.call_with_info(1)
    assert await compute.aio.peek(1) is None


def test_an_error_of_another_type_is_not_kept(time: FakeClock) -> None:
    counted, compute = cached(Expiry(60, errors={ValueError: 10}))
    counted.error = KeyError("gone")
    for _ in range(2):
        with pytest.raises(KeyError):
            compute(1)
    assert counted.calls == 2
    assert time.now() > 0


def test_a_cancellation_is_no_answer_to_keep() -> None:
    counted, compute = cached(Expiry(60, errors=10))
    counted.error = CancelledError()
    for _ in range(2):
        with pytest.raises(CancelledError):
            compute(1)
    assert counted.calls == 2


def test_the_nearest_type_of_an_error_decides() -> None:
    expiry = Expiry(60, errors={Exception: 100, ValueError: 1})
    assert expiry.keeps_error(UnicodeError()) == 1
    assert expiry.keeps_error(KeyError()) == 100


def test_early_renewal_comes_before_the_end_and_the_likelier_the_nearer() -> None:
    expiry = Expiry(100, early=1)
    entry = Entry("v", created=0.0, fresh_until=100.0, stale_until=100.0, cost=10.0)
    draws = [step / 1000 for step in range(1000)]
    shares = [sum(expiry.is_due(entry, now, luck) for luck in draws) / 1000 for now in (0, 50, 90, 99)]
    # The chance at a distance d from the end is exp(-d / (beta * cost)).
    assert shares == pytest.approx([0.0, 0.0067, 0.368, 0.905], abs=0.002)
    assert not any(Expiry(100).is_due(entry, 99.0, luck) for luck in draws)


def test_what_is_dear_is_renewed_before_its_time_is_over(time: FakeClock) -> None:
    counted = Counted()

    @ml_cache(ttl=Expiry(60, early=1), ignore="time")
    def compute(x: int) -> int:
        if not counted.calls:
            time.advance(1e6)  # so dear that it is always due
        return counted(x)

    assert compute(1) == 1
    assert compute.call_with_info(1).status == "hit"
    settle()
    assert counted.calls >= 2
    assert compute(1) >= 2


def test_jitter_only_shortens() -> None:
    expiry = Expiry(100, jitter=0.2)
    assert [expiry.deadline("v", 1000.0, luck) for luck in (0.0, 0.5, 1.0)] == [1100.0, 1090.0, 1080.0]
    assert Expiry(None, jitter=0.2).deadline("v", 1000.0, 1.0) == float("inf")


def test_what_was_written_together_does_not_end_together(time: FakeClock) -> None:
    _, compute = cached(Expiry(100, jitter=0.5), "lru")
    ends = {compute.call_with_info(x).expires_at for x in range(20)}
    for x in range(20, 40):
        compute.put(x, x)
    ends |= {compute.peek(x).expires_at for x in range(20, 40)}
    assert len(ends) == 40
    assert all(time.now() + 50 <= end.timestamp() <= time.now() + 100 for end in ends)


def test_a_caller_may_ask_for_fresher_but_not_for_staler(time: FakeClock) -> None:
    counted, compute = cached(Expiry(60))
    compute(1)
    time.advance(10)
    assert compute.fresh(max_age=10)(1) == 1
    time.advance(1)
    assert compute.fresh(max_age="10s")(1) == 2
    assert compute(1) == 2
    time.advance(61)
    assert compute.fresh(max_age="1h")(1) == 3
    assert counted.calls == 3


async def test_fresher_on_an_event_loop(time: FakeClock) -> None:
    counted, compute = cached(Expiry(60))
    await compute.aio(1)
    time.advance(11)
    assert await compute.aio.fresh(max_age=10)(1) == 2
    assert counted.calls == 2


@pytest.mark.parametrize("batch", [None, "xs"])
async def test_who_asks_for_fresher_may_see_how_it_came_about(time: FakeClock, batch: str | None) -> None:
    made = itertools.count(1)

    def compute(xs: list[int]) -> list[int]:
        return [next(made) for _ in xs]

    async def compute_suspending(xs: list[int]) -> list[int]:
        return compute(xs)

    cached: Any = ml_cache(ttl=60, batch=batch, ignore="made")(compute)
    suspending: Any = ml_cache(ttl=60, batch=batch, ignore="compute")(compute_suspending)
    for way in (cached, cached.aio, suspending):
        first = way([0]) if way is cached else await way([0])
        time.advance(10)
        seen = []
        for max_age in (20, 5):
            asked = way.fresh(max_age=max_age).call_with_info([0])
            result = asked if way is cached else await asked
            seen.append((result.value == first, result.status, result.http_headers()["Cache-Control"]))
        assert seen == [(True, "hit", "max-age=50"), (False, "miss", "max-age=60")]
        if way is cached:
            cached.cache_clear()


def test_fresh_of_a_coroutine_function_is_known_as_one() -> None:
    async def compute(x: int) -> int:
        return x

    known = asyncio.iscoroutinefunction if sys.version_info < (3, 12) else inspect.iscoroutinefunction
    assert known(ml_cache(compute).fresh(max_age=5))


def test_who_asks_for_fresher_gets_what_lies_behind_memory_from_tiers_without_locks(time: FakeClock) -> None:
    counted, far = Counted(), Lru(max_bytes=100_000)

    def compute(x: int) -> int:
        return counted(x)

    ours, theirs = (ml_cache(backend=[Lru(max_bytes=100_000), far], ttl="10m")(compute) for _ in range(2))
    assert (ours(1), theirs(1)) == (1, 1)
    time.advance(100)
    assert theirs.refresh(1) == 2
    assert (ours(1), ours.fresh(max_age=5)(1), counted.calls) == (1, 2, 2)


@pytest.mark.parametrize("wrong", [0, -1, "soon", None])
def test_a_wrong_max_age_says_so(wrong: Any) -> None:
    _, compute = cached(Expiry(60))
    with pytest.raises(ConfigurationError, match="max_age") as raised:
        compute.fresh(max_age=wrong)
    assert "never expires" not in str(raised.value), "a max_age of None is refused"


def test_a_max_age_of_zero_is_told_of_refresh() -> None:
    _, compute = cached(Expiry(60))
    with pytest.raises(ConfigurationError, match=r"above zero and finite; refresh\(\)"):
        compute.fresh(max_age=0)


def test_a_peek_shows_what_only_an_error_would_bring_back(time: FakeClock) -> None:
    _, compute = cached(Expiry(10, stale_if_error=60))
    compute(1)
    time.advance(20)
    assert compute.peek(1).status == "stale"
    assert compute.call_with_info(1).status == "miss"


@pytest.mark.parametrize(
    "options",
    [
        {"stale": 0},
        {"stale": "soon"},
        {"early": 0},
        {"early": True},
        {"early": math.inf},
        {"jitter": 1.5},
        {"jitter": -0.1},
        {"stale_if_error": -1},
        {"errors": 0},
        {"errors": {KeyboardInterrupt: 5}},
        {"errors": {ValueError: 0}},
    ],
)
def test_wrong_options_name_themselves(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        Expiry(60, **options)


ROWS = pytest.mark.parametrize("backend", ["lru", "disk://{}", "lru?max_items=10, disk://{}"])


@ROWS
@pytest.mark.parametrize("ahead", [SKEW, 3600.0])
def test_a_host_whose_clock_is_ahead_does_not_lengthen_a_lifetime(
    tmp_path: Path, backend: str, ahead: float
) -> None:
    _, compute = cached(Expiry(60), backend.format(tmp_path))
    with FakeClock(start=2_000_000_000.0 + ahead):
        first = compute(1)
    with FakeClock(start=2_000_000_000.0) as time:
        for _ in range(60):
            assert (compute(1) == first) is (ahead <= SKEW)
            time.advance(1)
        time.advance(SKEW)
        assert compute(1) != first


def test_what_is_a_little_ahead_is_served_as_of_now(tmp_path: Path) -> None:
    _, compute = cached(Expiry(60), f"disk://{tmp_path}")
    with FakeClock(start=2_000_000_000.0 + SKEW):
        compute(1)
    with FakeClock(start=2_000_000_000.0):
        result = compute.call_with_info(1)
        assert (result.status, result.age) == ("hit", 0)
        assert result.http_headers()["Cache-Control"] == "max-age=60"


def test_explain_says_that_an_entry_is_from_the_future() -> None:
    _, compute = cached(Expiry(60), "lru")
    with FakeClock(start=2_000_000_000.0 + 60):
        compute(1)
    with FakeClock(start=2_000_000_000.0):
        assert "1m from the future" in compute.explain(1).tiers["lru"]


STALE = pytest.mark.parametrize("stale", [None, 3.0], ids=["plain", "stale"])


@STALE
def test_of_a_hundred_thousand_calls_none_sees_an_entry_beyond_its_time(
    time: FakeClock, stale: float | None
) -> None:
    """The clock stands while they ask, so the number of executions is known: all keys, each ten seconds."""

    @ml_cache(ttl=Expiry(10, stale=stale), ignore="time")
    def compute(x: int) -> float:
        return time.now() + 0 * x

    def ask_often(x: int) -> float:
        return max(time.now() - compute(x % 4) for _ in range(250))

    with ThreadPoolExecutor(8) as threads:
        for _ in range(50):
            assert max(threads.map(ask_often, range(8))) < 10 + (stale or 0)
            settle()
            time.advance(1)
    info = compute.cache_info()
    assert info.misses == 4 * 5
    assert info.hits + info.stale + info.coalesced + info.misses >= 100_000


@STALE
def test_the_same_while_the_clock_goes_on(time: FakeClock, stale: float | None) -> None:
    made: dict[int, list[float]] = {x: [] for x in range(4)}
    end = time.now() + 60

    @ml_cache(ttl=Expiry(10, stale=stale), ignore=("time", "made"))
    def compute(x: int) -> float:
        made[x].append(time.now())
        return made[x][-1]

    def ask_often(x: int) -> float:
        oldest = 0.0
        while (before := time.now()) < end:
            # An entry's time begins when it is there, which is later than its computation began.
            oldest = max(oldest, before - compute.call_with_info(x % 4).created_at.timestamp())
            time.advance(0.002)
        return oldest

    with ThreadPoolExecutor(8) as threads:
        assert max(threads.map(ask_often, range(8))) < 10 + (stale or 0)
    settle()
    for times in made.values():
        assert 1 < len(times) <= 60 / 10 + 1
        assert all(after - before >= 10 for before, after in pairwise(times))


@pytest.mark.parametrize("ending", ["an answer", "an error"])
@pytest.mark.parametrize("kind", ["a function", "a coroutine function"])
async def test_nothing_is_kept_of_a_renewal_whose_arguments_the_caller_has_changed(
    time: FakeClock, kind: str, ending: str
) -> None:
    """A caller who was served a stale answer may fill the same buffer with the next frame at once."""
    go = threading.Event()
    go.set()
    computed: list[float] = []

    def total(x: Any) -> float:
        assert go.wait(TIMEOUT)
        computed.append(float(x.sum()))
        if ending == "an error" and computed[-1] == 7:
            raise ValueError("it takes no sevens")
        return computed[-1]

    async def total_later(x: Any) -> float:
        return total(x)

    async def settled() -> None:
        while crew().busy or tasks:
            await asyncio.sleep(0.001)

    decorate: Any = partial(ml_cache, ttl=Expiry(60, stale=1000, errors=30), version="1")
    if kind == "a function":
        compute: Any = decorate(total, ignore=["computed", "ending", "go"]).aio
    else:
        compute = decorate(total_later, ignore=["total"])
    buffer = np.array([1.0])
    assert await compute(buffer) == 1
    time.advance(61)
    if kind == "a function":
        go.clear()
    assert await compute(buffer) == 1  # it is stale, and computed anew behind
    buffer[0] = 7
    go.set()
    await settled()
    assert computed == [1, 7]
    assert await compute(np.array([1.0])) == 1
    await settled()
    again = await compute.call_with_info(np.array([1.0]))
    assert (again.value, again.status, computed) == (1, "hit", [1, 7, 1])


def test_the_crew_refuses_what_does_not_fit_and_drops_what_waits_when_closed() -> None:
    small = Crew(size=1, queue=2)
    begun, go = threading.Event(), threading.Event()
    done: list[str] = []

    def work() -> None:
        begun.set()
        go.wait(TIMEOUT)
        done.append("work")

    assert small.submit(work)
    assert begun.wait(TIMEOUT)
    assert small.submit(lambda: done.append("second"))
    assert small.submit(lambda: done.append("third"), lambda: done.append("instead"))
    assert not small.submit(lambda: done.append("refused"), lambda: done.append("refusal"))
    closing = threading.Thread(target=small.close)
    closing.start()
    while not small.closed:
        pass
    go.set()
    closing.join(TIMEOUT)
    assert done == ["refusal", "instead", "work"]
    assert not small.submit(work)


def test_a_crew_grows_to_its_size_and_goes_when_idle() -> None:
    small = Crew(size=3, queue=10, linger=0.01)
    together = threading.Barrier(3)
    for _ in range(3):
        assert small.submit(lambda: together.wait(TIMEOUT))
    while small.busy:
        pass
    assert not together.broken
    small.close()


def _no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_a_crew_that_gets_no_thread_refuses_work_and_takes_it_once_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = Crew(size=2)
    done: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _no_thread)
        assert not small.submit(lambda: done.append("work"), lambda: done.append("instead"))
    assert not small.busy
    assert small.submit(lambda: done.append("work"))
    while small.busy:
        pass
    small.close()
    assert done == ["instead", "work"]


def test_a_crew_goes_on_with_the_threads_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    small = Crew(size=2)
    begun, go = threading.Event(), threading.Event()
    done: list[str] = []

    def work() -> None:
        begun.set()
        go.wait(TIMEOUT)

    assert small.submit(work)
    assert begun.wait(TIMEOUT)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _no_thread)
        assert small.submit(lambda: done.append("work"))
    go.set()
    while small.busy:
        pass
    small.close()
    assert done == ["work"]


async def test_tasks_that_compute_anew_in_the_background_are_bounded(time: FakeClock) -> None:
    go = asyncio.Event()
    begun: list[int] = []

    go.set()

    @ml_cache(ttl=Expiry(60, stale=30), backend="lru?max_items=1000", ignore=["begun", "go"])
    async def compute(x: int) -> int:
        begun.append(x)
        await go.wait()
        return x

    many = RENEWALS + 20
    await asyncio.gather(*map(compute, range(many)))
    begun.clear()
    go.clear()
    time.advance(61)
    assert await asyncio.gather(*map(compute, range(many))) == [*range(many)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(begun) == RENEWALS
    go.set()
    while tasks:
        await asyncio.sleep(0)
    assert await asyncio.gather(*map(compute, range(many))) == [*range(many)]
    while tasks:
        await asyncio.sleep(0)
    assert sorted(begun) == [*range(many)]


async def test_who_waits_for_a_renewal_that_is_dropped_is_answered(
    time: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = Crew(size=1)
    begun, go = threading.Event(), threading.Event()
    monkeypatch.setattr("mlcache.crew._crew", busy)
    busy.submit(begun.set)
    busy.submit(lambda: go.wait(TIMEOUT))
    assert begun.wait(TIMEOUT)
    counted, compute = cached(Expiry(60, stale=30))
    compute(1)
    compute(2)
    time.advance(61)
    assert (compute(1), compute(2)) == (1, 2)  # their renewals wait behind what the crew is busy with
    time.advance(100)
    flights = compute._actions.cache.flights
    flight = flights._flights[compute.cache_key(1).digest]
    answer = asyncio.ensure_future(compute.aio(1))
    while not flight.watched:
        await asyncio.sleep(0)
    ending = threading.Thread(target=busy.close)
    ending.start()
    assert await asyncio.wait_for(answer, TIMEOUT) == 3
    go.set()
    ending.join(TIMEOUT)
    assert (len(flights), counted.calls) == (0, 3)
    del flight
    gc.collect()  # a flow that nobody awaits says so here


def test_a_renewal_may_await_one_that_is_queued_behind_it(
    time: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = Crew(size=1, linger=0.01)
    monkeypatch.setattr("mlcache.crew._crew", busy)
    inner_counted, inner = cached(Expiry(10, stale=5))
    go = threading.Event()
    go.set()

    @ml_cache(ttl=Expiry(10, stale="1h"), ignore=["inner", "go"])
    def outer(x: int) -> int:
        assert go.wait(TIMEOUT)
        return x + int(asyncio.run(inner.aio(1)))

    assert outer(1) == 2
    go.clear()
    time.advance(11)
    assert (outer(1), inner(1)) == (2, 1)  # both are to be renewed, by the only thread there is
    time.advance(5)  # now nobody may be served the old inner one
    go.set()
    settle()
    assert (outer(1), inner(1), inner_counted.calls) == (3, 2, 2)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("batch", [None, "items"])
def test_what_ends_who_does_a_queued_renewal_himself_is_raised(
    time: FakeClock, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException], batch: str | None
) -> None:
    busy = Crew(size=1, linger=0.01)
    monkeypatch.setattr("mlcache.crew._crew", busy)
    calls: list[list[int]] = []

    @ml_cache(ttl=Expiry(10, stale=5), batch=batch, ignore=["calls"])
    def compute(items: list[int]) -> list[int]:
        calls.append(items)
        if len(calls) == 2:
            raise kind
        return items

    compute([1])
    time.advance(11)
    go = threading.Event()
    busy.submit(lambda: go.wait(TIMEOUT))
    assert compute([1]) == [1]  # its renewal is queued
    time.advance(10)
    with pytest.raises(kind):
        compute([1])
    assert len(calls) == 2
    assert compute([1]) == [1]
    go.set()
    settle()


def test_renewal_goes_on_when_the_crew_is_full(time: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    counted, compute = cached(Expiry(60, stale=30))
    compute(1)
    time.advance(61)
    refuse: Callable[[Any, Any, Any], bool] = lambda _self, _work, _instead: False  # noqa: E731
    with monkeypatch.context() as patch:
        patch.setattr(Crew, "_take", refuse)
        assert compute(1) == 1
    assert compute(1) == 1
    settle()
    assert (compute(1), counted.calls) == (2, 2)
