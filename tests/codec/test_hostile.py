"""Frames with a right checksum that nobody's encoder made."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import tracemalloc
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcache.codec import FrameCodec
from mlcache.codec.frame import seal
from mlcache.codec.framecodec import _plant
from mlcache.entry import Entry
from mlcache.errors import CorruptEntryError
from tests.codec.likeness import CODEC, round_trip, same
from tests.codec.samples import SMALL

BILLION = ["range", 0, 10**9, 1]
EIGHT = bytes(range(1, 9))


def forge(tree: Any, *buffers: bytes) -> bytes:
    """A frame of that tree, its buffers 64 bytes apart."""
    return seal(
        Entry(None, 1.0),
        0,
        msgspec.msgpack.encode(tree),
        [(64 * at, data) for at, data in enumerate(buffers)],
    )


def array(dtype: Any, shape: Any, size: int, offset: int = 0) -> list[Any]:
    return ["array", dtype, shape, False, offset, size]


FORGED: dict[str, Any] = {
    "no tag": [],
    "unknown tag": ["nothing", 1],
    "unknown module": ["os.system", "true"],
    "tag of another type": [{}, 1],
    "too few parts": ["dict", ["list", [], True]],
    "too many parts": ["list", [], True, 1],
    "lengths that differ": ["dict", ["list", [1], True], ["list", [], True]],
    "keys that cannot be": ["dict", ["list", [["list", [], True]], False], ["list", [1], True]],
    "a number as bytes": ["bytearray", 10**10],
    "bytes elsewhere": ["bytes", 0, 10**12],
    "a negative length": ["bytes", 4, -2],
    "an unknown zone": ["zone", "../../etc/passwd"],
    "an unknown path": ["path", "Popen", "x"],
    "an impossible day": ["date", 10**9],
    "an array of objects": array("O", [1], 8),
    "objects by another name": array("|O8", [1], 8),
    "objects in a structure": array("i8,O", [1], 16),
    "objects in fields": array(["fields", ["a"], ["O"], [0], [None], 8, False], [1], 8),
    "objects repeated": array(["repeat", "O", [1]], [1], 8),
    "texts of numpy's own": array("T", [1], 16),
    "elements of no bytes": array("V0", [10**15], 0),
    "elements of no bytes in a structure": array(["fields", [], [], [], [], 0, False], [10**15], 0),
    "a huge element": array("U500000000", [1], 8),
    "a dtype in itself": array(["repeat", ["repeat"] * 50, [1]], [1], 8),
    "another processor's long": array(["long", "<f16", "abacus"], [1], 16),
    "a shape too large": array("<i8", [10**9], 8),
    "a shape too small": array("<i8", [0], 8),
    "a negative shape": array("<i8", [-1], 8),
    "a shape of text": array("<i8", "ab", 8),
    "a shape of floats": array("<i8", [1.0], 8),
    "an array elsewhere": array("<i8", [1], 8, 10**6),
    "an array that reaches out": array("<i8", [2], 16, 120),
    "bytes taken twice": ["list", [["bytes", 0, 60], ["bytes", 8, 60]], False],
    "a scalar of objects": ["scalar", "O", EIGHT],
    "a scalar too short": ["scalar", "<f8", b"abc"],
    "objects of a range": ["objects", [10**9], False, BILLION],
    "objects of another number": ["objects", [2], False, ["list", [1], True]],
}

FORGED_PANDAS: dict[str, Any] = {
    "a block for a range of rows": [
        "pandas.DataFrame",
        [[BILLION, [0]]],
        BILLION,
        BILLION,
        ["dict", *[["list", [], True]] * 2],
    ],
    "a column twice": [
        "pandas.DataFrame",
        [[array("<i8", [2, 1], 16), [0, 0]]],
        ["pandas.RangeIndex", 0, 1, 1, None],
        ["pandas.RangeIndex", 0, 2, 1, None],
        ["dict", *[["list", [], True]] * 2],
    ],
    "rows that are not there": [
        "pandas.DataFrame",
        [[array("<i8", [1, 1], 8), [0]]],
        ["pandas.RangeIndex", 0, 10**9, 1, None],
        ["pandas.RangeIndex", 0, 1, 1, None],
        ["dict", *[["list", [], True]] * 2],
    ],
    "a scalar for a billion rows": [
        "pandas.Series",
        ["scalar", "<f8", EIGHT],
        ["pandas.RangeIndex", 0, 10**9, 1, None],
        None,
        ["dict", *[["list", [], True]] * 2],
    ],
    "an index of a range": ["pandas.Index", BILLION, None],
    "codes beyond the categories": [
        "pandas.Categorical",
        array("|i1", [8], 8),
        ["pandas.Index", ["objects", [1], False, ["list", ["a"], True]], None],
        False,
    ],
    "categories of a range": ["pandas.Categorical", array("|i1", [8], 8), BILLION, False],
    "codes beyond the levels": [
        "pandas.MultiIndex",
        [["pandas.RangeIndex", 0, 1, 1, None]],
        [array("|i1", [8], 8)],
        ["list", [None], True],
        None,
    ],
    "names of a range": [
        "pandas.MultiIndex",
        [["pandas.RangeIndex", 0, 9, 1, None]],
        [array("|i1", [8], 8)],
        BILLION,
        None,
    ],
    "a mask of another length": ["pandas.IntegerArray", array("<i8", [1], 8), array("?", [0], 0)],
    "a mask of numbers": ["pandas.IntegerArray", array("<i8", [1], 8), array("<i8", [1], 8)],
    "a level of a long range": [
        "pandas.MultiIndex",
        [["pandas.RangeIndex", 0, 10**9, 1, None]],
        [array("|i1", [1], 1)],
        ["list", [None], True],
        None,
    ],
    "categories of a long range": [
        "pandas.Categorical",
        array("|i1", [1], 1),
        ["pandas.RangeIndex", 0, 10**9, 1, None],
        False,
    ],
    "bounds of a long range": ["pandas.intervals", *[["pandas.RangeIndex", 0, 10**9, 1, None]] * 2, "left"],
    "more labels than columns": [
        "pandas.DataFrame",
        [],
        ["pandas.RangeIndex", 0, 1, 1, None],
        ["pandas.RangeIndex", 0, 10**9, 1, None],
        ["dict", *[["list", [], True]] * 2],
    ],
    "a series of a long range": [
        "pandas.Series",
        *[["pandas.RangeIndex", 0, 10**9, 1, None]] * 2,
        None,
        ["dict", *[["list", [], True]] * 2],
    ],
    "texts of a range": ["pandas.string", False, False, BILLION],
    "an unknown frequency": ["pandas.dates", array("<i8", [1], 8), "ns", None, "century"],
    "a frequency that is not that of the dates": ["pandas.dates", array("<i8", [4], 32, 64), "ns", None, "D"],
    "an unknown unit": ["pandas.dates", array("<i8", [1], 8), "xx", None, None],
    "periods of no frequency": ["pandas.periods", array("<i8", [1], 8), "int64"],
    "bounds of a range": ["pandas.intervals", BILLION, BILLION, "left"],
}


def sparse(name: str, shape: list[Any], *parts: Any) -> list[Any]:
    return [f"scipy.{name}", shape, list(parts)]


NUMBERS = array("<f8", [1], 8)
INTS = np.array([0, 1, 2**31 - 1, -(2**31), 0, 0, 0, 0], "<i4").tobytes()


def ints(*places: int) -> list[Any]:
    """Neighbours among INTS, which is the second buffer."""
    return array("<i4", [len(places)], 4 * len(places), 64 + 4 * places[0])


FORGED_SPARSE: dict[str, Any] = {
    "an index too large": sparse("csr_array", [1, 1], NUMBERS, ints(1), ints(0, 1)),
    "an index below zero": sparse("csr_array", [1, 1], NUMBERS, ints(3), ints(0, 1)),
    "pointers that fall": sparse(
        "csr_array", [4, 1], array("<f8", [0], 0), array("<i4", [0], 0), ints(0, 1, 2, 3, 4)
    ),
    "pointers beyond the end": sparse("csc_array", [9, 2], NUMBERS, ints(0), ints(0, 1, 2)),
    "too few pointers": sparse("csr_array", [10**9, 1], NUMBERS, ints(0), ints(0, 1)),
    "pointers of floats": sparse("csr_array", [1, 2], NUMBERS, ints(0), array("<f8", [2], 16, 64)),
    "blocks of nothing": sparse("bsr_array", [2, 2], array("<f8", [1, 0, 0], 0), ints(0), ints(0, 1)),
    "blocks that do not fit": sparse("bsr_array", [3, 1], array("<f4", [1, 2, 1], 8), ints(0), ints(0, 1)),
    "a coordinate too large": sparse("coo_array", [1, 1], NUMBERS, ints(0), ints(2)),
    "a coordinate below zero": sparse("coo_array", [1, 1], NUMBERS, ints(3), ints(0)),
    "coordinates too few": sparse("coo_array", [2, 2], NUMBERS, ints(0)),
    "a diagonal far off": sparse("dia_array", [1, 1], array("<f8", [1, 1], 8), ints(2)),
    "a diagonal far off below": sparse("dia_array", [1, 1], array("<f8", [1, 1], 8), ints(3)),
}

FORGED_TENSORS: dict[str, Any] = {
    "no dtype": ["torch.Tensor", "torch.load", [1], [0], 0, 8],
    "a shape too large": ["torch.Tensor", "torch.float64", [10**9], [0], 0, 8],
    "a negative shape": ["torch.Tensor", "torch.float64", [-1, -1], [0, 1], 0, 8],
    "a shape of text": ["torch.Tensor", "torch.float64", ["T", 10**9], [0, 1], 0, 8],
    "an order that repeats": ["torch.Tensor", "torch.float64", [1, 1], [0, 0], 0, 8],
    "an order that is not there": ["torch.Tensor", "torch.float64", [1], [7], 0, 8],
    "bytes elsewhere": ["torch.Tensor", "torch.float64", [10**9], [0], 0, 8 * 10**9],
    "many of the same bytes": ["list", [["torch.Tensor", "torch.uint8", [8], [0], 0, 8]] * 20, False],
}

FORGED_ARROW: dict[str, Any] = {
    "no stream": ["pyarrow.Table", 0, 8],
    "an empty stream": ["pyarrow.Table", 0, 0],
    "no table": ["polars.DataFrame", ["list", [1], True], ["a"]],
    "no column": ["pandas.arrow", ["list", [1], True]],
}


def refused(tree: Any) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(CorruptEntryError):
            CODEC.decode(forge(tree, EIGHT, INTS))
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", FORGED)
def test_forged_builtins_and_arrays_are_refused(name: str) -> None:
    refused(FORGED[name])
    refused(["list", [1, FORGED[name]], False])


@pytest.mark.parametrize("name", FORGED_PANDAS)
def test_forged_frames_are_refused(name: str) -> None:
    pytest.importorskip("pandas")
    refused(FORGED_PANDAS[name])


@pytest.mark.parametrize("name", FORGED_SPARSE)
def test_forged_sparse_matrices_are_refused(name: str) -> None:
    pytest.importorskip("scipy")
    refused(FORGED_SPARSE[name])


@pytest.mark.parametrize("name", FORGED_TENSORS)
def test_forged_tensors_are_refused(name: str) -> None:
    pytest.importorskip("torch")
    refused(FORGED_TENSORS[name])


@pytest.mark.parametrize("name", FORGED_ARROW)
def test_forged_tables_are_refused(name: str) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("polars")
    refused(FORGED_ARROW[name])


@pytest.mark.parametrize("kind", ["numbers", "texts"])
def test_compressed_tables_are_refused_as_they_may_expand_without_end(kind: str) -> None:
    pa = pytest.importorskip("pyarrow")
    column = pa.array(["x"]).dictionary_encode() if kind == "texts" else pa.array([1])
    for options in (pa.ipc.IpcWriteOptions(compression=method) for method in (None, "zstd", "lz4")):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, pa.schema([("x", column.type)]), options=options) as stream:
            stream.write_table(pa.table({"x": column}))
        frame = forge(["pyarrow.Table", 0, len(sink.getvalue())], sink.getvalue().to_pybytes())
        if options.compression is None:
            assert CODEC.decode(frame).value.num_rows == 1
        else:
            with pytest.raises(CorruptEntryError, match="compressed"):
                CODEC.decode(frame)


def stream_of(column: Any, **options: Any) -> bytes:
    pa = pytest.importorskip("pyarrow")
    table, sink = pa.table({"": column}), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as stream:
        stream.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def test_streams_of_a_version_in_which_metadata_may_ask_for_expansion_are_refused() -> None:
    pa = pytest.importorskip("pyarrow")
    for column in (pa.array([1]), pa.array(["x"]).dictionary_encode()):
        data = stream_of(column, metadata_version=pa.ipc.MetadataVersion.V4)
        with pytest.raises(CorruptEntryError, match="another version"):
            CODEC.decode(forge(["pyarrow.Table", 0, len(data)], data))


def test_metadata_beside_a_batch_is_refused() -> None:
    pa = pytest.importorskip("pyarrow")
    batch, sink = pa.record_batch({"x": pa.array([1])}), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch, custom_metadata={"ARROW:experimental_compression": "zstd"})
    data = sink.getvalue().to_pybytes()
    with pytest.raises(CorruptEntryError, match="metadata"):
        CODEC.decode(forge(["pyarrow.RecordBatch", 0, len(data)], data))


def test_texts_that_pandas_would_have_to_cast_are_refused() -> None:
    pytest.importorskip("pandas")
    pa = pytest.importorskip("pyarrow")
    long = pa.array(["x" * 10_000])
    forged = {
        "null": pa.nulls(1 << 24),
        "dictionary<values=string, indices=int8, ordered=0>": pa.DictionaryArray.from_arrays(
            pa.array([0] * 10_000, pa.int8()), long
        ),
        "string_view": long.cast(pa.string_view()),
    }
    for kind, column in forged.items():
        data = stream_of(column)
        tree = ["pandas.string", True, False, ["pyarrow.ChunkedArray", ["pyarrow.Table", 0, len(data)]]]
        with pytest.raises(CorruptEntryError, match=f"column of {kind} "):
            CODEC.decode(forge(tree, data))
    for kind in (pa.string(), pa.large_string()):
        data = stream_of(long.cast(kind))
        tree = ["pandas.string", True, False, ["pyarrow.ChunkedArray", ["pyarrow.Table", 0, len(data)]]]
        assert CODEC.decode(forge(tree, data)).value[0] == "x" * 10_000


def test_what_is_right_in_the_same_form_is_read() -> None:
    """Else the tests above might be refused for a slip of the forger's."""
    assert CODEC.decode(forge(array("<i8", [1], 8), EIGHT, INTS)).value[0] == int.from_bytes(EIGHT, "little")
    if importlib.util.find_spec("scipy"):
        tree = sparse("csr_array", [1, 1], NUMBERS, ints(0), ints(0, 1))
        assert CODEC.decode(forge(tree, EIGHT, INTS)).value.shape == (1, 1)
    if importlib.util.find_spec("torch"):
        tree = ["torch.Tensor", "torch.float64", [1, 1], [0, 1], 0, 8]
        assert CODEC.decode(forge(tree, EIGHT, INTS)).value.shape == (1, 1)


@pytest.mark.parametrize("depth", [10_000, 200_000])
def test_nesting_without_end_is_refused(depth: int) -> None:
    tree = b"\x93\xa4list\x91" * depth + b"\xc0" + b"\xc2" * depth
    with pytest.raises(CorruptEntryError):
        CODEC.decode(seal(Entry(None, 1.0), 0, tree, []))


@pytest.mark.parametrize(
    "tree", [b"", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xc0\xc0"]
)
def test_what_is_no_tree_is_refused(tree: bytes) -> None:
    with pytest.raises(CorruptEntryError):
        CODEC.decode(seal(Entry(None, 1.0), 0, tree, []))


PLANTED: list[tuple[Any, list[tuple[int, bytes]]]] = [
    (msgspec.msgpack.decode(tree), [(offset, bytes(data)) for offset, data in buffers])
    for tree, buffers in map(_plant, SMALL.values())
]
ODD = [
    None,
    True,
    -1,
    2,
    64,
    10**9,
    2**64 - 1,
    1.5,
    "",
    "list",
    "O",
    "V0",
    b"",
    b"abc",
    [],
    BILLION,
    {"a": 1},
]


def paths(node: Any, path: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
    inner = (
        [deeper for at, each in enumerate(node) for deeper in paths(each, (*path, at))]
        if type(node) is list
        else []
    )
    return [path, *inner]


def find(node: Any, path: tuple[int, ...]) -> Any:
    for at in path:
        node = node[at]
    return node


@given(st.data())
def test_a_changed_tree_is_refused_or_gives_an_entry(data: st.DataObject) -> None:
    tree, buffers = data.draw(st.sampled_from(PLANTED))
    whole = [copy.deepcopy(tree)]
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(paths(whole)[1:]))
        other = data.draw(st.sampled_from([*ODD, *(each for each, _ in PLANTED)]))
        find(whole, path[:-1])[path[-1]] = copy.deepcopy(other)
    frame = seal(Entry(None, 1.0), 0, msgspec.msgpack.encode(whole[0]), buffers)
    entry = None
    tracemalloc.start()
    try:
        with contextlib.suppress(CorruptEntryError):
            entry = FrameCodec().decode(frame)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 10_000_000
    if entry is not None:
        assert (entry.created, entry.size) == (1.0, len(frame))
        assert same(entry.value, round_trip(entry.value))  # it is of the kinds that are written
