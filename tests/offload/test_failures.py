"""Exceptions come home as they were, or are represented faithfully; neither way raises."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import pickle
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcache import RemoteError
from mlcache.offload import failures
from mlcache.offload.failures import WorkerTraceback
from tests.offload import samples


def attempt(function: Callable[..., Any], *args: Any) -> bytes:
    try:
        function(*args)
    except BaseException as error:  # noqa: BLE001 - it is what is looked at
        return failures.pack(error)
    return b""


def throw(error: BaseException) -> None:
    raise error


def sent(error: BaseException) -> BaseException:
    return failures.unpack(attempt(throw, error))


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Callable[..., BaseException]]:
    """The exception that a function raises in another process, brought home."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        executor.submit(os.getpid).result()
        yield lambda *call: failures.unpack(executor.submit(attempt, *call).result())


def trace_of(error: BaseException) -> str:
    """What the innermost cause shows."""
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    assert isinstance(error, WorkerTraceback)
    return error.text


def test_members_of_a_group_come_home_with_what_they_were_raised_from() -> None:
    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__context__ = OSError(2, "gone"), ValueError("before")
    first.add_note("of the first")
    group = sent(ExceptionGroup("several", [first, ExceptionGroup("inner", [second])]))
    assert isinstance(group, ExceptionGroup)
    here, inner = group.exceptions
    assert (repr(here.__cause__), here.__notes__) == (repr(first.__cause__), ["of the first"])
    assert isinstance(inner, ExceptionGroup)
    assert repr(inner.exceptions[0].__context__) == "ValueError('before')"


def test_a_member_that_cannot_be_pickled_keeps_no_other_of_its_group() -> None:
    odd = ValueError("odd")
    odd.held = threading.Lock()  # type: ignore[attr-defined]
    odd.__cause__ = KeyError("why")
    group = sent(ExceptionGroup("several", [odd, TypeError("plain")]))
    assert isinstance(group, ExceptionGroup)
    assert group.message == "several"
    represented, plain = group.exceptions
    assert isinstance(represented, RemoteError)
    assert repr(represented.__cause__) == "KeyError('why')"
    assert repr(plain) == "TypeError('plain')"


def test_it_comes_home_with_its_cause_its_context_and_its_notes(
    elsewhere: Callable[..., BaseException],
) -> None:
    error = elsewhere(samples.fail, 5)
    assert type(error) is KeyError
    assert error.args == ("the last", 5)
    assert error.__notes__ == ["a note of the function"]
    middle = error.__cause__
    assert type(middle) is samples.OtherArgumentsError
    assert (middle.code, str(middle)) == (5, "failed with 5")
    assert type(middle.__cause__) is RuntimeError
    text = trace_of(error)
    assert "in fail\n" in text
    assert "the innermost" in text
    assert "a note of the function" in text
    shown = "".join(traceback.format_exception(error))
    assert shown.index("in fail\n") < shown.index("direct cause") < shown.index("KeyError: ('the last', 5)")


def test_what_it_was_raised_while_handling_is_kept_and_shown() -> None:
    def both() -> None:
        try:
            throw(ValueError("first"))
        except ValueError:
            throw(TypeError("second"))

    error = failures.unpack(attempt(both))
    assert error.__cause__ is None
    assert type(error.__context__) is ValueError
    shown = "".join(traceback.format_exception(error))
    assert "During handling of the above" in shown
    assert "in both\n" in shown


def test_what_was_hidden_stays_hidden() -> None:
    def hides() -> None:
        try:
            throw(ValueError("hidden"))
        except ValueError:
            raise TypeError("shown") from None

    error = failures.unpack(attempt(hides))
    shown = "".join(traceback.format_exception(error))
    assert "hidden" not in shown
    assert "in hides\n" in shown


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a", 1, None),
        KeyError("k"),
        FileNotFoundError(2, "no such file", "a.txt"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        ImportError("gone", name="a", path="b"),
        samples.OtherArgumentsError(7),
        samples.TwoArgumentsError("trouble", where="here"),
        samples.FileTroubleError(13),
        AssertionError(),
        RuntimeError("half a character: \ud800"),
        ExceptionGroup("several", [ValueError("a"), samples.OtherArgumentsError(2)]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_it_is_as_it_was(error: Any) -> None:
    other: Any = sent(error)
    assert type(other) is type(error)
    assert repr(other.args) == repr(error.args)
    assert str(other) == str(error)
    assert vars(other).keys() == vars(error).keys()
    for name in ("errno", "filename", "code", "where", "name", "path", "reason", "extra"):
        assert getattr(other, name, None) == getattr(error, name, None)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (samples.HoldsLockError("it holds a lock"), "it holds a lock"),
        (samples.RaisesOnPicklingError("one"), "one"),
        (samples.RaisesOnUnpicklingError("two"), "two"),
        (samples.NoWordsError("three"), "(its message cannot be shown)"),
    ],
)
def test_what_cannot_be_brought_home_is_represented(error: Exception, message: str) -> None:
    error.add_note("and a note")
    other = sent(error)
    assert type(other) is RemoteError
    assert other.kind == f"tests.offload.samples.{type(error).__name__}"
    assert other.message == message
    assert other.__notes__ == ["and a note"]
    assert "in throw\n" in other.traceback
    assert str(other) == f"{other.kind}: {message}"
    again = pickle.loads(pickle.dumps(other))
    assert (again.kind, again.message, again.traceback) == (other.kind, message, other.traceback)


def test_what_can_be_unpickled_there_alone_is_represented(elsewhere: Callable[..., BaseException]) -> None:
    error = elsewhere(throw, samples.OtherArgumentsError(1))
    assert type(error) is samples.OtherArgumentsError
    error = elsewhere(hidden_trouble)
    assert type(error) is RemoteError
    assert error.kind == "tests.offload.samples.HiddenTroubleError"


def hidden_trouble() -> None:
    raise samples.HiddenTroubleError("only there")


def test_a_cause_that_cannot_be_brought_home_does_not_keep_the_rest() -> None:
    error = ValueError("can")
    error.__cause__ = samples.HoldsLockError("cannot")
    other = sent(error)
    assert type(other) is ValueError
    assert type(other.__cause__) is RemoteError
    assert other.__cause__.message == "cannot"


@pytest.mark.parametrize(
    "error",
    [
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        asyncio.CancelledError(),
        concurrent.futures.CancelledError(),
        BaseExceptionGroup("both", [SystemExit(1)]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_would_end_or_cancel_the_caller_is_represented(error: BaseException) -> None:
    other = sent(error)
    assert type(other) is RemoteError
    assert other.kind.endswith(type(error).__name__)


class CancelledError(ValueError):
    """What a user may call an error of an order, say."""


def test_an_error_that_is_only_called_so_cancels_nobody_and_comes_home() -> None:
    other = sent(CancelledError("order 3"))
    assert type(other) is CancelledError
    assert other.args == ("order 3",)


@pytest.mark.parametrize("error", [StopIteration(4), StopAsyncIteration()])
def test_no_future_of_asyncio_could_take_a_stop_iteration(error: Exception) -> None:
    other = sent(error)
    assert type(other) is RuntimeError
    assert type(other.__cause__) is type(error)


def test_a_class_of_a_notebook_is_the_same_when_it_comes_home(
    elsewhere: Callable[..., BaseException],
) -> None:
    import cloudpickle

    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(  # noqa: S102 - as a notebook does
        "class Odd(Exception): pass\ndef fail(x):\n    raise Odd(x)\n", scope
    )
    error = elsewhere(_unpickle_and_call, cloudpickle.dumps(scope["fail"]), 3)
    assert type(error) is scope["Odd"]
    assert error.args == (3,)


def _unpickle_and_call(data: bytes, *args: Any) -> None:
    pickle.loads(data)(*args)


def test_our_own_frames_are_left_out() -> None:
    from mlcache.offload import functions

    text = trace_of(failures.unpack(attempt(_run, functions.pack(samples.fail))))
    assert "in fail\n" in text
    assert text.count("in call\n") == 0 or text.index("in _run\n") < text.index("in call\n")


def _run(data: bytes) -> None:
    from mlcache.offload import functions

    functions.unpack(data)(1)


def test_a_long_traceback_is_cut_in_the_middle() -> None:
    text = trace_of(sent(ValueError("x" * 1_000_000)))
    assert len(text) < 70_000
    assert text.startswith("Traceback")
    assert "characters more" in text


def test_a_chain_without_end_is_cut() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    error = sent(one)
    assert type(error.__cause__) is ValueError
    assert type(error.__cause__.__cause__) is WorkerTraceback
    for _ in range(100):
        outer = ValueError()
        outer.__cause__ = one
        one = outer
    assert type(sent(one)) is ValueError


def test_one_that_holds_very_much_is_represented() -> None:
    error = ValueError("large")
    error.data = bytes(failures._LARGEST)  # type: ignore[attr-defined]
    assert type(sent(error)) is RemoteError


def test_recursion_that_goes_too_deep_comes_home() -> None:
    def deeper(x: int) -> int:
        return deeper(x) + 1

    error = failures.unpack(attempt(deeper, 1))
    assert type(error) is RecursionError
    assert "repeated" in trace_of(error)


@given(st.binary(max_size=200))
def test_rubbish_is_an_error_to_be_returned(data: bytes) -> None:
    assert isinstance(failures.unpack(data), Exception)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 0.999])
def test_an_exception_that_was_cut_short_is_an_error_to_be_returned(share: float) -> None:
    data = attempt(samples.fail, 1)
    assert type(failures.unpack(data[: int(len(data) * share)])) is RemoteError
