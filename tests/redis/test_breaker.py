"""The circuit breaker: what is refused, when it is probed, and that nobody waits for a probe."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from mlcache.backends.breaker import LONGEST_PAUSE, Breaker
from mlcache.errors import BackendError
from mlcache.testing import FakeClock


class Patient:
    """A server that is dead or alive, and counts how often it is asked."""

    def __init__(self) -> None:
        self.alive = False
        self.asked = 0

    def probe(self) -> None:
        self.asked += 1
        if not self.alive:
            raise ConnectionError("still dead")


@pytest.fixture
def time() -> Iterator[FakeClock]:
    with FakeClock() as clock:
        yield clock


@pytest.fixture
def patient() -> Patient:
    return Patient()


@pytest.fixture
def breaker(patient: Patient, time: FakeClock) -> Breaker:
    _ = time
    return Breaker("redis at here:1", 1.0, patient.probe)


def refused(breaker: Breaker) -> bool:
    """Whether a call is refused, and any probe that it started is over."""
    try:
        breaker.check()
    except BackendError:
        return True
    finally:
        breaker.close()
    return False


def test_it_lets_calls_pass_until_one_fails(breaker: Breaker, patient: Patient) -> None:
    assert not refused(breaker)
    error = breaker.trip(TimeoutError("no answer"))
    assert isinstance(error, BackendError)
    assert str(error) == "redis at here:1 does not answer: TimeoutError: no answer"
    with pytest.raises(BackendError, match="left alone until it answers again: TimeoutError: no answer"):
        breaker.check()
    assert patient.asked == 0


def test_it_asks_after_the_pause_and_lets_calls_pass_when_there_is_an_answer(
    breaker: Breaker, patient: Patient, time: FakeClock
) -> None:
    breaker.trip(TimeoutError())
    time.advance(0.99)
    assert refused(breaker)
    assert patient.asked == 0
    patient.alive = True
    time.advance(0.51)
    assert refused(breaker)  # nobody waits for the probe that this call started
    assert patient.asked == 1
    assert not refused(breaker)


def test_the_pause_doubles_while_there_is_no_answer_up_to_a_bound(
    breaker: Breaker, patient: Patient, time: FakeClock
) -> None:
    breaker.trip(TimeoutError())
    pause = 1.0
    for asked in range(1, 9):
        time.advance(pause * 0.99)
        assert refused(breaker)
        assert patient.asked == asked - 1
        time.advance(pause * 0.52)
        assert refused(breaker)
        assert patient.asked == asked
        pause = min(pause * 2, LONGEST_PAUSE)
    assert pause == LONGEST_PAUSE


def test_after_it_was_closed_it_begins_with_the_first_pause_again(
    breaker: Breaker, patient: Patient, time: FakeClock
) -> None:
    breaker.trip(TimeoutError())
    for _ in range(3):
        time.advance(LONGEST_PAUSE * 1.5)
        assert refused(breaker)
    patient.alive = True
    time.advance(LONGEST_PAUSE * 1.5)
    assert refused(breaker)
    assert not refused(breaker)
    breaker.trip(TimeoutError())
    time.advance(1.5)
    assert refused(breaker)
    assert not refused(breaker)


def test_failures_of_calls_that_were_under_way_do_not_put_off_the_probe(
    breaker: Breaker, patient: Patient, time: FakeClock
) -> None:
    breaker.trip(TimeoutError("first"))
    patient.alive = True
    time.advance(1.5)
    breaker.trip(TimeoutError("second"))
    with pytest.raises(BackendError, match="first"):
        breaker.check()
    breaker.close()
    assert patient.asked == 1


def test_there_is_one_probe_at_a_time(time: FakeClock) -> None:
    entered, leave = threading.Event(), threading.Event()
    asked: list[int] = []

    def probe() -> None:
        asked.append(1)
        entered.set()
        assert leave.wait(10)

    breaker = Breaker("it", 1.0, probe)
    breaker.trip(TimeoutError())
    time.advance(1.5)
    for _ in range(5):
        with pytest.raises(BackendError):
            breaker.check()
    assert entered.wait(10)
    time.advance(1000)
    with pytest.raises(BackendError):
        breaker.check()
    leave.set()
    breaker.close()
    assert len(asked) == 1
    assert not breaker.is_open
