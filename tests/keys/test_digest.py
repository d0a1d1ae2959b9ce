"""Tests of the digest: what is equal and what is apart."""

from __future__ import annotations

import pytest

from mlcache.errors import UnhashableArgumentError
from mlcache.keys import digest


class Opaque:
    """An object that nobody says anything about."""


def test_look_alikes_are_apart() -> None:
    values = [1, 1.0, True, "1", b"1", (1,), [1], {1}, frozenset({1}), {1: 1}, None, 0, 0.0, -0.0, False]
    assert len({digest(value) for value in values}) == len(values)


def test_the_prefix_counts() -> None:
    assert digest((1,), b"a") != digest((1,), b"b")


def test_an_object_without_a_key_is_refused_with_its_path() -> None:
    with pytest.raises(UnhashableArgumentError) as caught:
        digest(([1, {"a": Opaque()}],))
    assert caught.value.path == "[0][1]['a']"
    assert caught.value.kind is Opaque
