"""The hash function under every key, and the choice of it."""

from __future__ import annotations

import array
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mlcache.errors import ConfigurationError, MissingExtraError
from mlcache.keys import digest, hashing

VALUES: list[Any] = [
    1,
    "a",
    bytes(10_000),
    bytearray(5),
    memoryview(b"abcd").cast("H"),
    array.array("d", [1.5]),
    np.arange(10),
    np.zeros((0, 3)),
    np.array(1.5),
    np.zeros((300, 400)).T,
    np.array(["2020"], "M8[s]"),
    np.array(["a"]),
    np.array([1, "a"], object),
]


@pytest.fixture(autouse=True)
def _choose_again() -> Iterator[None]:
    yield
    hashing.choose("xxh3")


def keys() -> list[bytes]:
    return [digest(value) for value in VALUES]


def test_the_choice_changes_every_key() -> None:
    pytest.importorskip("blake3")
    made = [keys()]
    for secret in (None, "one", "other"):
        hashing.choose("blake3", secret)
        assert keys() == keys()
        made.append(keys())
    for same_value in zip(*made, strict=True):
        assert len(set(same_value)) == 4
    assert all(len(key) == 16 for key in made[1])


@pytest.mark.parametrize("name", ["xxh3", "blake3"])
def test_a_stream_of_pieces_is_the_whole(name: str) -> None:
    if name == "blake3":
        pytest.importorskip("blake3")
    hashing.choose(name)
    assert hashing.hash128_stream([b"ab", b"", b"c"]) == hashing.hash128(b"abc")
    assert hashing.hash128_stream(iter([])) == hashing.hash128(b"")


@pytest.mark.parametrize(("name", "secret"), [("md5", None), ("xxh3", "secret"), ("", None)])
def test_another_name_is_refused(name: str, secret: str | None) -> None:
    with pytest.raises(ConfigurationError, match="choose 'xxh3'"):
        hashing.choose(name, secret)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "blake3", None)
    with pytest.raises(MissingExtraError, match=r"mlcache\[blake3\]"):
        hashing.choose("blake3")
