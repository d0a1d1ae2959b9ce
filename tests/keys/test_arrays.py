"""Keys of numpy's arrays."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from mlcache.keys import arrays, digest, hashing

DTYPES = st.one_of(
    hnp.scalar_dtypes(),
    hnp.unicode_string_dtypes(max_len=4),
    hnp.byte_string_dtypes(max_len=4),
    hnp.array_dtypes(max_size=3),
)
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))


def _strided(array: Any) -> Any:
    """The same content, with gaps between the elements."""
    wide = np.zeros([2 * side for side in array.shape], array.dtype)
    every_other: Any = (..., *(slice(None, None, 2) for _ in array.shape))
    view = wide[every_other]
    view[...] = array
    return view


@given(ARRAYS)
def test_layout_does_not_matter(array: Any) -> None:
    assert digest(array) == digest(array.copy())
    assert digest(array) == digest(np.asfortranarray(array).reshape(array.shape))
    assert digest(array) == digest(_strided(array))


@given(ARRAYS, st.data())
def test_every_element_counts(array: Any, data: st.DataObject) -> None:
    if not array.size:
        return
    other = array.copy()
    place = data.draw(st.integers(0, array.size - 1))
    other.reshape(-1)[place] = data.draw(hnp.from_dtype(array.dtype))
    same = all(
        np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()
        for a, b in _fields(array, other)
    )
    if array.dtype.char not in "gG":
        assert (digest(array) == digest(other)) == same


def _fields(one: Any, other: Any) -> list[tuple[Any, Any]]:
    """The parts of two arrays that have no padding in them."""
    if one.dtype.names is None:
        return [(one, other)]
    return [pair for name in one.dtype.names for pair in _fields(one[name], other[name])]


LOOK_ALIKES: dict[str, list[Any]] = {
    "one": [
        1,
        1.0,
        np.array(1),
        np.array([1]),
        np.array([[1]]),
        np.int64(1),
        np.float64(1),
        np.array([1.0]),
        np.array([1 + 0j]),
        np.array([1], "i4"),
        np.array([1], "u8"),
        np.array([1], ">i8"),
        np.array([True]),
        np.array([1], object),
        np.array(["1"]),
        np.array([b"1"]),
        [1],
        b"\1\0\0\0\0\0\0\0",
        np.array([1], "M8[s]"),
        np.array([1], "m8[s]"),
        np.array([1], "M8[ms]"),
        np.bool_(1),
        np.str_("1"),
        np.bytes_(b"1"),
        np.zeros((1, 1)).view(np.recarray),
        np.ma.array([1]),
        np.array([1], np.longdouble),
    ],
    "shapes": [
        np.zeros(6),
        np.zeros((2, 3)),
        np.zeros((3, 2)),
        np.zeros((6, 1)),
        np.zeros((1, 6)),
        np.zeros((1, 2, 3)),
    ],
    "nothing": [
        np.zeros(0),
        np.zeros((0, 1)),
        np.zeros((1, 0)),
        np.zeros(0, "i8"),
        np.zeros(0, object),
        None,
        [],
        np.zeros(()),
    ],
    "zeros": [np.array(0.0), np.array(-0.0), np.array(0), np.zeros((), bool), np.array("")],
    "texts": [
        np.array(["a"]),
        np.array(["a"], "U2"),
        np.array([b"a"]),
        np.array(["a"], object),
        np.array(["a"], np.dtypes.StringDType()),
        ["a"],
        np.array(["a"], np.dtypes.StringDType(na_object=None)),
    ],
    "objects": [
        np.array([1, "a", None], object),
        np.array([1.0, "a", None], object),
        np.array(["1", "a", None], object),
        np.array([1, "a", "None"], object),
        [1, "a", None],
        np.array([[1, "a", None]], object),
    ],
    "fields": [
        np.zeros(2, "i4,f8"),
        np.zeros(2, "f8,i4"),
        np.zeros(2, [("a", "i4"), ("b", "f8")]),
        np.zeros(2, [("b", "i4"), ("a", "f8")]),
        np.zeros(2, np.dtype("i4,f8", align=True)),
        np.zeros(2, "V12"),
        np.rec.array(np.zeros(2, "i4,f8")),
        np.zeros(2, [("a", "i4", 2), ("b", "f8")]),
    ],
    "masked": [
        np.ma.array([1, 2]),
        np.ma.array([1, 2], mask=np.array([False, True])),
        np.ma.array([1, 2], mask=np.array([True, False])),
        np.array([1, 2]),
        np.ma.array([1, 2], fill_value=7),
        np.ma.array([1, 3], mask=np.array([False, True])),
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


def test_every_byte_of_a_large_array_counts() -> None:
    image = np.zeros((224, 224, 3), np.uint8)
    keys = {digest(image)}
    for place in range(0, image.size, 1009):
        other = image.copy()
        other.reshape(-1)[place] = 1
        keys.add(digest(other))
    assert len(keys) == 1 + len(range(0, image.size, 1009))


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8", "c16", "U3", "V3", "M8[s]"])
@pytest.mark.parametrize("shape", [(700, 900), (3, 400, 500), (2, 600_000), (600_000, 2)])
def test_large_strided_arrays_equal_their_copies(dtype: str, shape: tuple[int, ...]) -> None:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    array = np.resize(np.arange(251, dtype="u1"), size).view(dtype).reshape(shape)
    views = [array.T, array[::-1], array[..., ::2], array[1:, 1:], array.swapaxes(0, 1)[::2], array[:, ::-3]]
    for view in views:
        assert digest(view) == digest(view.copy())
    assert len({digest(view) for view in views}) == len(views)


def test_pieces_together_are_the_array_in_c_order() -> None:
    array = np.arange(400_000).reshape(400, 1000).T
    whole = b"".join(piece.tobytes() for piece in arrays.pieces(array))
    assert whole == array.tobytes()
    assert hashing.hash128_stream(arrays.pieces(array)) == hashing.hash128(array.tobytes())


def test_what_fills_up_an_element_does_not_count() -> None:
    dtype = np.dtype("u1,f8", align=True)
    one, other = (np.full(3 * dtype.itemsize, fill, np.uint8).view(dtype) for fill in (0, 255))
    for array in (one, other):
        array["f0"], array["f1"] = 1, 2
    assert one.tobytes() != other.tobytes()
    assert digest(one) == digest(other)


@pytest.mark.parametrize("order", ["<", ">"])
def test_what_fills_up_a_long_double_does_not_count(order: Any) -> None:
    dtype = np.dtype(np.longdouble).newbyteorder(order)
    if np.finfo(np.longdouble).nmant != 63:
        pytest.skip("long doubles have no padding here")
    padding = slice(10, None) if dtype.isnative else slice(None, -10)
    one, other = np.array([1, 2], dtype), np.array([1, 2], dtype)
    for array, fill in ((one, 0), (other, 255)):
        array.view(np.uint8).reshape(2, -1)[:, padding] = fill
    assert one.tobytes() != other.tobytes()
    assert digest(one) == digest(other)
    assert digest(one) != digest(one[::-1])
    assert digest(one) == digest(np.repeat(one, 2)[::2])


def test_objects_are_keyed_by_their_elements() -> None:
    def array() -> Any:
        return np.array([[1, "a"], [np.arange(3), {"b": (None,)}]], object)

    assert digest(array()) == digest(array())
    assert digest(array()) != digest(array().T)
    assert digest(array().T) == digest(array().T.copy())


def test_an_array_that_holds_itself_ends() -> None:
    array = np.empty(1, object)
    array[0] = array
    assert digest(array) == digest(array)
    array[0] = None


def test_a_file_is_an_array_like_another(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(10))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert isinstance(mapped, np.memmap)
    assert digest(mapped) == digest(np.arange(10))


def test_read_only_and_writable_are_equal() -> None:
    array = np.arange(10)
    frozen = array.copy()
    frozen.setflags(write=False)
    assert digest(array) == digest(frozen)


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8", "c16", "S3", "M8[ns]"])
@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((700, 300), (1, 0)),
        ((1024, 2048), (1, 0)),
        ((3, 90, 70), (1, 2, 0)),
        ((40, 60, 50), (1, 2, 0)),
        ((60, 50, 40), (2, 0, 1)),
        ((4, 3, 50, 60), (0, 2, 3, 1)),
        ((20, 30, 40), (2, 1, 0)),
        ((1, 5000), (1, 0)),
    ],
)
def test_the_order_of_axes_in_memory_does_not_count(
    shape: tuple[int, ...], axes: tuple[int, ...], dtype: str
) -> None:
    raw = np.random.default_rng(0).bytes(math.prod(shape) * np.dtype(dtype).itemsize)
    numbers = np.frombuffer(raw, "u1").reshape(*shape, -1) & 63
    turned = np.ascontiguousarray(numbers).view(dtype)[..., 0].transpose(axes)
    for view in (turned, turned[::-1, ::2], turned[..., ::-3], turned[5:, 7:]):
        assert digest(view) == digest(np.array(view, order="C"))
    changed = turned.copy("K")
    changed[tuple(length // 2 for length in changed.shape)] = changed[(0,) * changed.ndim]
    assert (digest(changed) == digest(turned)) == np.array_equal(changed, turned)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["g", "G"])
def test_every_bit_of_long_doubles_counts_in_either_byte_order(kind: str, order: Any) -> None:
    least = np.finfo(np.longdouble).eps
    third = np.longdouble(1) / 3
    dtype: Any = np.dtype(kind).newbyteorder(order)
    made = [np.array([each], dtype) for each in (third, third * (1 + 2 * least), -third, third * 2)]
    if kind == "G":
        made += [np.array([1j * each], dtype) for each in (third, third * (1 + 2 * least), -third)]
    assert len({digest(each) for each in made}) == len(made)
    assert digest(made[0]) == digest(_strided(made[0]))


def test_whether_the_mask_of_an_array_is_hard_counts() -> None:
    soft, hard = (np.ma.array([1, 2], mask=[False, True], hard_mask=hard) for hard in (False, True))
    assert digest(soft) != digest(hard)
    assert digest(hard) == digest(hard.copy())


def test_the_masked_constant_has_a_key_of_its_own() -> None:
    assert digest(np.ma.masked) == digest(np.ma.masked)
    assert digest(np.ma.masked) != digest(np.ma.array(0.0, mask=True))


def test_arrays_larger_than_a_chunk_are_read_by_threads_at_once() -> None:
    grids = [np.random.default_rng(seed).random((700, 900)) for seed in range(4)]
    assert grids[0].nbytes > arrays._CHUNK
    expected = [digest(grid) for grid in grids]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda place: digest(np.asfortranarray(grids[place % 4])), range(32)))
    assert found == expected * 8
    assert 0 < len(arrays._spare) <= 4


def test_an_element_larger_than_a_chunk_is_read_alone() -> None:
    wide = np.zeros((4, 2), f"S{arrays._CHUNK + 1}")
    wide[2, 1] = b"x"
    assert digest(wide[::2]) == digest(wide[::2].copy()) != digest(wide[1::2])


def test_what_an_array_of_texts_takes_counts() -> None:
    text: Any = np.dtypes.StringDType
    kinds = [text(), text(coerce=False), text(na_object=None)]
    assert len({digest(np.array(["a", "b"], kind)) for kind in kinds}) == 3


@pytest.mark.parametrize("fields", ["i4,f8,U3", "i4,(2,3)f8", [("a", "i4,i2"), ("b", "S3")]], ids=str)
def test_fields_in_a_row_are_hashed_in_one(fields: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = np.dtype(fields)
    array: Any = np.arange(12 * packed.itemsize, dtype="u1").view(packed)
    hashed: list[int] = []
    whole = arrays.hash_array

    def counting(part: Any) -> bytes:
        hashed.append(part.nbytes)
        return whole(part)

    monkeypatch.setattr(arrays, "hash_array", counting)
    assert digest(np.repeat(array, 2)[::2]) == digest(array)
    assert hashed == [array.nbytes] * 2
    other = array.copy()
    other.view("u1")[-1] ^= 1
    assert digest(other) != digest(array)
