"""The flights of one process."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import signal
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import copy_context
from typing import Any

import pytest

from mlcache import ml_cache
from mlcache.entry import Entry, Key
from mlcache.errors import RecursiveCallError
from mlcache.flight import Flight, Flights, Job, aboard, on_its_own, waiting_for
from mlcache.flight.carried import CarriedError
from mlcache.flight.waking import Arrival

TIMEOUT = 20.0

KEY = Key("app.f@1", b"1" * 16)
OTHER = Key("app.f@1", b"2" * 16)


def test_the_first_leads_and_the_next_join() -> None:
    flights = Flights()
    flight, leading = flights.join(KEY)
    assert leading
    assert flights.join(KEY) == (flight, False)
    other, leading = flights.join(OTHER)
    assert leading
    assert other is not flight
    assert len(flights) == 2


def test_who_need_not_follow_leads_only_where_nobody_does() -> None:
    flights = Flights()
    flight = flights.begin(KEY)
    assert flight is not None
    assert flights.begin(KEY) is None
    assert not flight.watched
    assert flights.join(KEY) == (flight, False)
    flights.land(flight, "result")
    assert flights.begin(KEY) not in (None, flight)


def test_who_need_not_lead_joins_only_what_is_under_way() -> None:
    flights = Flights()
    assert flights.under_way(KEY) is None
    assert len(flights) == 0
    flight, _ = flights.join(KEY)
    assert not flight.watched
    assert flights.under_way(KEY) is flight
    assert flight.watched
    with aboard(flight), pytest.raises(RecursiveCallError):
        flights.under_way(KEY)


def test_landing_gives_all_the_result_and_makes_room_for_the_next() -> None:
    flights = Flights()
    flight, _ = flights.join(KEY)
    flights.land(flight, "result")
    assert flight.wait() == "result"
    assert len(flights) == 0
    assert flights.join(KEY)[1]


def test_one_failure_reaches_all_who_wait() -> None:
    flights = Flights()
    flight, _ = flights.join(KEY)
    flights.join(KEY)
    flights.crash(flight, ValueError("no"))
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            flight.wait()
    assert len(flights) == 0


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), SystemExit(1), asyncio.CancelledError(), concurrent.futures.CancelledError()],
    ids=lambda error: type(error).__module__ + "." + type(error).__name__,
)
def test_what_only_ends_the_leader_sends_the_others_to_find_a_new_one(error: BaseException) -> None:
    flights = Flights()
    flight, _ = flights.join(KEY)
    flights.join(KEY)
    flights.crash(flight, error)
    assert flight.wait() is None
    assert flight.error is error
    assert flights.join(KEY)[1]


async def test_a_stop_iteration_reaches_tasks_too() -> None:
    flights = Flights()
    flight, _ = flights.join(KEY)
    flights.join(KEY)
    flights.crash(flight, StopIteration("the end"))
    with pytest.raises(CarriedError, match="StopIteration") as caught:
        await asyncio.wait_for(asyncio.wrap_future(flight.future), 5)
    assert str(caught.value.error) == "the end"
    with pytest.raises(CarriedError, match="StopIteration"):
        flight.wait()


def test_nobody_waits_for_a_flight_that_has_landed() -> None:
    flights = Flights()
    flight, _ = flights.join(KEY)
    flights.join(KEY)
    with waiting_for(flight):
        assert flight.waiters == 1
        flights.land(flight, "result")
        assert flight.waiters == 0
        with waiting_for(flight):
            assert flight.waiters == 0
    assert flight.waiters == 0


async def test_who_gave_up_waiting_is_forgotten_before_it_lands() -> None:
    flights = Flights()
    flight, _ = flights.join(KEY)
    arrival = flight.arrival()
    stays = [arrival.wait() for _ in range(100)]
    gone = [weakref.ref(_given_up(arrival)) for _ in range(1000)]
    assert sum(future() is not None for future in gone) <= 2 * len(stays)
    flights.land(flight, "result")
    await asyncio.wait_for(asyncio.gather(*stays), TIMEOUT)


def _given_up(arrival: Arrival) -> asyncio.Future[None]:
    future = arrival.wait()
    future.cancel()
    return future


def test_who_gives_up_waiting_does_not_cancel_it_for_the_others() -> None:
    flights = Flights()
    flight, _ = flights.join(KEY)
    assert not flight.future.cancel()
    flights.land(flight, "result")
    assert flight.wait() == "result"


def test_a_superseded_flight_is_joined_by_nobody_and_does_not_remove_the_next() -> None:
    flights = Flights()
    old, _ = flights.join(KEY)
    flights.supersede(KEY)
    assert old.superseded
    new, leading = flights.join(KEY)
    assert leading
    assert not new.superseded
    flights.land(old, "old")
    assert flights.join(KEY) == (new, False)


def test_all_can_be_superseded_at_once() -> None:
    flights = Flights()
    both = [flights.join(key)[0] for key in (KEY, OTHER)]
    flights.supersede()
    assert [flight.superseded for flight in both] == [True, True]
    assert len(flights) == 0


def test_superseding_nothing_leaves_what_comes_later_alone() -> None:
    flights = Flights()
    flights.supersede(KEY)
    flights.supersede()
    flight, leading = flights.join(KEY)
    assert leading
    assert not flight.superseded
    flights.land(flight, None)


OLD, NEW = Entry("old", 0.0), Entry("new", 1.0)


def test_what_is_superseded_while_it_is_written_is_replaced_by_what_is_newest() -> None:
    flights = Flights()
    flight, _ = flights.join(KEY)
    writes = flights.writing(flight, OLD)
    assert next(writes) is OLD
    flights.supersede(KEY)
    flights.supersede(KEY, NEW)
    assert next(writes) is NEW
    flights.supersede(OTHER)
    flights.supersede()
    assert next(writes) is None, "all was forgotten"
    assert list(writes) == []
    flights.supersede(KEY, NEW)
    assert list(flights.writing(flight, OLD)) == [], "it is not to be kept"


def test_what_is_written_to_its_end_is_left_alone() -> None:
    flights = Flights()
    flight, _ = flights.join(KEY)
    assert list(flights.writing(flight, OLD)) == [OLD]
    given_up, _ = flights.join(OTHER)
    for _ in flights.writing(given_up, OLD):
        break
    for each in (flight, given_up):
        flights.land(each, None)
    flights.supersede()
    assert (flight.newest, given_up.newest) == (OLD, OLD)
    assert list(flights.writing(None, NEW)) == [NEW]


def test_leading_anew_supersedes_what_is_under_way() -> None:
    flights = Flights()
    old, _ = flights.join(KEY)
    new = flights.lead_anew(KEY)
    assert old.superseded
    assert flights.join(KEY) == (new, False)


def test_who_is_aboard_may_not_wait_for_its_own_flight() -> None:
    flights = Flights()
    flight, _ = flights.join(KEY)
    with aboard(flight):
        with pytest.raises(RecursiveCallError, match=r"app\.f@1 calls itself"):
            flights.join(KEY)
        inner, leading = flights.join(OTHER)
        assert leading
        with aboard(inner), pytest.raises(RecursiveCallError):
            flights.join(KEY)
    assert flights.join(KEY) == (flight, False)


def test_another_thread_may_wait_for_it() -> None:
    flights = Flights()
    flight, _ = flights.join(KEY)
    with aboard(flight), ThreadPoolExecutor(1) as thread:
        assert thread.submit(flights.join, KEY).result() == (flight, False)


def test_of_many_threads_one_leads() -> None:
    flights, together = Flights(), threading.Barrier(16)

    def join(_: int) -> tuple[Flight, bool]:
        together.wait()
        return flights.join(KEY)

    with ThreadPoolExecutor(16) as threads:
        joined = list(threads.map(join, range(16)))
    assert sum(leading for _, leading in joined) == 1
    assert len({id(flight) for flight, _ in joined}) == 1


def test_a_job_is_done_once_by_whoever_comes_first() -> None:
    done: list[int] = []
    job, together = Job(lambda: done.append(threading.get_ident())), threading.Barrier(8)

    def run(_: int) -> None:
        together.wait()
        job.run()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(run, range(8)))
    assert len(done) == 1


def test_who_waits_for_a_job_in_a_queue_does_it() -> None:
    flights = Flights()
    flight, _ = flights.join(KEY)
    flight.job = Job(lambda: flights.land(flight, threading.get_ident()))
    assert flight.wait() == threading.get_ident()


def test_a_job_runs_in_the_context_that_it_was_made_in() -> None:
    flights, found = Flights(), list[Any]()
    flight, _ = flights.join(KEY)

    def look() -> None:
        with pytest.raises(RecursiveCallError):
            flights.join(KEY)
        found.append("aboard")

    with aboard(flight):
        job = Job(look)
    job.run()
    assert found == ["aboard"]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_waits_for_no_flight_of_its_parents_threads() -> None:
    flights = Flights()
    strangers, _ = flights.join(KEY)
    mine, _ = flights.join(OTHER)
    with flights._lock, aboard(mine):  # a thread of the parent may hold the lock at that moment
        child = os.fork()
        if not child:
            status = 3
            try:
                status = _in_child(flights)
            finally:
                os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert flights.join(KEY) == (strangers, False)


def _in_child(flights: Flights) -> int:
    """The exit status: 0 if all is well."""
    signal.alarm(10)
    try:
        if not flights.join(KEY)[1]:
            return 1
        flights.join(OTHER)
    except RecursiveCallError:
        return 0
    return 2


def test_two_threads_that_need_each_others_flights_are_told() -> None:
    together = threading.Barrier(2)
    again = threading.Event()

    @ml_cache(ignore=("together", "again", "right"))
    def left(x: int) -> int:
        if not again.is_set():
            together.wait(TIMEOUT)
        return right(x) + 1

    @ml_cache(ignore=("together", "again", "left"))
    def right(x: int) -> int:
        if not again.is_set():
            together.wait(TIMEOUT)
        again.set()
        return left(x) + 1

    with ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(function, 1) for function in (left, right)]
        for each in asked:
            assert isinstance(each.exception(TIMEOUT), RecursiveCallError)


def test_what_runs_on_its_own_may_need_what_started_it() -> None:
    flights = Flights()
    outer, _ = flights.join(Key("f@1", b"a" * 16))
    with aboard(outer), on_its_own():
        same, leading = flights.join(Key("f@1", b"a" * 16))
    assert (same, leading) == (outer, False)
    flights.land(outer, None)


def test_nobody_waits_in_a_circle_of_three() -> None:
    first, second, third = (Flight(Key("f@1", bytes([place]) * 16)) for place in range(3))
    with aboard(first):
        first_context = copy_context()
    with aboard(second):
        second_context = copy_context()
    with aboard(third):
        third_context = copy_context()
    with ExitStack() as waits:
        first_context.run(waits.enter_context, waiting_for(second))
        second_context.run(waits.enter_context, waiting_for(third))
        with pytest.raises(RecursiveCallError):
            third_context.run(waits.enter_context, waiting_for(first))
    assert not first.needs | second.needs | third.needs


def test_a_circle_is_seen_though_one_of_two_waiters_has_given_up() -> None:
    first, second = Flight(KEY), Flight(OTHER)
    with aboard(first):
        first_context, same_context = copy_context(), copy_context()
    with aboard(second):
        second_context = copy_context()
    with ExitStack() as waits:
        first_context.run(waits.enter_context, waiting_for(second))
        gives_up = waiting_for(second)
        same_context.run(gives_up.__enter__)
        same_context.run(gives_up.__exit__)
        with pytest.raises(RecursiveCallError):
            second_context.run(waits.enter_context, waiting_for(first))
    assert not first.needs | second.needs


def test_a_full_pool_whose_functions_start_loops_of_their_own_goes_on() -> None:
    @ml_cache
    def inner(x: int) -> int:
        return x

    @ml_cache(ignore="inner")
    def outer(x: int) -> int:
        return asyncio.run(inner.aio(x))

    async def main() -> list[int]:
        return await asyncio.gather(*(outer.aio(x) for x in range(64)))

    assert asyncio.run(asyncio.wait_for(main(), TIMEOUT)) == list(range(64))
