"""The flow of a batch, driven by hand: what it makes of the batches of others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mlcache.backends.tiered import Found
from mlcache.batch.flow import answer
from mlcache.batch.steps import FindMany, Hasten, JoinMany, TellMany
from mlcache.entry import FOREVER, Entry, Expiry, Key
from mlcache.events import Coalesced, Stale
from mlcache.flight import Flight
from mlcache.sealing import seal
from mlcache.steps import Now, Outcome, Status, Wait
from mlcache.terms import Terms

GOOD, BAD = Key("app.f@1", b"good"), Key("app.f@1", b"bad")


ON_ERROR = Expiry(60, stale_if_error=10)
FRESH = Entry("kept", created=900.0, fresh_until=2000.0, stale_until=2000.0)
STALE = Entry("stale", created=940.0, fresh_until=1000.0, stale_until=1010.0)


def joining(*keys: Key, max_age: float = FOREVER) -> Any:
    """The flow of a call for these keys; it has asked what is kept of them."""
    order: Any = SimpleNamespace(keys=list(keys))
    plan: Any = SimpleNamespace(terms=Terms(ON_ERROR, None, seal, max_age=max_age), advance=lambda _: None)
    flow: Any = answer(order, plan)
    assert isinstance(flow.send(None), FindMany)
    return flow


def followed(flow: Any, step: Any, error: Exception) -> Any:
    """The step after all flights turned out to be led by a batch of others, which failed with ``error``."""
    assert isinstance(step, JoinMany)
    assert not step.anew
    flights = [Flight(key) for key in step.keys]
    for flight in flights:
        flight.suspects = frozenset([GOOD, BAD])
    assert isinstance(flow.send([(flight, False) for flight in flights]), Now)
    assert isinstance(flow.send(1000.0), Hasten)
    step = flow.send(None)
    while isinstance(step, Wait):
        step = flow.throw(error)
    assert isinstance(step, TellMany)
    return flow.send(None)


def test_what_fails_twice_with_the_items_of_others_is_led_without_them() -> None:
    flow = joining(GOOD)
    step = flow.send([None])
    for _ in range(2):
        step = followed(flow, step, ValueError("a bad item"))
    assert (type(step), step.keys, step.anew) == (JoinMany, [GOOD], True)
    flow.close()


def test_what_may_only_be_about_our_own_items_is_raised_at_once() -> None:
    flow = joining(GOOD, BAD)
    with pytest.raises(ValueError, match="a bad item"):
        followed(flow, flow.send([None, None]), ValueError("a bad item"))


@pytest.mark.parametrize(
    ("landed", "max_age", "asked", "accepted"),
    [
        (Outcome(FRESH, Status.HIT, "disk"), FOREVER, 1000.0, True),
        (Outcome(FRESH, Status.HIT, "disk"), 50.0, 1000.0, False),
        (Outcome(FRESH, Status.HIT, "disk"), 50.0, 950.0, True),
        (Outcome(FRESH, Status.MISS), 50.0, 800.0, True),
        (Outcome(STALE, Status.STALE, "disk"), FOREVER, 1009.0, True),
        (Outcome(STALE, Status.STALE, "disk"), 50.0, 1000.0, False),
    ],
)
def test_what_the_batch_of_others_had_found_must_do_for_who_waited(
    landed: Outcome, max_age: float, asked: float, *, accepted: bool
) -> None:
    flow = joining(GOOD, max_age=max_age)
    assert isinstance(flow.send([None]), JoinMany)
    assert isinstance(flow.send([(Flight(GOOD), False)]), Now)
    assert isinstance(flow.send(asked), Hasten)
    assert isinstance(flow.send(None), Wait)
    assert isinstance(flow.send(landed), TellMany)
    if not accepted:
        assert isinstance(flow.send(None), JoinMany), "it sees to the item itself"
        flow.close()
        return
    with pytest.raises(StopIteration) as end:
        flow.send(None)
    assert [(each.entry, each.status) for each in end.value.value] == [(landed.entry, Status.COALESCED)]


@pytest.mark.parametrize(
    ("max_age", "at", "served"), [(FOREVER, 1009.0, True), (FOREVER, 1010.0, False), (50.0, 1005.0, False)]
)
def test_what_was_found_may_answer_where_the_batch_of_others_fails(
    max_age: float, at: float, *, served: bool
) -> None:
    flow = joining(GOOD, max_age=max_age)
    assert isinstance(flow.send([Found(STALE, "disk", 1000.0)]), JoinMany)
    assert isinstance(flow.send([(Flight(GOOD), False)]), Now)
    assert isinstance(flow.send(1000.0), Hasten)
    assert isinstance(flow.send(None), Wait)
    assert isinstance(flow.throw(ValueError("down")), Now)
    if not served:
        with pytest.raises(ValueError, match="down"):
            flow.send(at)
        return
    step = flow.send(at)
    assert [type(event) for event in step.events] == [Coalesced, Stale]
    with pytest.raises(StopIteration) as end:
        flow.send(None)
    assert [(each.entry, each.status) for each in end.value.value] == [(STALE, Status.STALE)]
