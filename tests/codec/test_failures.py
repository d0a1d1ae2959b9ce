"""Exceptions that are kept as answers, as far as they need no pickle."""

from __future__ import annotations

import pytest

from mlcache.codec import FrameCodec
from mlcache.codec.tree import TreeReader
from mlcache.entry import Entry, Failure
from mlcache.errors import CannotEncodeError

CODEC = FrameCodec()


class OwnError(ValueError):
    """Of a type that is not Python's own."""


def noted() -> ValueError:
    error = ValueError("no")
    error.add_note("why")
    return error


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("down"),
        KeyError(("a", 1)),
        FileNotFoundError(2, "no such file", "x.txt"),
        OSError(),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        StopIteration([1]),
        ZeroDivisionError(),
    ],
    ids=repr,
)
def test_exceptions_of_pythons_own_come_back_without_a_secret(error: Exception) -> None:
    found = CODEC.decode(CODEC.encode(Entry(Failure(error), 1.0))).value
    assert type(found) is Failure
    assert type(found.error) is type(error)
    assert found.error.__reduce__() == error.__reduce__()


@pytest.mark.parametrize("error", [OwnError("no"), noted(), ExceptionGroup("some", [ValueError()])], ids=repr)
def test_other_exceptions_need_a_pickle_and_say_what_does_not(error: Exception) -> None:
    with pytest.raises(CannotEncodeError, match=r"MLCACHE_SECRET .* or raise .* Python's own"):
        CODEC.encode(Entry(Failure(error), 1.0))


@pytest.mark.parametrize("name", ["SystemExit", "BaseException", "int", "OwnError", "eval"])
def test_a_frame_can_name_no_other_type(name: str) -> None:
    reader = TreeReader(memoryview(b""))
    args = ["tuple", ["1"], True]
    assert type(reader.value(["failure", "ValueError", args]).error) is ValueError
    with pytest.raises(KeyError):
        reader.value(["failure", name, args])
