from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlcache.codec import FrameCodec, Signer
from mlcache.entry import Entry
from mlcache.errors import CannotEncodeError
from tests.codec.likeness import CODEC, round_trip, same


class Subclass(np.ndarray[Any, Any]):
    pass


SIGNED = FrameCodec(signer=Signer(b"k" * 32))
DTYPES = (
    hnp.scalar_dtypes()
    | hnp.array_dtypes()
    | hnp.nested_dtypes()
    | hnp.unicode_string_dtypes()
    | hnp.byte_string_dtypes()
)
ARRAYS = DTYPES.filter(lambda dtype: dtype.itemsize > 0).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_dims=4))
)


@given(ARRAYS, st.sampled_from("CFA"))
def test_any_array_comes_back(value: Any, order: Any) -> None:
    array = value.copy(order) if order != "A" else value[..., ::-1] if value.ndim else value
    back = round_trip(array)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()
    assert back.flags.fnc == array.flags.fnc
    assert not back.flags.writeable


@given(st.lists(ARRAYS | st.integers() | st.text(), max_size=5))
def test_arrays_come_back_from_within_containers(values: list[Any]) -> None:
    value = {"a": values, "b": tuple(values)}
    assert same(round_trip(value), value)


@pytest.mark.parametrize("char", [char for char in np.typecodes["All"] if char not in "OSUV"])
@pytest.mark.parametrize("order", ["<", ">", "="])
def test_every_dtype_keeps_its_name_and_byte_order(char: str, order: Any) -> None:
    array = np.arange(3).astype(np.dtype(char).newbyteorder(order))
    back = round_trip(array)
    assert back.dtype == array.dtype
    assert back.dtype.char == array.dtype.char
    assert back.tobytes() == array.tobytes()


@pytest.mark.parametrize(
    "dtype",
    [
        np.dtype([("a", "<i4"), ("b", ">f8", (2, 3))]),
        np.dtype([("a", "i1"), ("b", "i8")], align=True),
        np.dtype({"names": ["x", "y"], "formats": ["i2", "i2"], "offsets": [4, 0], "itemsize": 16}),
        np.dtype([("a", [("b", "M8[25s]"), ("c", "U3")])]),
        np.dtype([(("title", "a"), "i4"), ("b", "i4")]),
        np.dtype("V7"),
        np.dtype("m8"),
    ],
)
def test_structures_keep_their_layout(dtype: Any) -> None:
    back = round_trip(np.zeros(3, dtype)).dtype
    assert back == dtype
    assert (back.itemsize, back.isalignedstruct, back.fields) == (
        dtype.itemsize,
        dtype.isalignedstruct,
        dtype.fields,
    )


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(2, [("a", "i4"), ("b", object)]),
        np.zeros(2, np.dtype("i4", metadata={"unit": "m"})),
        np.array(["a", "bc"], np.dtypes.StringDType()),
        np.ma.masked_array([1, 2], [True, False]),
        np.rec.array([(1, 2)], dtype=[("a", "i4"), ("b", "i4")]),
        np.zeros(3, np.dtype([])),
        np.arange(3).view(Subclass),
    ],
    ids=lambda value: type(value).__name__ + str(value.dtype)[:20],
)
def test_what_is_more_than_an_array_of_bytes_needs_pickle(value: Any) -> None:
    with pytest.raises(CannotEncodeError):
        CODEC.encode(Entry(value, 1.0))
    back = round_trip(value, SIGNED)
    assert type(back) is type(value)
    assert back.dtype == value.dtype
    assert back.tolist() == value.tolist()


@pytest.mark.parametrize("shape", [(), (4,), (2, 2), (0, 3)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_objects_come_back_by_their_elements(shape: Any, order: Any) -> None:
    array = np.empty(shape, object, order=order)
    for place, item in zip(np.ndindex(*shape), [[1, 2], None, np.arange(3), "a"], strict=False):
        array[place] = item
    back = round_trip(array)
    assert same(back, array)
    assert not back.flags.writeable


SCALARS = [
    *(np.dtype(char).type(1) for char in np.typecodes["AllInteger"] + np.typecodes["AllFloat"] + "?"),
    np.float64("nan"),
    np.float32(-0.0),
    np.str_("a\0"),
    np.str_("\ud800"),
    np.str_(""),
    np.bytes_(b"a\0\0"),
    np.datetime64("NaT"),
    np.datetime64(5, ("s", 25)),
    np.timedelta64(3, "D"),
    np.void(b"abc"),
    np.zeros(1, [("a", "i4"), ("b", "f8")])[0],
]


@pytest.mark.parametrize("value", SCALARS, ids=repr)
def test_scalars_keep_their_type(value: Any) -> None:
    assert same(round_trip(value), value)
    assert same(round_trip([value, {"a": value}]), [value, {"a": value}])


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda frame: memoryview(bytearray(frame))])
def test_an_array_is_a_view_that_cannot_be_written_to(kind: Any) -> None:
    frame = kind(CODEC.encode(Entry({"a": np.arange(1000), "b": np.arange(1000.0)[::2]}, 1.0)))
    value = CODEC.decode(frame).value
    whole = np.frombuffer(frame, np.uint8)
    for array in value.values():
        assert np.shares_memory(array, whole)
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True


@given(st.lists(hnp.arrays(np.uint8, st.integers(0, 200)), min_size=1, max_size=5), st.integers(0, 300))
def test_arrays_are_aligned_where_the_frame_is(arrays: list[Any], length: int) -> None:
    frame = CODEC.encode(Entry([*arrays, "x" * length], 1.0))
    room = np.empty(len(frame) + 64, np.uint8)
    start = -room.ctypes.data % 64
    room[start : start + len(frame)] = np.frombuffer(frame, np.uint8)
    for array in CODEC.decode(room.data[start : start + len(frame)]).value[:-1]:
        assert array.size == 0 or array.ctypes.data % 64 == 0


def test_a_large_array_is_copied_once() -> None:
    import tracemalloc

    entry = Entry(np.ones(10_000_000, np.uint8), 1.0)
    tracemalloc.start()
    frame = CODEC.encode(entry)
    encoding = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    CODEC.decode(frame)
    decoding = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert encoding < 10_100_000
    assert decoding < 100_000
