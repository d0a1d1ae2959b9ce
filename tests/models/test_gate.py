from __future__ import annotations

from collections.abc import Iterator

import pytest

from mlcache.errors import InvalidModelError, ModelStoreError, UnknownModelError
from mlcache.models.gate import Gate
from mlcache.testing.clock import FakeClock


@pytest.fixture
def time() -> Iterator[FakeClock]:
    with FakeClock() as fake:
        yield fake


@pytest.fixture
def down(time: FakeClock) -> Gate:
    """A gate before a store that did not answer, and may be tried again."""
    gate = Gate(1.0, 5.0)
    gate.note("a", ModelStoreError("down"))
    with pytest.raises(ModelStoreError, match="down"):
        gate.check("b")
    time.advance(1)
    return gate


def test_one_tries_at_a_time_however_long_it_takes(down: Gate, time: FakeClock) -> None:
    with pytest.raises(ModelStoreError, match="still down"), down.passing("a"):
        _wait_for_no_answer(down, time)
    assert not down.would_ask
    time.advance(1)
    assert down.would_ask


def _wait_for_no_answer(gate: Gate, time: FakeClock) -> None:
    for _ in range(5):
        time.advance(1)
        assert not gate.would_ask
        with pytest.raises(ModelStoreError, match=r"^down") as caught, gate.passing("b"):
            pass
        assert caught.value.retry_after
        assert 0 < caught.value.retry_after <= 1
    gate.note("a", error := ModelStoreError("still down"))
    raise error


def test_a_try_that_ends_otherwise_lets_the_next_one_try(down: Gate, time: FakeClock) -> None:
    with pytest.raises(KeyboardInterrupt), down.passing("a"):
        raise KeyboardInterrupt
    time.advance(1)
    with down.passing("b"):
        down.note("b", None)
    with down.passing("a"), down.passing("b"):  # all may pass
        assert not down.is_closed


def test_what_was_unknown_a_moment_ago_is_refused(time: FakeClock) -> None:
    gate = Gate(1.0, 5.0)
    gate.note("a", UnknownModelError("a"))
    with pytest.raises(UnknownModelError):
        gate.check("a")
    gate.check("b")
    time.advance(5)
    gate.check("a")


def test_a_damaged_model_is_not_asked_for_again_and_again(time: FakeClock) -> None:
    gate = Gate(1.0, 5.0)
    gate.note("a", InvalidModelError("torn"))
    gate.check("b")
    with pytest.raises(InvalidModelError, match="torn"):
        gate.check("a")
    gate.forget("a")
    gate.check("a")
    gate.note("a", InvalidModelError("torn"))
    time.advance(5)
    gate.check("a")
