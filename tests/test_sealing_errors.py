"""Kept exceptions: each caller is raised one of his own, with all that the first had."""

from __future__ import annotations

from typing import Any

import pytest

from mlcache import Expiry, ml_cache
from mlcache.sealing_errors import copy_of_error


class CodedError(ValueError):
    """An exception that cannot be made of its ``args`` alone."""

    def __init__(self, text: str, *, code: int) -> None:
        super().__init__(text)
        self.code = code


class Batch(ExceptionGroup[Exception]):
    """A group that says nothing of how others are derived from it."""


def failing(error: Exception, cause: Exception | None = None) -> Any:
    @ml_cache(ttl=Expiry("1h", errors={Exception: "60s"}), ignore=["error", "cause"])
    def f() -> None:
        raise error from cause

    return f


def raised(f: Any) -> Any:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is what is looked at
        f()
    return caught.value


def test_notes_and_arguments_of_a_kept_error_are_each_callers_own() -> None:
    error = ValueError("x", [1])
    error.add_note("first")
    f = failing(error)
    for number in range(4):
        found = raised(f)
        assert (found.args, found.__notes__) == (("x", [1]), ["first"])
        found.add_note(f"caller {number}")
        found.args[1].append(number)


def test_a_kept_error_keeps_its_cause() -> None:
    cause = KeyError("k")
    f = failing(ValueError("x"), cause)
    for _ in range(3):
        found = raised(f)
        assert found.__cause__ is cause
        assert found.__suppress_context__


def test_members_of_a_kept_group_are_each_callers_own() -> None:
    f = failing(ExceptionGroup("all", [ValueError("x", [1])]))
    for _ in range(3):
        (member,) = raised(f).exceptions
        assert member.args == ("x", [1])
        assert not hasattr(member, "__notes__")
        member.add_note("mine")
        member.args[1].append(2)


def test_a_group_stays_of_its_class() -> None:
    assert type(copy_of_error(Batch("all", [ValueError()]))) is Batch


def test_an_error_with_other_arguments_than_it_keeps_is_copied() -> None:
    f = failing(CodedError("x", code=4))
    first, second = raised(f), raised(f)
    assert (type(second), second.args, second.code) == (CodedError, ("x",), 4)
    assert first is not second is not raised(f)
