"""The flow of a batch, driven by hand: what it does about errors of the batches of others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mlcache.batch.flow import answer
from mlcache.batch.steps import FindMany, JoinMany, TellMany
from mlcache.entry import Key
from mlcache.flight import Flight
from mlcache.steps import Wait

GOOD, BAD = Key("app.f@1", b"good"), Key("app.f@1", b"bad")


def joining(*keys: Key) -> Any:
    """The flow of a call for these keys, of which nothing is kept; it is about to join their flights."""
    order: Any = SimpleNamespace(keys=list(keys))
    plan: Any = SimpleNamespace(terms=None, advance=lambda _: None)
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
    step = flow.send([(flight, False) for flight in flights])
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
