"""Keys of numpy's scalars, dtypes, generators and universal functions."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlcache.errors import UnhashableArgumentError
from mlcache.keys import digest

SCALARS: list[Any] = [
    np.int8(1),
    np.int64(1),
    np.uint64(1),
    np.float16(1),
    np.float32(1),
    np.float64(1),
    np.longdouble(1),
    np.complex128(1),
    np.bool_(1),
    np.str_("1"),
    np.bytes_(b"1"),
    np.datetime64(1, "s"),
    np.datetime64(1, "ms"),
    np.timedelta64(1, "s"),
    np.datetime64("NaT", "s"),
    np.void(b"1"),
    np.zeros(1, "i4,f8")[0],
    np.float64("nan"),
    np.float64(-0.0),
    np.float64(0),
]
DTYPES = [
    np.dtype(name)
    for name in ("i4", "i8", ">i8", "f8", "U1", "U2", "M8[s]", "M8[ns]", "O", "i4,f8", "f8,i4", "(2,)f8")
]


@pytest.mark.parametrize("values", [SCALARS, [*DTYPES, "int64", np.int64]], ids=["scalars", "dtypes"])
def test_all_are_apart(values: list[Any]) -> None:
    assert len({digest(value) for value in values}) == len(values)


@pytest.mark.parametrize("value", [*SCALARS, *DTYPES], ids=repr)
def test_a_value_that_travelled_has_the_same_key(value: Any) -> None:
    assert digest(pickle.loads(pickle.dumps(value))) == digest(value)


def test_a_scalar_is_neither_a_number_nor_an_array() -> None:
    assert len({digest(np.float64(1.5)), digest(1.5), digest(np.array(1.5)), digest(np.array([1.5]))}) == 4


@pytest.mark.parametrize(
    "make", [np.random.default_rng, np.random.RandomState, np.random.Philox, np.random.MT19937]
)
def test_generators_stand_by_their_state(make: Any) -> None:
    assert digest(make(1)) == digest(make(1))
    assert digest(make(1)) != digest(make(2))
    assert digest(pickle.loads(pickle.dumps(make(1)))) == digest(make(1))


def test_drawing_a_number_changes_the_key() -> None:
    generator = np.random.default_rng(1)
    before = digest(generator)
    generator.random()
    assert digest(generator) != before


def test_universal_functions_stand_by_their_names() -> None:
    assert digest(np.add) == digest(np.add)
    assert digest(np.add) != digest(np.multiply)
    with pytest.raises(UnhashableArgumentError, match="ufunc"):
        digest(np.frompyfunc(lambda x: x, 1, 1))


def test_functions_of_numpy_can_be_keyed() -> None:
    assert digest(np.mean) == digest(np.mean)
    assert digest(np.mean) != digest(np.sum)


class Measured(np.float64):
    """A number with a unit."""

    unit: str


def measured(value: float, unit: str) -> Measured:
    made = Measured(value)
    made.unit = unit
    return made


class Placed(np.ndarray):
    """An array with a place in a slot."""

    __slots__ = ("place",)
    place: str


def placed(place: str) -> Placed:
    made = np.arange(3).view(Placed)
    made.place = place
    return made


def noted(note: str) -> Any:
    made: Any = np.ma.array([1, 2], mask=[False, True])
    made.note = note
    return made


def test_what_values_of_derived_types_carry_counts() -> None:
    made = [
        measured(1, "m"),
        measured(1, "s"),
        measured(2, "m"),
        np.float64(1),
        placed("a"),
        placed("b"),
        np.arange(3),
        noted("a"),
        noted("b"),
        np.ma.array([1, 2], mask=[False, True]),
    ]
    assert len({digest(each) for each in made}) == len(made)
    assert digest(measured(1, "m")) == digest(measured(1, "m"))
    assert digest(placed("a")) == digest(placed("a"))
    assert digest(noted("a")) == digest(noted("a"))


def test_a_derived_type_of_the_same_name_is_another_type() -> None:
    named: Any = type("float64", (np.float64,), {})
    assert digest(named(1)) != digest(np.float64(1))


def test_equal_scalars_are_equal_whatever_c_calls_their_type() -> None:
    assert digest(np.longlong(1)) == digest(np.int64(1)) != digest(np.uint64(1))


class Mapped(np.memmap):
    """An array in a file, with a note."""

    note: str


def test_what_values_of_a_class_derived_from_a_memory_map_carry_counts(tmp_path: Path) -> None:
    def mapped(kind: Any, note: str, place: str = "a") -> Any:
        np.arange(3.0).tofile(tmp_path / place)
        made = kind(tmp_path / place, dtype=float, mode="r", shape=(3,))
        made.note = note
        return made

    assert digest(mapped(Mapped, "x")) == digest(mapped(Mapped, "x", "b"))
    assert digest(mapped(Mapped, "x")) != digest(mapped(Mapped, "y"))
    assert digest(mapped(np.memmap, "x")) == digest(np.arange(3.0))


def test_generators_of_derived_classes_are_others() -> None:
    for base in (np.random.RandomState, np.random.PCG64):
        derived: Any = type(base.__name__, (base,), {})
        assert digest(derived(1)) == digest(derived(1))
        assert digest(derived(1)) != digest(base(1))
