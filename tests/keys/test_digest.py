"""Tests of the digest: what is equal and what is apart."""

from __future__ import annotations

import dataclasses
import enum
import gc
import sys
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import attrs
import msgspec
import numpy as np
import pandas as pd
import pytest

from mlcache.errors import UnhashableArgumentError
from mlcache.keys import digest
from mlcache.keys.digest import ENCODERS


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


def a_dataclass() -> Any:
    return dataclasses.make_dataclass("C", ["a"], frozen=True)(1)


def a_slotted_one() -> Any:
    class Base:
        __slots__ = ("more",)

    value = dataclasses.make_dataclass("C", ["a"], bases=(Base,), slots=True)(1)
    value.more = 2
    return value


def one_with_a_key() -> Any:
    return type("C", (), {"__ml_cache_key__": lambda _: 1})()


def one_of_attrs() -> Any:
    return attrs.make_class("C", ["a"])(1)


def a_struct() -> Any:
    return msgspec.defstruct("C", ["a"])(1)


def a_member() -> Any:
    class C(enum.Enum):
        A = 1

    return C.A


def a_tuple() -> Any:
    class C(NamedTuple):
        a: int

    return C(1)


def a_reduced_one() -> Any:
    return type("C", (), {"__reduce__": lambda _: (int, ())})()


def an_array() -> Any:
    return np.zeros(3).view(type("C", (np.ndarray,), {}))


def a_frame() -> Any:
    return type("C", (pd.DataFrame,), {})({"a": [1]})


MAKERS = [
    a_dataclass,
    a_slotted_one,
    one_with_a_key,
    one_of_attrs,
    a_struct,
    a_member,
    a_tuple,
    a_reduced_one,
    an_array,
    a_frame,
]


@pytest.mark.parametrize("make", MAKERS)
def test_a_class_that_is_found_nowhere_is_let_go(make: Callable[[], Any]) -> None:
    value = make()
    assert digest(value) == digest(value)
    kind = weakref.ref(type(value))
    del value
    gc.collect()
    assert kind() is None


def test_a_class_that_is_not_found_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    value = a_dataclass()
    digest(value)
    monkeypatch.setattr(ENCODERS, "resolve", None)
    assert digest(value)


def test_a_class_that_is_defined_anew_lets_the_former_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook: Any = ModuleType("notebook_of_a_test")
    monkeypatch.setitem(sys.modules, notebook.__name__, notebook)

    def run_cell() -> weakref.ref[type]:
        notebook.C = type("C", (), {"__module__": notebook.__name__, "__ml_cache_key__": lambda _: 1})
        digest(notebook.C())
        assert notebook.C in ENCODERS
        return weakref.ref(notebook.C)

    former, latter = run_cell(), run_cell()
    gc.collect()
    assert former() is None
    assert latter() is notebook.C
