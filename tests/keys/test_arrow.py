"""Keys of pyarrow's arrays and tables, and of polars' frames and series."""

from __future__ import annotations

import datetime as dt
import decimal
import json
from typing import Any

import numpy as np
import pytest

from mlcache.keys import digest

pa = pytest.importorskip("pyarrow")
pl = pytest.importorskip("polars")
pl.DataFrame({"a": [1, 2]}).lazy().select(pl.col("a").sum()).collect()  # starts its threads, which then stay

MOMENTS = [dt.datetime(2020, 1, day, tzinfo=dt.UTC) for day in range(1, 8)]
COLUMNS: dict[str, tuple[Any, list[Any]]] = {
    "int64": (pa.int64(), [1, 2, None, 4, 5, 6, 7]),
    "int8": (pa.int8(), [1, 2, None, 4, 5, 6, 7]),
    "double": (pa.float64(), [1.5, -0.0, None, 4, 5, 6, 7]),
    "bool": (pa.bool_(), [True, False, None, True, False, True, False]),
    "string": (pa.string(), ["a", "", None, "bc", "é", "f", "g"]),
    "large_string": (pa.large_string(), ["a", "", None, "bc", "é", "f", "g"]),
    "string_view": (pa.string_view(), ["a", "", None, "a text longer than twelve", "é", "f", "g"]),
    "binary": (pa.binary(), [b"a", b"", None, b"bc", b"\0", b"f", b"g"]),
    "fixed": (pa.binary(2), [b"ab", b"cd", None, b"ef", b"gh", b"ij", b"kl"]),
    "timestamp": (pa.timestamp("us", "UTC"), MOMENTS),
    "date": (pa.date32(), [moment.date() for moment in MOMENTS]),
    "decimal": (pa.decimal128(9, 2), [decimal.Decimal(i) / 4 for i in range(4, 11)]),
    "dictionary": (pa.dictionary(pa.int8(), pa.string()), ["a", "b", None, "a", "c", "b", "d"]),
    "list": (pa.list_(pa.int64()), [[1], [], None, [2, 3], [4], [5, None], [6]]),
    "lists": (pa.list_(pa.list_(pa.string())), [[["a"], []], [], None, [["b"]], [["c", "d"]], [[]], [["e"]]]),
    "sized": (pa.list_(pa.int64(), 2), [[1, 2], [3, 4], None, [5, 6], [7, 8], [9, 10], [11, 12]]),
    "struct": (pa.struct([("x", pa.int64()), ("y", pa.string())]), [{"x": i, "y": str(i)} for i in range(7)]),
    "map": (pa.map_(pa.string(), pa.int64()), [[("a", i)] for i in range(7)]),
    "null": (pa.null(), [None] * 7),
}


def whole(name: str) -> Any:
    kind, values = COLUMNS[name]
    return pa.array(values, kind)


@pytest.mark.parametrize("name", COLUMNS)
def test_chunks_and_offsets_do_not_matter(name: str) -> None:
    array = whole(name)
    longer = pa.concat_arrays([array.slice(3), array, array.slice(0, 2)]).slice(4, 7)
    assert longer.equals(array)
    assert digest(longer) == digest(array)
    chunked = [
        pa.chunked_array([array]),
        pa.chunked_array([array.slice(0, 3), longer.slice(3, 1), array.slice(4)]),
    ]
    chunked.append(pa.chunked_array([array.slice(0, 0), array.slice(0, 6), array.slice(6)]))
    assert len({digest(each) for each in chunked}) == 1


@pytest.mark.parametrize("name", [name for name in COLUMNS if name != "null"])
def test_every_value_counts(name: str) -> None:
    kind, values = COLUMNS[name]
    keys = {digest(whole(name)), digest(whole(name).slice(1)), digest(whole(name).slice(0, 6))}
    for place in range(1, 7):
        other = list(values)
        other[place - 1], other[place] = other[place], other[place - 1]
        keys.add(digest(pa.array(other, kind)))
    assert len(keys) == 9


def test_types_are_apart() -> None:
    assert len({digest(whole(name)) for name in COLUMNS}) == len(COLUMNS)


def test_what_lies_under_a_null_does_not_count() -> None:
    mask = np.array([False, True])
    one, other = (pa.array(np.array([1, hidden]), mask=mask) for hidden in (1, 9))
    assert digest(one) == digest(other)
    bits = pa.py_buffer(b"\1")
    offsets = pa.py_buffer(np.array([0, 1, 3], np.int32))
    hidden_text = pa.StringArray.from_buffers(2, offsets, pa.py_buffer(b"abc"), bits)
    assert digest(hidden_text) == digest(pa.array(["a", None]))


def test_a_null_is_no_value() -> None:
    assert digest(pa.array([0, None])) != digest(pa.array([0, 0]))
    assert digest(pa.array(["", None])) != digest(pa.array([None, ""]))
    assert digest(pa.array([[], None])) != digest(pa.array([None, []]))


def test_texts_do_not_run_into_each_other() -> None:
    assert digest(pa.array(["a b", "c"])) != digest(pa.array(["a ", "bc"]))
    assert digest(pa.array([[1], [2, 3]])) != digest(pa.array([[1, 2], [3]]))


def test_tables_stand_by_names_types_and_content() -> None:
    table = pa.table({"a": [1, 2, 3], "b": ["x", "y", "z"]})
    assert digest(table) == digest(pa.concat_tables([table.slice(0, 1), table.slice(1)]))
    assert digest(table) == digest(table.replace_schema_metadata({"note": "x"}))
    others = [
        table,
        table.rename_columns(["a", "c"]),
        table.select(["b", "a"]),
        table.slice(1),
        table.to_batches()[0],
    ]
    assert len({digest(other) for other in others}) == len(others)
    assert digest(pa.scalar(1)) != digest(pa.scalar(1, pa.int8()))


def test_what_pandas_makes_of_a_table_counts() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"x": [1, 2]}, index=pd.Index([3, 4], name="i"))
    table = pa.Table.from_pandas(frame)
    assert digest(table) == digest(pa.Table.from_pandas(frame.copy()))
    assert digest(table) != digest(table.replace_schema_metadata())  # of which "i" becomes a column
    full = pa.schema([field.with_nullable(False) for field in table.schema])  # noqa: FBT003  # has no name
    assert digest(table) != digest(table.cast(full))


def test_the_versions_that_wrote_a_table_do_not_count() -> None:
    def table(metadata: Any) -> Any:
        text = metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode()
        return pa.table({"x": [1]}).replace_schema_metadata({"pandas": text})

    about = {"index_columns": ["x"], "creator": {"library": "pyarrow", "version": "1"}, "pandas_version": "2"}
    other = about | {"creator": {"library": "fastparquet", "version": "3"}, "pandas_version": "4"}
    assert digest(table(about)) == digest(table(other))
    told = [about, {}, [], b"\xff", b"{", {"index_columns": []}]
    assert len({digest(table(each)) for each in told}) == len(told)


def chosen(indices: list[int], choices: list[str]) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int8()), pa.array(choices, pa.string()))


def test_the_dictionary_of_an_array_counts_as_pandas_makes_categories_of_it() -> None:
    arrays = [
        chosen([0, 1], ["a", "b"]),
        chosen([1, 0], ["b", "a"]),
        chosen([0, 1], ["a", "b", "c"]),
        chosen([], ["a"]),
        chosen([], ["b"]),
    ]
    assert len({digest(each) for each in arrays}) == len(arrays)
    in_chunks = pa.chunked_array([chosen([0], ["a"]), chosen([0], ["b"])])
    assert digest(in_chunks) == digest(pa.chunked_array([arrays[0]]))
    with_null = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), pa.array(["a", None]))
    mixed = [pa.chunked_array([with_null, each]) for each in arrays[:2]]
    assert digest(mixed[0]) != digest(mixed[1])


def test_a_name_that_looks_like_a_type_is_a_name() -> None:
    one = [("a: int8, b", pa.int8()), ("c", pa.int8())]
    other = [("a", pa.int8()), ("b: int8, c", pa.int8())]
    assert str(pa.struct(one)) == str(pa.struct(other))
    arrays = [pa.array([dict.fromkeys(dict(fields), 1)], pa.struct(fields)) for fields in (one, other)]
    assert digest(arrays[0]) != digest(arrays[1])


def test_the_type_of_a_value_of_a_union_counts() -> None:
    values = [pa.array([1], pa.int32()), pa.array([1], pa.int64())]
    unions = [pa.UnionArray.from_sparse(pa.array([place], pa.int8()), values) for place in (0, 1)]
    assert digest(unions[0]) != digest(unions[1])


@pytest.mark.parametrize("dense", [False, True])
def test_the_types_of_the_values_in_a_slice_of_a_union_count(*, dense: bool) -> None:
    def union(*places: int) -> Any:
        codes = pa.array(places, pa.int8())
        values = [pa.array([7] * len(places), kind) for kind in (pa.int8(), pa.int64())]
        if dense:
            return pa.UnionArray.from_dense(codes, pa.array(range(len(places)), pa.int32()), values)
        return pa.UnionArray.from_sparse(codes, values)

    assert digest(union(0, 1, 0).slice(1)) == digest(union(1, 0)) == digest(union(1, 1, 0, 1).slice(1, 2))
    assert digest(union(0, 1).slice(1)) != digest(union(0, 0).slice(1))


class Measure(pa.ExtensionType):  # type: ignore[misc,name-defined]  # imported only where it is there
    def __init__(self, unit: str) -> None:
        self.unit = unit
        super().__init__(pa.int64(), "tests.measure")

    def __arrow_ext_serialize__(self) -> bytes:
        return self.unit.encode()


def test_parameters_of_an_extension_type_count() -> None:
    keys = {digest(pa.ExtensionArray.from_storage(Measure(unit), pa.array([1]))) for unit in ("m", "s", "s")}
    assert len(keys) == 2


def test_polars_frames_stand_by_names_types_and_content() -> None:
    def frame() -> Any:
        return pl.DataFrame(
            {"a": [1, 2, None], "s": ["x", "yy", None], "l": [[1], [], [2, 3]], "c": [1.5, None, -0.0]}
        )

    assert digest(frame()) == digest(frame().clone())
    assert digest(pl.concat([frame()[:1], frame()[1:]], rechunk=False)) == digest(frame())
    others = [
        frame(),
        frame().rename({"a": "b"}),
        frame().select("s", "a", "l", "c"),
        frame()[:2],
        frame()[::-1],
    ]
    others += [
        frame().with_columns(a=pl.col("a").cast(pl.Int32)),
        frame()["a"],
        frame()["a"].alias("b"),
        frame().to_arrow(),
    ]
    assert len({digest(other) for other in others}) == len(others)


def test_polars_of_other_types() -> None:
    made = [
        pl.Series("a", ["x", "y"], dtype=pl.Categorical),
        pl.Series("a", ["x", "y"], dtype=pl.Enum(["x", "y"])),
        pl.Series("a", ["x", "y"]),
        pl.Series("a", MOMENTS[:2]),
        pl.Series("a", [{"x": 1}, {"x": 2}]),
        pl.Series("a", [(1, "a"), (2, "b")], dtype=pl.Object),
    ]
    assert len({digest(each) for each in made}) == len(made)
    assert all(digest(each) == digest(each.clone()) for each in made)


@pytest.mark.parametrize("name", COLUMNS)
def test_arrays_of_nothing_are_equal_whatever_the_chunks(name: str) -> None:
    kind, _ = COLUMNS[name]
    nothing = pa.array([], kind)
    chunked = [pa.chunked_array(chunks, type=kind) for chunks in ([], [nothing], [nothing, nothing])]
    assert len({digest(each) for each in chunked}) == 1


def test_scalars_count_to_the_last_digit() -> None:
    made = [pa.scalar(value, kind) for kind in (pa.time64("ns"), pa.duration("ns")) for value in (1, 2, None)]
    made += [pa.scalar(2**62, pa.timestamp("s")), pa.scalar(2**62 + 1, pa.timestamp("s"))]
    made += [pa.scalar(value) for value in ({"a": 1}, {"a": 2}, [1, 2], [1, 2, 3], "a")]
    assert len({digest(each) for each in made}) == len(made)


class Labelled(pl.DataFrame):  # type: ignore[misc,name-defined]
    """A frame with a label."""

    label: str = ""


def test_polars_frames_of_derived_types_are_apart() -> None:
    one, other, plain = Labelled({"a": [1]}), Labelled({"a": [1]}), pl.DataFrame({"a": [1]})
    other.label = "x"
    assert len({digest(one), digest(other), digest(plain)}) == 3
    assert digest(one) == digest(Labelled({"a": [1]}))


def test_polars_integers_wider_than_those_of_arrow() -> None:
    made = [pl.Series([2**100 + n, None], dtype=pl.Int128) for n in range(3)]
    assert len({digest(each) for each in made}) == 3
    assert digest(made[0]) == digest(made[0].clone())


def test_types_of_polars_can_be_keyed() -> None:
    made = [
        pl.Int8,
        pl.Int16,
        pl.Datetime("us"),
        pl.Datetime("ns"),
        pl.Datetime("us", "UTC"),
        pl.List(pl.Int8),
        pl.List(pl.Int16),
        pl.Enum([f"a{n}" for n in range(300)]),
        pl.Enum([*(f"a{n}" for n in range(299)), "b"]),
        pl.Schema({"a": pl.Int8}),
        pl.Schema({"a": pl.Int16}),
    ]
    assert len({digest(each) for each in made}) == len(made)
