"""What other caching libraries are known to get wrong: two calls with one key, or one call with two."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlcache.keys import digest


def changed(array: Any, place: int) -> Any:
    other = array.copy()
    other[place] = 1
    return other


def test_long_arrays_that_print_alike() -> None:
    zeros = np.zeros(5000)
    assert str(changed(zeros, 2500)) == str(zeros)
    assert digest(changed(zeros, 2500)) != digest(zeros)


@pytest.mark.parametrize("place", [0, 300_000, 599_999])
def test_arrays_that_a_sample_takes_for_equal(place: int) -> None:
    zeros = np.zeros(600_000)
    assert digest(changed(zeros, place)) != digest(zeros)


def test_frames_that_a_sample_takes_for_equal() -> None:
    frame = pd.DataFrame({"a": np.arange(55_000), "b": "text"})
    other = frame.copy()
    other.loc[31_415, "b"] = "texts"
    assert digest(other) != digest(frame)


def test_texts_that_join_to_the_same() -> None:
    made = [
        ["a", "b"],
        ["ab"],
        ["a b"],
        "ab",
        "a b",
        ["a, b"],
        "['a', 'b']",
        ("a", "b"),
        ["a\0b"],
        ["a", "", "b"],
    ]
    assert len({digest(each) for each in made}) == len(made)
    many = ["a"] * 100
    assert (
        len({digest(many), digest(" ".join(many)), digest([*many[:98], "a a"]), digest(["a a", *many[:98]])})
        == 4
    )


def test_object_columns_of_mixed_types() -> None:
    made = [
        [1, "1"],
        ["1", 1],
        [1.0, "1"],
        [True, "1"],
        ["1", "1"],
        [1, None],
        [1, float("nan")],
        [1, b"1"],
        [1, "nan"],
    ]
    assert len({digest(pd.Series(each, dtype=object)) for each in made}) == len(made)
    assert len({digest(np.array(each, object)) for each in made}) == len(made)


def test_object_arrays_stand_by_what_they_point_at() -> None:
    def array() -> Any:
        return np.array([f"{'x' * 20}{i}" for i in range(10)], object)

    assert digest(array()) == digest(array())


def test_equal_frames_with_another_layout_in_memory() -> None:
    frame = pd.DataFrame({"a": [1, 2, 3], "b": [4, 5, 6]})
    grown = pd.DataFrame({"b": [4, 5, 6]})
    grown.insert(0, "a", [1, 2, 3])
    assert digest(grown) == digest(frame)
    assert digest(pd.concat([frame, frame]).iloc[:3]) == digest(frame)


def test_arrays_of_one_buffer_and_another_shape_or_dtype() -> None:
    zeros = np.zeros(16, np.int32)
    made = [
        zeros,
        zeros.reshape(4, 4),
        zeros.view("f4"),
        zeros.view("u4"),
        zeros.view("i8"),
        zeros.view("i2"),
    ]
    assert len({digest(each) for each in made}) == len(made)


def test_equal_numbers_of_other_types() -> None:
    made = [1, 1.0, True, np.int64(1), np.float64(1), np.array(1), "1"]
    assert len({digest(each) for each in made}) == len(made)


def test_an_object_is_not_keyed_by_where_it_lies() -> None:
    class Thing:
        """Prints its address."""

    with pytest.raises(TypeError):
        digest(Thing())
