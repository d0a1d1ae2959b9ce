"""Keys of Python's builtin types, nested into each other."""

from __future__ import annotations

import array
import copy
import math
import pickle
import struct
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from mlcache.errors import UnhashableArgumentError
from mlcache.keys import digest
from mlcache.keys.builtin import LARGE

LEAVES: list[Any] = [
    None,
    False,
    True,
    0,
    1,
    -1,
    2**31,
    2**63,
    0.0,
    -0.0,
    1.0,
    math.nan,
    math.inf,
    1j,
    0j,
    "",
    "0",
    "1",
    b"",
    b"0",
    "a b",
    "c",
    "a",
    "b c",
    "\0",
    "é",
    "\ud800",
    bytearray(b"0"),
    range(0),
    range(1),
    slice(1),
    ...,
    NotImplemented,
]

HASHABLE = [leaf for leaf in LEAVES if not isinstance(leaf, bytearray | slice)]


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    hashable = st.sampled_from(HASHABLE)
    return st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(hashable, inner, max_size=3),
        st.sets(hashable, max_size=3),
        st.frozensets(hashable, max_size=3),
    )


VALUES = st.recursive(
    st.sampled_from(LEAVES) | st.text(max_size=3) | st.integers() | st.floats(), _containers, max_leaves=8
)


def describe(value: Any) -> str:
    """A slow and obvious text that is equal for equal values only."""
    kind = type(value).__name__
    if isinstance(value, float):
        return f"float {struct.pack('<d', value).hex()}"
    if isinstance(value, complex):
        return f"complex {struct.pack('<dd', value.real, value.imag).hex()}"
    if isinstance(value, tuple | list):
        return f"{kind}({len(value)}: {'; '.join(map(describe, value))})"
    if isinstance(value, set | frozenset):
        return f"{kind}({len(value)}: {'; '.join(sorted(map(describe, value)))})"
    if isinstance(value, dict):
        pairs = sorted(f"{describe(key)}: {describe(content)}" for key, content in value.items())
        return f"dict({len(value)}: {'; '.join(pairs)})"
    return f"{kind} {value!r}"


@given(VALUES, VALUES)
def test_keys_are_equal_if_and_only_if_values_are(one: Any, other: Any) -> None:
    assert (digest(one) == digest(other)) == (describe(one) == describe(other))


@given(VALUES)
def test_a_copy_has_the_same_key(value: Any) -> None:
    assert digest(copy.deepcopy(value)) == digest(value)


@given(VALUES.filter(lambda value: "..." not in repr(value)))
def test_a_value_that_travelled_has_the_same_key(value: Any) -> None:
    assert digest(pickle.loads(pickle.dumps(value))) == digest(value)


@given(
    st.lists(VALUES, max_size=3), st.binary(max_size=3), st.lists(VALUES, max_size=3), st.binary(max_size=3)
)
def test_arguments_and_prefix_do_not_run_into_each_other(
    one: list[Any], prefix: bytes, other: list[Any], another: bytes
) -> None:
    same = describe(one) == describe(other) and prefix == another
    assert (digest(tuple(one), prefix) == digest(tuple(other), another)) == same


class Text(str):
    """A text of a type of its own."""

    __slots__ = ()


LOOK_ALIKES: dict[str, list[Any]] = {
    "one": [
        1,
        1.0,
        True,
        "1",
        b"1",
        bytearray(b"1"),
        1 + 0j,
        (1,),
        [1],
        {1},
        frozenset({1}),
        {1: 1},
        memoryview(b"1"),
    ],
    "nothing": [
        None,
        0,
        0.0,
        -0.0,
        False,
        "",
        b"",
        (),
        [],
        {},
        set(),
        frozenset(),
        range(0),
        "None",
        bytearray(),
        0j,
    ],
    "texts": [("a b", "c"), ("a", "b c"), ("a b c",), "a b c", ["a b c"], ("a", "b", "c"), ["a", "b", "c"]],
    "nesting": [[[1], 2], [[1, 2]], [1, 2], [[1], [2]], [(1,), 2], [1, [2]], [[[1, 2]]]],
    "dicts": [
        {"a": 1},
        {"a": "1"},
        {"b": 1},
        [("a", 1)],
        (("a", 1),),
        {"a": {}},
        {b"a": 1},
        {1: "a"},
        {("a",): 1},
    ],
    "keys of dicts": [{1: 0}, {1.0: 0}, {True: 0}, {"1": 0}, {b"1": 0}],
    "records": [
        [{"a": 1, "b": 2}],
        [{"a": 2, "b": 1}],
        [{"a": 1}, {"b": 2}],
        [{"b": 2}, {"a": 1}],
        [{"a": 1, "b": 2}, {}],
        [{}, {"a": 1, "b": 2}],
        [{"a": 1, "b": 2.0}],
        [{"a": 1, "b": [2]}],
        [{"a": 1, b"b": 2}],
        [{"a": 1, "b": b"2"}],
        [(("a", 1), ("b", 2))],
        ({"a": 1, "b": 2},),
        [[("a", 1), ("b", 2)]],
        ["a", "b", 1, 2],
        {"a": 1, "b": 2},
        [{}],
        [{}, {}],
        [],
    ],
    "trees": [
        {"a": [1, 2], "b": {"c": None}},
        {"a": (1, 2), "b": {"c": None}},
        {"a": [1, 2.0], "b": {"c": None}},
        {"a": [True, 2], "b": {"c": None}},
        {"a": [1, 2], "b": {"c": "None"}},
        {"a": [1, 2], "b": [["c", None]]},
        {"a": [1, 2], "b": [{"c": None}]},
        {"a": [1, 2], "b": {"c": {}}},
        {"a": [1, 2], "b": {b"c": None}},
        {"a": [1, 2], "b": {Text("c"): None}},
        {"a": [1, 2], "b": {1: None}},
        {"a": [1, "2"], "b": {"c": None}},
        {"a": [1, b"2"], "b": {"c": None}},
        {"a": [1, Text("2")], "b": {"c": None}},
        {"a": [1, 2**64], "b": {"c": None}},
        {"a": [1, 2**65], "b": {"c": None}},
        {"a": [1, "\ud800"], "b": {"c": None}},
        {"a": {1, 2}, "b": {"c": None}},
        [{"a": [1, 2], "b": {"c": None}}],
        ({"a": [1, 2], "b": {"c": None}},),
        ["a", [1, 2], "b", {"c": None}],
    ],
    "swapped": [{"a": 1, "b": 2}, {"a": 2, "b": 1}, {"a": 1}, {"b": 2}],
    "zeros": [0.0, -0.0, complex(0.0, -0.0), complex(-0.0, 0.0), 0j],
    "buffers": [array.array("b", [1]), array.array("B", [1]), b"\1", bytearray(b"\1"), memoryview(b"\1")],
    "shapes": [memoryview(bytes(4)), memoryview(bytes(4)).cast("B", (2, 2)), memoryview(bytes(4)).cast("i")],
    "ranges": [range(2), range(1, 2), range(0, 4, 2), [0, 1], (0, 1), range(0, -2, -1)],
    "slices": [slice(1), slice(0, 1), slice(None, 1, 1), range(1), (None, 1, None)],
    "singletons": [..., NotImplemented, None, "Ellipsis"],
    "many texts": [
        ["a"] * 40,
        ("a",) * 40,
        ["a"] * 41,
        ["a\0a"] + ["a"] * 38,
        ["aa"] + ["a"] * 39,
        "\0".join(["a"] * 40),
    ],
    "large bytes": [
        bytes(LARGE),
        bytes(LARGE + 1),
        bytearray(LARGE),
        [bytes(LARGE)],
        (bytes(LARGE),),
        memoryview(bytes(LARGE)),
        "\0" * LARGE,
        "\0" * (5 * LARGE),
    ],
}


@pytest.mark.parametrize("values", LOOK_ALIKES.values(), ids=LOOK_ALIKES)
def test_look_alikes_are_apart(values: list[Any]) -> None:
    digests = [digest(value) for value in values]
    clashes = [
        (a, b)
        for i, a in enumerate(values)
        for j, b in enumerate(values)
        if i < j and digests[i] == digests[j]
    ]
    assert clashes == []
    assert len({digest((value,)) for value in values}) == len(values)


def test_nan_equals_nan_of_the_same_bits() -> None:
    other = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000001))[0]
    assert digest(math.nan) == digest(float("nan"))
    assert digest(math.nan) != digest(other)
    assert digest({math.nan: 1, float("nan"): 2}) != digest({math.nan: 2})


def test_the_order_of_a_dict_and_of_a_set_does_not_matter() -> None:
    names = [f"name {i}" for i in range(100)]
    assert digest(dict.fromkeys(names)) == digest(dict.fromkeys(reversed(names)))
    assert digest([{"a": 1, "b": 2}] * 2) == digest([{"b": 2, "a": 1}] * 2)
    for large in (1, 2**70, (1, 2), "\ud800", bytes(10), 1j):
        tree = {"a": [large, {"x": 1, "y": [2]}], "b": 3}
        assert digest(tree) == digest({"b": 3, "a": [large, {"y": [2], "x": 1}]})
    assert digest({1: 2, "a": 3}) == digest({"a": 3, 1: 2})
    assert digest(set(names)) == digest({names[-i] for i in range(100)})
    assert digest({(i, "a") for i in range(9)}) == digest({(i, "a") for i in reversed(range(9))})


def test_a_text_in_many_counts() -> None:
    texts = [f"text {i}" for i in range(1000)]
    assert digest(texts) == digest(list(texts))
    assert digest(texts) != digest([*texts[:500], "other", *texts[501:]])
    assert digest(texts) != digest("\0".join(texts))


def test_one_text_of_another_type_among_many_counts() -> None:
    texts: list[str] = ["a"] * 100
    assert digest(texts) != digest([*texts[:99], Text("a")])


def test_equal_ranges_are_equal() -> None:
    assert digest(range(0, 3, 2)) == digest(range(0, 4, 2))
    assert digest(range(5, 5)) == digest(range(0))


def test_a_strided_memoryview_stands_by_its_content() -> None:
    assert digest(memoryview(b"a-b-")[::2]) == digest(memoryview(b"ab"))


def test_recursive_containers_end() -> None:
    def recursive(size: int) -> list[Any]:
        ring: list[Any] = [None] * size
        ring.append({"ring": ring})
        return ring

    assert digest(recursive(1)) == digest(recursive(1))
    assert digest(recursive(1)) != digest(recursive(2))
    flat: list[Any] = []
    flat.append(flat)
    assert digest(flat) != digest([[]])
    assert digest(flat) != digest([None])


def test_one_list_twice_is_two_equal_lists() -> None:
    shared = [object]
    assert digest([shared, shared]) == digest([[object], [object]])


def test_nesting_beyond_all_bounds_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(UnhashableArgumentError, match="nested too deeply"):
        digest(deep)
    while deep:
        deep = deep.pop()


def test_a_view_of_objects_stands_by_them_and_not_by_their_addresses() -> None:
    made: list[Any] = [np.array([["a", 1], None, last], object) for last in (2.5, 2.5, 3.5)]
    one, same, other = made
    assert digest(memoryview(one)) == digest(memoryview(same))
    assert digest(memoryview(one)) != digest(memoryview(other))


def test_what_lies_in_the_gaps_of_a_view_does_not_count() -> None:
    fields = np.dtype({"names": ["a", "b"], "formats": ["i1", "i8"], "offsets": [0, 8]})
    one: Any = np.zeros(2, fields)
    other = one.copy()
    other.view("u1")[3] = 7
    assert digest(memoryview(one)) == digest(memoryview(other))
    other["b"][1] = 7
    assert digest(memoryview(one)) != digest(memoryview(other))


def test_a_view_that_was_released_is_refused() -> None:
    view = memoryview(b"a")
    view.release()
    with pytest.raises(UnhashableArgumentError, match="released"):
        digest([view])


def test_a_strided_view_of_numbers_stands_by_its_content() -> None:
    numbers: Any = np.arange(24.0).reshape(4, 6)
    for view in (numbers[::2], numbers[:, ::3], numbers.T, numbers[::-1]):
        assert digest(memoryview(view)) == digest(memoryview(view.copy()))


def test_keys_of_a_dict_that_have_one_code_have_no_order() -> None:
    one, other = float("nan"), float("nan")
    assert digest({one: 1, other: 2}) == digest({other: 2, one: 1})


@pytest.mark.parametrize("letter", ["a", "é", "漢", "\ud800"])
def test_every_letter_of_a_long_text_counts(letter: str) -> None:
    text = letter * 300_000
    places = (0, 65_535, 65_536, 299_999)
    made = [text, text[1:], text + "\0", *(text[:at] + "x" + text[at + 1 :] for at in places)]
    assert len({digest(each) for each in [*made, text.encode("utf-8", "surrogatepass")]}) == len(made) + 1
    assert digest([text]) == digest(["".join(list(text))])


INTEGERS: list[Any] = [
    {1: "a", 2: "b"},
    {1: "b", 2: "a"},
    {True: "a", 2: "b"},
    {1.0: "a", 2: "b"},
    {1: "a", 2: b"b"},
    {1: "a", 2: ["b"]},
    {"1": "a", "2": "b"},
    {1, 2},
    {True, 2},
    {1.0, 2},
    {1, 2, 3},
    frozenset({1, 2}),
]


def test_sets_and_dicts_of_integers() -> None:
    assert len({digest(each) for each in INTEGERS}) == len(INTEGERS)
    numbers = [7**n % 1_000_003 - 500_000 for n in range(1000)]
    assert digest(set(numbers)) == digest({numbers[-n] for n in range(1000)})
    assert digest(dict.fromkeys(numbers, "a")) == digest(dict.fromkeys(reversed(numbers), "a"))


class Changing:
    """An object that changes the container it is in while it is keyed, as another thread may."""

    container: Any = None

    def __ml_cache_key__(self) -> str:
        self.container.clear()
        return "changing"


@pytest.mark.parametrize(
    "make",
    [
        lambda value: [value, 1, 2],
        lambda value: {"a": value, "b": 1},
        lambda value: {1: value, 2: 1},
        lambda value: {"a": value, 2: 1},
        lambda value: {value, 1, 2},
    ],
)
def test_a_container_that_changes_meanwhile_is_keyed_as_it_was(make: Any) -> None:
    changing = Changing()
    container = changing.container = make(changing)
    before = make(Changing())
    for each in before.values() if isinstance(before, dict) else before:
        if isinstance(each, Changing):
            each.container = []
    assert digest(container) == digest(before)
    assert not container
