"""Keys of numpy's scalars, dtypes, generators and universal functions."""

from __future__ import annotations

import pickle
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
