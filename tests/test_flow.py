"""The way of a call, step by step: the test plays the driver, with no store, thread or clock."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest

from mlcache import by_hand, flow, keeping
from mlcache.backends.tiered import Found
from mlcache.call import Call
from mlcache.entry import FOREVER, Entry, Expiry, Failure, Key
from mlcache.errors import BackendError, RecursiveCallError
from mlcache.events import Bypassed, Coalesced, Computed, Event, Hit, NotKept, Raised, Stale
from mlcache.flight import Flight
from mlcache.flight.carried import is_cancellation
from mlcache.sealing import Sealed, refer, seal
from mlcache.steps import (
    Compute,
    Draw,
    Drop,
    Find,
    GetLock,
    Join,
    Keep,
    Land,
    Later,
    Lead,
    Made,
    Now,
    Outcome,
    Overtake,
    Overtaken,
    Pause,
    Share,
    Status,
    Step,
    Supersede,
    Tell,
    TryLock,
    Unlock,
    Wait,
)
from mlcache.terms import Terms

KEY = Key("app.f@1", bytes(16))
CALL = Call(KEY, (1,), lambda values: values)
TERMS = Terms(Expiry(60), None, seal)
MADE = Made("made", at=1000.0, cost=0.5)
FRESH = Found(Entry("kept", created=900.0, fresh_until=2000.0, stale_until=2000.0), "disk", at=1000.0)
DEAD = Found(Entry("old", created=0.0, fresh_until=1000.0, stale_until=1000.0), "disk", at=1000.0)
STALE = Found(Entry("stale", created=0.0, fresh_until=1000.0, stale_until=1001.0), "disk", at=1000.0)
FAILURE = RuntimeError("the step failed")


class Ended(Exception):  # noqa: N818 - it is no error
    """The flow came to its end before its driver did."""


class Play:
    """A driver that answers what a test tells it to, and notes every step."""

    def __init__(self, way: Coroutine[Step, Any, Any]) -> None:
        self._way = way
        self.steps: list[Step] = []
        self._advance(lambda: way.send(None))

    def next(self, kind: type[Step], reply: object = None) -> Any:
        """Check that the flow waits for a step of this kind, and answer it; the step."""
        step = self.steps[-1]
        assert type(step) is kind, f"the flow asks for {step!r}"
        if isinstance(reply, BaseException):
            self._advance(lambda: self._way.throw(reply))
        else:
            self._advance(lambda: self._way.send(reply))
        return step

    def told(self, kind: type[Event]) -> Any:
        """Check that the flow tells of such an event; the event."""
        step = self.next(Tell)
        assert type(step.event) is kind, f"the flow tells of {step.event!r}"
        assert step.event.key == KEY
        return step.event

    def result(self) -> Any:
        """What the flow returned, or raise what it raised."""
        assert isinstance(self._end, Ended | BaseException), "the flow goes on"
        if not isinstance(self._end, Ended):
            raise self._end
        return self._end.args[0]

    def _advance(self, go: Callable[[], Step]) -> None:
        self._end: BaseException | None = None
        try:
            self.steps.append(go())
        except StopIteration as end:
            self._end = Ended(end.value)
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self._end = error


def test_a_fresh_entry_answers_the_call() -> None:
    play = Play(flow.answer(CALL, TERMS))
    assert play.next(Find, FRESH).key == KEY
    event = play.told(Hit)
    assert (event.tier, event.age) == ("disk", 100.0)
    outcome = play.result()
    assert (outcome.entry, outcome.status, outcome.tier, outcome.kept) == (
        FRESH.entry,
        Status.HIT,
        "disk",
        True,
    )


@pytest.mark.parametrize("found", [None, DEAD, STALE])
def test_what_is_not_fresh_is_computed_by_whoever_leads(found: Found | None) -> None:
    play = Play(flow.answer(CALL, TERMS))
    play.next(Find, found)
    flight = Flight(KEY)
    join = play.next(Join, (flight, True))
    assert (join.key, join.anew) == (KEY, False)
    outcome = Outcome(FRESH.entry, Status.MISS)
    lead = play.next(Lead, outcome)
    lead.flow.close()
    assert lead.flight is flight
    assert play.result() is outcome


def test_who_does_not_lead_waits_and_is_told_so() -> None:
    play = Play(flow.answer(CALL, TERMS))
    play.next(Find, None)
    flight = Flight(KEY)
    play.next(Join, (flight, False))
    play.told(Coalesced)
    play.next(Now, 900.0)
    assert play.next(Wait, Outcome(FRESH.entry, Status.MISS)).flight is flight
    outcome = play.result()
    assert (outcome.entry, outcome.status) == (FRESH.entry, Status.COALESCED)


def test_who_waited_for_nothing_joins_again() -> None:
    play = Play(flow.answer(CALL, TERMS))
    play.next(Find, None)
    play.next(Join, (Flight(KEY), False))
    play.told(Coalesced)
    play.next(Now, 1000.0)
    play.next(Wait, None)
    play.next(Join, (Flight(KEY), True))
    outcome = Outcome(FRESH.entry, Status.MISS)
    play.next(Lead, outcome).flow.close()
    assert play.result() is outcome


@pytest.mark.parametrize(("max_age", "at"), [(FOREVER, 2000.0), (50.0, 1000.0)])
def test_a_shared_answer_that_is_too_old_by_now_is_computed_anew(max_age: float, at: float) -> None:
    play = Play(flow.answer(CALL, Terms(Expiry(60), None, seal, max_age=max_age)))
    play.next(Find, None)
    shared = Flight(KEY)
    shared.end(Outcome(FRESH.entry, Status.MISS))
    play.next(Join, (shared, False))
    play.next(Now, at)
    mine = Flight(KEY)
    assert play.next(Join, (mine, True)).anew is True
    lead = play.next(Lead, Outcome(FRESH.entry, Status.MISS))
    lead.flow.close()
    assert lead.flight is mine
    assert play.result().status is Status.MISS


def test_a_shared_answer_that_is_fresh_will_do_while_it_is_written() -> None:
    play = Play(flow.answer(CALL, TERMS))
    play.next(Find, None)
    shared = Flight(KEY)
    shared.end(Outcome(FRESH.entry, Status.MISS))
    play.next(Join, (shared, False))
    play.next(Now, 1000.0)
    play.told(Coalesced)
    play.next(Now, 1000.0)
    play.next(Wait, shared.outcome())
    assert play.result().status is Status.COALESCED


FOUND_BEFORE = Outcome(FRESH.entry, Status.HIT, "disk")
SERVED_ON_ERROR = Outcome(STALE.entry, Status.STALE, "disk")
ON_ERROR = Expiry(60, stale_if_error=10)


@pytest.mark.parametrize(
    ("landed", "max_age", "asked", "accepted"),
    [
        (FOUND_BEFORE, FOREVER, 1000.0, True),
        (FOUND_BEFORE, FOREVER, 2000.0, False),
        (FOUND_BEFORE, 50.0, 1000.0, False),
        (FOUND_BEFORE, 50.0, 950.0, True),
        (Outcome(FRESH.entry, Status.MISS), 50.0, 800.0, True),
        (SERVED_ON_ERROR, FOREVER, 1005.0, True),
        (SERVED_ON_ERROR, FOREVER, 1010.0, False),
        (SERVED_ON_ERROR, 50.0, 1005.0, False),
    ],
)
def test_what_somebody_else_had_found_must_do_for_who_waited(
    landed: Outcome, max_age: float, asked: float, *, accepted: bool
) -> None:
    play = Play(flow.answer(CALL, Terms(ON_ERROR, None, seal, max_age=max_age)))
    play.next(Find, None)
    play.next(Join, (Flight(KEY), False))
    play.told(Coalesced)
    play.next(Now, asked)
    play.next(Wait, landed)
    if accepted:
        assert (play.result().entry, play.result().status) == (landed.entry, Status.COALESCED)
        return
    play.next(Join, (Flight(KEY), True))
    play.next(Lead, Outcome(FRESH.entry, Status.MISS)).flow.close()
    assert play.result().status is Status.MISS


def following(terms: Terms) -> Play:
    """A call that found a stale entry, too old to be simply served, and waits for somebody else."""
    play = Play(flow.answer(CALL, terms))
    play.next(Find, STALE)
    play.next(Join, (Flight(KEY), False))
    play.told(Coalesced)
    play.next(Now, 1000.0)
    return play


def test_where_a_flight_fails_what_who_waits_has_found_may_answer() -> None:
    play = following(Terms(ON_ERROR, None, seal))
    play.next(Wait, FAILURE)
    play.next(Now, 1009.0)
    play.told(Stale)
    assert (play.result().entry, play.result().status) == (STALE.entry, Status.STALE)


@pytest.mark.parametrize(("max_age", "at"), [(50.0, 1005.0), (FOREVER, 1010.0)])
def test_where_a_flight_fails_nothing_too_old_answers(max_age: float, at: float) -> None:
    play = following(Terms(ON_ERROR, None, seal, max_age=max_age))
    play.next(Wait, FAILURE)
    play.next(Now, at)
    with pytest.raises(RuntimeError, match="the step failed"):
        play.result()


def test_an_error_of_the_cache_is_raised_though_an_old_entry_might_answer() -> None:
    play = following(Terms(ON_ERROR, None, seal))
    play.next(Wait, BackendError("the disk is full"))
    with pytest.raises(BackendError):
        play.result()


@pytest.mark.parametrize("failing", [Find, Join, Lead, Wait])
def test_an_error_of_a_step_ends_the_call(failing: type[Step]) -> None:
    play = Play(flow.answer(CALL, TERMS))
    replies: dict[type[Step], object] = {
        Find: None,
        Join: (Flight(KEY), failing is Lead),
        Tell: None,
        Now: 0.0,
    }
    way: list[type[Step]] = [Find, Join, Tell, Now, Wait] if failing is Wait else [Find, Join, Lead]
    for kind in way[: way.index(failing)]:
        play.next(kind, replies[kind])
    step = play.next(failing, FAILURE)
    if isinstance(step, Lead):
        step.flow.close()
    with pytest.raises(RuntimeError, match="the step failed"):
        play.result()


def test_a_call_that_waits_for_itself_is_refused() -> None:
    play = Play(flow.answer(CALL, TERMS))
    play.next(Find, None)
    play.next(Join, RecursiveCallError("round and round"))
    with pytest.raises(RecursiveCallError):
        play.result()


def test_the_leader_computes_keeps_and_lands() -> None:
    flight = Flight(KEY)
    play = Play(flow.lead(CALL, TERMS, flight))
    play.next(Find, None)
    compute = play.next(Compute, MADE)
    assert (compute.call, compute.flight) == (CALL, flight)
    assert play.told(Computed).cost == 0.5
    keep = play.next(Keep)
    entry = keep.entry
    assert (keep.key, entry.value, entry.created, entry.cost) == (KEY, "made", 1000.0, 0.5)
    assert (entry.fresh_until, entry.stale_until) == (1060.0, 1060.0)
    land = play.next(Land)
    outcome = play.result()
    assert (land.flight, land.outcome, land.error) == (flight, outcome, None)
    assert (outcome.entry, outcome.status, outcome.kept) == (entry, Status.MISS, True)


def test_the_leader_looks_once_more_before_it_computes() -> None:
    flight = Flight(KEY)
    play = Play(flow.lead(CALL, TERMS, flight))
    play.next(Find, FRESH)
    play.told(Hit)
    land = play.next(Land)
    assert land.outcome.entry is FRESH.entry
    assert play.result().status is Status.HIT


@pytest.mark.parametrize("found", [DEAD, STALE])
def test_the_leader_computes_what_is_not_fresh(found: Found) -> None:
    play = Play(flow.lead(CALL, TERMS, Flight(KEY)))
    play.next(Find, found)
    play.next(Compute, MADE)
    play.told(Computed)
    play.next(Keep)
    play.next(Land)
    assert play.result().entry.value == "made"


def test_a_function_that_raises_is_told_of_and_lands_with_its_error() -> None:
    flight = Flight(KEY)
    play = Play(flow.lead(CALL, TERMS, flight))
    play.next(Find, None)
    play.next(Compute, FAILURE)
    assert play.told(Raised).error is FAILURE
    land = play.next(Land)
    assert (land.flight, land.outcome, land.error) == (flight, None, FAILURE)
    with pytest.raises(RuntimeError, match="the step failed"):
        play.result()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), GeneratorExit(), SystemExit(3)])
def test_what_ends_the_leader_lands_without_being_told_of(error: BaseException) -> None:
    play = Play(flow.lead(CALL, TERMS, Flight(KEY)))
    play.next(Find, None)
    play.next(Compute, error)
    assert play.next(Land).error is error
    with pytest.raises(type(error)):
        play.result()


@pytest.mark.parametrize("failing", [Find, Tell, Keep])
def test_whatever_fails_in_the_leader_lands(failing: type[Step]) -> None:
    play = Play(flow.lead(CALL, TERMS, Flight(KEY)))
    for kind, reply in ((Find, None), (Compute, MADE), (Tell, None), (Keep, None)):
        play.next(kind, FAILURE if kind is failing else reply)
        if kind is failing:
            break
    assert play.next(Land).error is FAILURE
    with pytest.raises(RuntimeError, match="the step failed"):
        play.result()


def test_what_was_superseded_while_being_computed_is_delivered_but_not_kept() -> None:
    flight = Flight(KEY)
    play = Play(flow.lead(CALL, TERMS, flight))
    play.next(Find, None)
    flight.superseded = True
    play.next(Compute, MADE)
    play.told(Computed)
    assert "invalidated" in play.told(NotKept).reason
    play.next(Land)
    outcome = play.result()
    assert (outcome.entry.value, outcome.kept) == ("made", False)


def _cannot_be_copied(value: object) -> Sealed:
    raise TypeError(f"{value} has a handle")


@pytest.mark.parametrize(
    ("terms", "reason"),
    [
        (Terms(Expiry(60), lambda value: value == "other", seal), "'when' says no"),
        (Terms(Expiry(lambda _: 0), None, seal), "its time was over"),
        (Terms(Expiry(lambda _: -5.0), None, seal), "its time was over"),
        (Terms(Expiry(60), None, _cannot_be_copied), "made has a handle"),
    ],
)
def test_what_may_not_be_kept_is_delivered_with_the_reason(terms: Terms, reason: str) -> None:
    play = Play(flow.lead(CALL, terms, Flight(KEY)))
    play.next(Find, None)
    play.next(Compute, MADE)
    play.told(Computed)
    assert reason in play.told(NotKept).reason
    assert play.next(Land).outcome.kept is False
    outcome = play.result()
    assert (outcome.entry.value, outcome.status, outcome.kept) == ("made", Status.MISS, False)


@pytest.mark.parametrize(
    "terms", [Terms(Expiry(), lambda _: 1 / 0, seal), Terms(Expiry(lambda _: 1 / 0), None, seal)]
)
def test_an_error_of_the_users_rules_reaches_all_who_wait(terms: Terms) -> None:
    play = Play(flow.lead(CALL, terms, Flight(KEY)))
    play.next(Find, None)
    play.next(Compute, MADE)
    play.told(Computed)
    assert isinstance(play.next(Land).error, ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        play.result()


def test_what_never_expires_has_no_deadline() -> None:
    entry, objection = keeping.make_entry(MADE, Terms(Expiry(), lambda _: True, refer))
    assert (entry.fresh_until, entry.stale_until, objection) == (FOREVER, FOREVER, "")


def test_a_refresh_computes_whatever_is_kept() -> None:
    play = Play(by_hand.refresh(CALL, TERMS))
    flight = Flight(KEY)
    assert play.next(Join, (flight, True)).anew is True
    lead = play.steps[-1]
    assert isinstance(lead, Lead)
    inner = Play(lead.flow)
    inner.next(Compute, MADE)
    inner.told(Computed)
    inner.next(Keep)
    inner.next(Land)
    play.next(Lead, inner.result())
    assert play.result().entry.value == "made"


def test_a_refresh_whose_leader_gave_up_becomes_a_call() -> None:
    play = Play(by_hand.refresh(CALL, TERMS))
    play.next(Join, (Flight(KEY), True))
    play.next(Lead, None).flow.close()
    play.next(Find, FRESH)
    play.told(Hit)
    assert play.result().entry is FRESH.entry


def test_who_waits_has_the_answer_before_it_is_written() -> None:
    flight = Flight(KEY)
    play = Play(flow.lead(CALL, TERMS, flight))
    play.next(Find, None)
    flight.count_waiter(1)
    play.next(Compute, MADE)
    play.told(Computed)
    share = play.next(Share)
    assert (share.flight, share.outcome.entry.value) == (flight, "made")
    assert play.next(Keep).entry is share.outcome.entry
    assert play.next(Land).outcome is share.outcome
    assert play.result() is share.outcome


def test_what_was_superseded_by_who_has_the_answer_already_is_not_written() -> None:
    flight = Flight(KEY)
    play = Play(flow.lead(CALL, TERMS, flight))
    play.next(Find, None)
    flight.count_waiter(1)
    play.next(Compute, MADE)
    play.told(Computed)
    flight.superseded = True
    play.next(Share)
    assert "invalidated" in play.told(NotKept).reason
    assert play.next(Land).outcome.kept is False
    outcome = play.result()
    assert (outcome.entry.value, outcome.status, outcome.kept) == ("made", Status.MISS, False)


def test_a_put_is_kept_rather_than_what_flights_bring() -> None:
    play = Play(by_hand.put(KEY, MADE, TERMS))
    assert play.next(Supersede).key == KEY
    assert play.next(Overtake).key == KEY
    assert play.next(Keep).entry.value == "made"
    assert play.next(Supersede).key == KEY
    assert play.next(Overtake).key == KEY
    assert play.result() is None


def test_a_put_that_may_not_be_kept_takes_away_what_was() -> None:
    play = Play(by_hand.put(KEY, MADE, Terms(Expiry(), lambda _: False, seal)))
    play.told(NotKept)
    play.next(Drop, True)
    assert play.result() is None


@pytest.mark.parametrize(("found", "status"), [(FRESH, Status.HIT), (STALE, Status.STALE)])
def test_a_peek_shows_what_is_kept(found: Found, status: Status) -> None:
    play = Play(by_hand.peek(KEY))
    play.next(Find, found)
    outcome = play.result()
    assert (outcome.entry, outcome.status, outcome.tier) == (found.entry, status, "disk")


def test_a_peek_at_nothing_is_none() -> None:
    play = Play(by_hand.peek(KEY))
    play.next(Find, None)
    assert play.result() is None


@pytest.mark.parametrize("gone", [True, False])
def test_invalidating_says_whether_there_was_anything(gone: bool) -> None:  # noqa: FBT001 - a parameter of a test
    play = Play(by_hand.invalidate(KEY))
    assert play.next(Drop, gone).key == KEY
    assert play.result() is gone


def test_past_the_cache_nothing_is_looked_up_or_kept() -> None:
    play = Play(flow.bypass(CALL))
    play.told(Bypassed)
    compute = play.next(Compute, MADE)
    assert (compute.call, compute.flight) == (CALL, None)
    outcome = play.result()
    assert (outcome.entry.value, outcome.status, outcome.kept) == ("made", Status.BYPASS, False)


SERVES_STALE = Terms(Expiry(60, stale=10), None, seal)
SERVES_ON_ERROR = Terms(Expiry(60, stale_if_error=10), None, seal)
KEEPS_ERRORS = Terms(Expiry(60, errors={RuntimeError: 5}), None, seal)


def test_a_stale_entry_answers_while_it_is_computed_in_the_background() -> None:
    flight = Flight(KEY)
    play = Play(flow.answer(CALL, SERVES_STALE))
    play.next(Find, STALE)
    assert play.next(Join, (flight, True)).later is True
    later = play.next(Later)
    event = play.told(Stale)
    assert (event.tier, event.age) == ("disk", 1000.0)
    outcome = play.result()
    assert (outcome.entry, outcome.status) == (STALE.entry, Status.STALE)

    renewal = Play(later.flow)
    renewal.next(Find, STALE)
    renewal.next(Compute, MADE)
    renewal.told(Computed)
    assert renewal.next(Keep).entry.value == "made"
    assert renewal.next(Land).flight is flight
    assert renewal.result().entry.value == "made"


def test_a_renewal_that_somebody_was_faster_with_computes_nothing() -> None:
    play = Play(flow.answer(CALL, SERVES_STALE))
    play.next(Find, STALE)
    play.next(Join, (Flight(KEY), True))
    later = play.next(Later)
    renewal = Play(later.flow)
    renewal.next(Find, FRESH)
    renewal.told(Hit)
    assert renewal.next(Land).outcome.entry is FRESH.entry


def test_one_renewal_at_a_time_is_enough() -> None:
    play = Play(flow.answer(CALL, SERVES_STALE))
    play.next(Find, STALE)
    play.next(Join, (Flight(KEY), False))
    play.told(Stale)
    assert play.result().entry is STALE.entry


def test_what_is_past_its_stale_time_is_computed() -> None:
    play = Play(flow.answer(CALL, Terms(Expiry(60, stale=0.5), None, seal)))
    play.next(Find, Found(STALE.entry, "disk", at=1000.5))
    play.next(Join, (Flight(KEY), True))
    play.next(Lead, Outcome(FRESH.entry, Status.MISS)).flow.close()
    assert play.result().entry is FRESH.entry


@pytest.mark.parametrize(("luck", "renewed"), [(0.0, False), (0.8, False), (0.9, True)])
def test_a_fresh_entry_is_renewed_early_with_luck(luck: float, renewed: bool) -> None:  # noqa: FBT001
    """It has 2 seconds left and took 1: it is renewed with a probability of exp(-2), about 0.135."""
    play = Play(flow.answer(CALL, Terms(Expiry(60, early=1.0), None, seal)))
    entry = Entry("kept", 950.0, 1002.0, 1002.0, cost=1.0)
    play.next(Find, Found(entry, "disk", at=1000.0))
    play.next(Draw, luck)
    if renewed:
        play.next(Join, (Flight(KEY), True))
        play.next(Later).flow.close()
    play.told(Hit)
    assert play.result().status is Status.HIT


def test_what_is_too_old_for_this_caller_is_computed_though_it_is_fresh() -> None:
    terms = Terms(Expiry(), None, seal, max_age=50.0)
    play = Play(flow.answer(CALL, terms))
    play.next(Find, FRESH)
    play.next(Join, (Flight(KEY), True))
    lead = Play(play.steps[-1].flow)  # type: ignore[attr-defined]
    lead.next(Find, FRESH)
    lead.next(Compute, MADE)
    lead.told(Computed)
    lead.next(Keep)
    lead.next(Land)
    play.next(Lead, lead.result())
    assert play.result().entry.value == "made"


def test_where_computing_fails_an_old_entry_answers() -> None:
    play = Play(flow.lead(CALL, SERVES_ON_ERROR, Flight(KEY)))
    play.next(Find, STALE)
    play.next(Compute, FAILURE)
    assert play.told(Raised).error is FAILURE
    play.next(Now, 1000.0)
    play.told(Stale)
    assert play.next(Land).outcome.entry is STALE.entry
    assert play.result().status is Status.STALE


def test_where_computing_fails_an_entry_that_is_too_old_does_not_answer() -> None:
    play = Play(flow.lead(CALL, SERVES_ON_ERROR, Flight(KEY)))
    play.next(Find, Found(STALE.entry, "disk", at=1010.0))
    play.next(Compute, FAILURE)
    play.told(Raised)
    play.next(Now, 1010.0)
    assert play.next(Land).error is FAILURE
    with pytest.raises(RuntimeError, match="the step failed"):
        play.result()


@pytest.mark.parametrize(("max_age", "after"), [(50.0, 1005.0), (FOREVER, 1010.0)])
def test_where_computing_fails_nothing_answers_that_is_too_old_by_then(max_age: float, after: float) -> None:
    play = Play(flow.lead(CALL, Terms(ON_ERROR, None, seal, max_age=max_age), Flight(KEY)))
    play.next(Find, STALE)
    play.next(Compute, FAILURE)
    play.told(Raised)
    play.next(Now, after)
    assert play.next(Land).error is FAILURE
    with pytest.raises(RuntimeError, match="the step failed"):
        play.result()


def test_an_error_is_kept_for_its_time_where_that_is_asked_for() -> None:
    play = Play(flow.lead(CALL, KEEPS_ERRORS, Flight(KEY)))
    play.next(Find, None)
    play.next(Compute, FAILURE)
    play.told(Raised)
    play.next(Find, None)  # a refresh has not looked yet
    play.next(Now, 1000.0)
    entry = play.next(Keep).entry
    assert isinstance(entry.value, Failure)
    assert (type(entry.value.error), entry.created, entry.fresh_until) == (RuntimeError, 1000.0, 1005.0)
    assert play.next(Land).error is FAILURE
    with pytest.raises(RuntimeError, match="the step failed"):
        play.result()


@pytest.mark.parametrize("superseded", [True, False])
def test_an_error_of_another_type_or_of_older_facts_is_not_kept(superseded: bool) -> None:  # noqa: FBT001
    flight = Flight(KEY)
    play = Play(flow.lead(CALL, KEEPS_ERRORS, flight))
    play.next(Find, None)
    flight.superseded = superseded
    error = RuntimeError("old") if superseded else ValueError("other")
    play.next(Compute, error)
    play.told(Raised)
    assert play.next(Land).error is error
    with pytest.raises(type(error)):
        play.result()


def test_jitter_shortens_a_lifetime_by_luck() -> None:
    play = Play(flow.lead(CALL, Terms(Expiry(60, jitter=0.5), None, seal), Flight(KEY)))
    play.next(Find, None)
    play.next(Compute, MADE)
    play.next(Draw, 0.5)
    play.told(Computed)
    assert play.next(Keep).entry.fresh_until == 1045.0
    play.next(Land)
    play.result()


SHARED = Terms(Expiry(60), None, seal, shared=True, wait=1.0)
LOCK = object()


def test_where_processes_share_a_lock_it_is_held_while_computing() -> None:
    play = Play(flow.lead(CALL, SHARED, Flight(KEY)))
    assert play.next(GetLock, LOCK).key == KEY
    assert play.next(TryLock, reply=True).lock is LOCK
    play.next(Find, None)
    play.next(Compute, MADE)
    play.told(Computed)
    assert play.next(Overtaken, reply=False).lock is LOCK
    play.next(Keep)
    unlock = play.next(Unlock)
    assert (unlock.lock, unlock.wrote) == (LOCK, True)
    play.next(Land)
    assert play.result().entry.value == "made"


def test_what_another_process_has_overtaken_is_delivered_but_not_kept() -> None:
    play = Play(flow.lead(CALL, SHARED, Flight(KEY)))
    play.next(GetLock, LOCK)
    play.next(TryLock, reply=True)
    play.next(Find, None)
    play.next(Compute, MADE)
    play.told(Computed)
    play.next(Overtaken, reply=True)
    assert "written" in play.told(NotKept).reason
    assert not play.next(Unlock).wrote
    play.next(Land)
    assert (play.result().entry.value, play.result().kept) == ("made", False)


def test_a_tier_without_a_lock_after_all_computes_without() -> None:
    play = Play(flow.lead(CALL, SHARED, Flight(KEY)))
    play.next(GetLock, None)
    play.next(Find, None)
    play.next(Compute, MADE)
    play.told(Computed)
    play.next(Keep)
    play.next(Land)
    assert play.result().entry.value == "made"


def test_what_another_process_has_computed_meanwhile_answers() -> None:
    play = Play(flow.lead(CALL, SHARED, Flight(KEY)))
    play.next(GetLock, LOCK)
    play.next(TryLock, reply=False)
    assert play.next(Pause).seconds > 0
    play.next(TryLock, reply=False)
    play.next(Find, DEAD)
    play.next(Pause)
    play.next(TryLock, reply=False)
    play.next(Find, FRESH)
    play.told(Hit)
    assert play.next(Land).outcome.entry is FRESH.entry
    assert play.result().status is Status.HIT


def test_a_lock_that_becomes_free_is_taken_and_the_entry_looked_for_once_more() -> None:
    play = Play(flow.lead(CALL, SHARED, Flight(KEY)))
    play.next(GetLock, LOCK)
    play.next(TryLock, reply=False)
    play.next(Pause)
    play.next(TryLock, reply=True)
    play.next(Find, FRESH)
    play.told(Hit)
    play.next(Unlock)
    play.next(Land)
    assert play.result().status is Status.HIT


def test_a_lock_that_stays_taken_is_waited_for_no_longer_than_agreed() -> None:
    play = Play(flow.lead(CALL, SHARED, Flight(KEY)))
    play.next(GetLock, LOCK)
    play.next(TryLock, reply=False)
    waited = 0.0
    while isinstance(play.steps[-1], Pause):
        waited += play.next(Pause).seconds
        play.next(TryLock, reply=False)
        play.next(Find, None)
    assert waited == pytest.approx(1.0)
    play.next(Find, None)
    play.next(Compute, MADE)
    play.told(Computed)
    play.next(Keep)
    play.next(Land)
    assert play.result().entry.value == "made"


def test_a_renewal_gives_up_at_once_where_another_process_holds_the_lock() -> None:
    flight = Flight(KEY)
    play = Play(flow.answer(CALL, msgspec.structs.replace(SERVES_STALE, shared=True)))
    play.next(Find, STALE)
    play.next(Join, (flight, True))
    renewal = Play(play.next(Later).flow)
    renewal.next(GetLock, LOCK)
    renewal.next(TryLock, reply=False)
    land = renewal.next(Land)
    assert (land.flight, land.outcome, is_cancellation(land.error)) == (flight, None, True)


def test_an_error_lets_go_of_the_lock() -> None:
    play = Play(flow.lead(CALL, SHARED, Flight(KEY)))
    play.next(GetLock, LOCK)
    play.next(TryLock, reply=True)
    play.next(Find, None)
    play.next(Compute, FAILURE)
    play.told(Raised)
    play.next(Unlock)
    assert play.next(Land).error is FAILURE
    with pytest.raises(RuntimeError, match="the step failed"):
        play.result()


@pytest.mark.parametrize("waits", [True, False])
def test_a_failing_lookup_lets_go_of_the_lock(waits: bool) -> None:  # noqa: FBT001 - a parameter of a test
    play = Play(flow.lead(CALL, SHARED, Flight(KEY)))
    play.next(GetLock, LOCK)
    if waits:
        play.next(TryLock, reply=False)
        play.next(Pause)
    play.next(TryLock, reply=True)
    play.next(Find, FAILURE)
    assert play.next(Unlock).lock is LOCK
    assert play.next(Land).error is FAILURE
    with pytest.raises(RuntimeError, match="the step failed"):
        play.result()
