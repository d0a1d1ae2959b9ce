"""Outlines of values: a line for each part, which changes only where the part does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from mlcache.keys import digest
from mlcache.keys.outline import outline, short_digest


@dataclass
class Model:
    rate: float
    layers: list[int]


class Pair(NamedTuple):
    left: int
    right: int


def lines(value: Any) -> list[str]:
    return list(outline("x", value))


def without_digests(value: Any) -> list[str]:
    return [line.rpartition("  ")[0] for line in lines(value)]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1, "x: int 1"),
        (None, "x: NoneType None"),
        ("a\nb", r"x: str 'a\nb'"),
        ("a" * 41, "x: str of 41"),
        (10**100, f"x: int 1{'0' * 43}"),
        (np.zeros((2, 3), "f4"), "x: numpy.ndarray float32 (2, 3)"),
        (np.float32(1), "x: numpy.float32 float32 ()"),
        ({1, 2}, "x: set of 2"),
        (range(3), "x: range"),
    ],
)
def test_a_value_without_parts_has_one_line(value: Any, shown: str) -> None:
    assert lines(value) == [f"{shown}  {digest(value).hex()[:8]}"]


def test_parts_are_indented_under_what_they_are_parts_of() -> None:
    value = {"b": [1, (2,)], "a": Model(0.1, [8]), "c": Pair(1, 2)}
    assert without_digests(value) == [
        "x: dict of 3",
        f"  ['a']: {Model.__module__}.Model",
        "    .rate: float 0.1",
        "    .layers: list of 1",
        "      [0]: int 8",
        "  ['b']: list of 2",
        "    [0]: int 1",
        "    [1]: tuple of 1",
        "      [0]: int 2",
        f"  ['c']: {Pair.__module__}.Pair of 2",
        "    .left: int 1",
        "    .right: int 2",
    ]


def test_a_frame_has_a_line_for_each_column() -> None:
    frame = pd.DataFrame({"n": [1, 2], "dtype": [0.5, 1.5]})
    other = frame.assign(dtype=[0.5, 2.5])
    assert len(lines(frame)) == 4
    assert [one == two for one, two in zip(lines(frame), lines(other), strict=True)] == [
        False,
        True,
        True,
        False,
    ]


def test_only_the_lines_on_the_way_to_a_change_change() -> None:
    one, other = ({"a": [1, 2, {"b": rate}], "c": [3]} for rate in (0.1, 0.2))
    changed = [line for line, after in zip(lines(one), lines(other), strict=True) if line != after]
    assert [line.strip().partition(":")[0] for line in changed] == ["x", "['a']", "[2]", "['b']"]


def test_the_order_of_a_dict_does_not_count() -> None:
    assert lines({"a": 1, 2: [3]}) == lines({2: [3], "a": 1})


def test_what_is_left_out_still_counts() -> None:
    many = list(range(100))
    shown = lines(many)
    assert len(shown) == 22
    assert shown[-1].startswith("  and 80 more  ")
    assert lines([*many[:-1], -1])[-1] != shown[-1]
    assert lines([*many[:-1], -1])[1:-1] == shown[1:-1]


def test_depth_is_bounded_even_where_a_value_holds_itself() -> None:
    ring: list[Any] = [1]
    ring.append(ring)
    assert len(lines(ring)) == 9


def test_what_has_no_key_says_so_where_it_is() -> None:
    shown = lines({"a": [1, iter([])], "b": 2})
    assert shown[0] == "x: dict of 2  no stable key at ['a'][1]: builtins.list_iterator"
    assert shown[3] == "    [1]: list_iterator  no stable key: builtins.list_iterator"
    assert shown[4] == f"  ['b']: int 2  {short_digest(2)}"
