from __future__ import annotations

import datetime as dt
import zoneinfo
from importlib import resources
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcache.codec import FrameCodec, Signer
from mlcache.entry import Entry
from mlcache.errors import CannotEncodeError
from tests.codec.likeness import CODEC, round_trip

pd = pytest.importorskip("pandas")
pdt = pytest.importorskip("pandas.testing")
pa = pytest.importorskip("pyarrow")
hpd = pytest.importorskip("hypothesis.extra.pandas")

SIGNED = FrameCodec(signer=Signer(b"k" * 32))
DAYS = pd.date_range("2024-03-30", periods=4, tz="Europe/Rome")

COLUMNS: dict[str, Any] = {
    "float": pd.Series([1.5, np.nan, -0.0, np.inf]),
    "float32": pd.Series([1, 2, 3, 4], dtype="f4"),
    "int": pd.Series([1, 2, 3, 4]),
    "uint8": pd.Series([1, 2, 3, 4], dtype="u1"),
    "bool": pd.Series([True, False, True, True]),
    "complex": pd.Series([1j, 2, 3, 4]),
    "object": pd.Series([1, "x", None, (2, [3.0])], dtype=object),
    "texts as objects": pd.Series(["a", None, "\ud800", np.nan], dtype=object),
    "default text": pd.Series(["a", None, "bc", ""]),
    "python string": pd.Series(["a", pd.NA, "b", "c"], dtype=pd.StringDtype("python")),
    "pyarrow string": pd.Series(["a", pd.NA, "b", "c"], dtype=pd.StringDtype("pyarrow")),
    "Int64": pd.Series([1, None, 2**60 + 1, 4], dtype="Int64"),
    "UInt8": pd.Series([1, None, 3, 4], dtype="UInt8"),
    "Float32": pd.Series([1, None, 3, 4], dtype="Float32"),
    "boolean": pd.Series([True, None, False, True], dtype="boolean"),
    "category": pd.Series(["b", None, "a", "b"]).astype("category"),
    "ordered": pd.Series(pd.Categorical([3, 1, 3, 2], categories=[3, 2, 1, 0], ordered=True)),
    "dates": pd.Series(pd.to_datetime(["2024-01-01", None, "1900-01-01", "2100-01-01"])),
    "seconds": pd.Series(pd.date_range("2024", periods=4).astype("M8[s]")),
    "zoned": pd.Series(DAYS),
    "fixed zone": pd.Series(DAYS.tz_convert(dt.timezone(dt.timedelta(hours=2)))),
    "deltas": pd.Series(pd.to_timedelta(["1h", None, "3D", "-1ns"])),
    "periods": pd.Series(pd.period_range("2024-01", periods=4, freq="M")),
    "intervals": pd.Series(pd.interval_range(0, 4, closed="both")),
    "arrow int": pd.Series([1, None, 3, 4], dtype="int64[pyarrow]"),
    "arrow list": pd.Series([[1], None, [2, 3], []], dtype=pd.ArrowDtype(pa.list_(pa.int8()))),
    "arrow dictionary": pd.Series(
        pa.array(["a", "b", "a", None]).dictionary_encode(),
        dtype=pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string())),
    ),
    "stamps": pd.Series([pd.Timestamp("2024", tz="UTC"), pd.NaT, pd.Timedelta(1), pd.NA], dtype=object),
}

INDEXES: dict[str, Any] = {
    "default": pd.RangeIndex(4),
    "range": pd.RangeIndex(10, 2, -2, name="r"),
    "int": pd.Index([3, 1, 2, 2], name=("a", 1)),
    "float": pd.Index([1.5, np.nan, 2, 3], dtype="f4"),
    "text": pd.Index(["a", "b", None, "d"]),
    "object": pd.Index([1, "a", None, (1, 2)], dtype=object),
    "bool": pd.Index([True, False, True, True]),
    "days": pd.date_range("2024", periods=4, freq="D", name="d"),
    "business days": pd.date_range("2024", periods=4, freq="BMS", tz="Asia/Tokyo", unit="s"),
    "irregular": pd.DatetimeIndex(["2024", "2023", "2025", None]),
    "deltas": pd.timedelta_range(0, periods=4, freq="90min", name="t"),
    "periods": pd.period_range("2024", periods=4, freq="W-WED"),
    "category": pd.CategoricalIndex(["a", "b", "a", None], categories=["c", "b", "a"]),
    "intervals": pd.interval_range(0.5, 4.5),
    "Int64": pd.Index([1, None, 3, 4], dtype="Int64"),
    "levels": pd.MultiIndex.from_product([["a", "b"], pd.date_range("2024", periods=2)], names=["x", None]),
    "missing level": pd.MultiIndex.from_tuples([(1, "a"), (np.nan, "b"), (1, None), (2, "a")]),
    "unused level": pd.MultiIndex.from_product([[1, 2, 3], [1, 2, 3, 4]])[4:8],
}


def check_index(left: Any, right: Any) -> None:
    pdt.assert_index_equal(left, right, exact=True, check_exact=True)
    assert type(left) is type(right)
    assert getattr(left, "freq", None) == getattr(right, "freq", None)
    assert left.names == right.names
    assert isinstance(left, pd.MultiIndex) or left.dtype == right.dtype


def check_series(left: Any, right: Any) -> None:
    pdt.assert_series_equal(left, right, check_exact=True, check_freq=True, check_flags=True)
    check_index(left.index, right.index)
    assert left.dtype == right.dtype
    assert left.dtype != object or [*map(type, left)] == [*map(type, right)]


def check_frame(left: Any, right: Any) -> None:
    pdt.assert_frame_equal(left, right, check_exact=True, check_freq=True, check_flags=True)
    check_index(left.index, right.index)
    check_index(left.columns, right.columns)
    assert left.attrs == right.attrs
    for place in range(left.shape[1]):
        check_series(left.iloc[:, place], right.iloc[:, place])


@pytest.mark.parametrize("name", COLUMNS)
def test_a_series_comes_back(name: str) -> None:
    series = COLUMNS[name].rename(name)
    for value in (series, series[:0], series[1:3], series[::-1], series.to_frame(), series.to_frame()[::2]):
        back = round_trip(value)
        check_frame(back, value) if value.ndim > 1 else check_series(back, value)


@pytest.mark.parametrize("name", COLUMNS)
def test_the_array_in_a_series_comes_back(name: str) -> None:
    array = COLUMNS[name].array
    if type(array).__name__ == "NumpyExtensionArray":
        with pytest.raises(CannotEncodeError):
            CODEC.encode(Entry(array, 1.0))
    else:
        pdt.assert_extension_array_equal(round_trip([array])[0], array, check_exact=True)


@pytest.mark.parametrize("name", INDEXES)
def test_an_index_comes_back_alone_and_as_rows_or_columns(name: str) -> None:
    index = INDEXES[name]
    check_index(round_trip(index), index)
    rows = pd.DataFrame({"a": range(4), "b": [1.5] * 4}, index=index)
    check_frame(round_trip(rows), rows)
    columns = pd.DataFrame(np.arange(12).reshape(3, 4), columns=index)
    check_frame(round_trip(columns), columns)
    check_series(round_trip(rows["a"]), rows["a"])


def test_a_frame_of_all_kinds_of_columns_comes_back() -> None:
    frame = pd.DataFrame(COLUMNS)
    twice = pd.concat([frame, frame[frame.columns[::-1]]], axis=1)
    for value in (frame, twice, twice.iloc[:, ::3], twice.iloc[[]], twice.iloc[:, []], pd.DataFrame()):
        check_frame(round_trip(value), value)
    check_frame(round_trip({"a": [frame, 1]})["a"][0], frame)


def test_a_frame_without_columns_or_rows_keeps_its_axes() -> None:
    for value in (pd.DataFrame(index=INDEXES["days"]), pd.DataFrame(columns=INDEXES["levels"])):
        check_frame(round_trip(value), value)


@given(
    hpd.data_frames(
        index=hpd.range_indexes() | hpd.indexes(dtype="i8"),
        columns=[
            hpd.column("a", dtype="f8"),
            hpd.column("b", dtype="i4"),
            hpd.column("c", dtype="M8[ns]"),
            hpd.column("d", dtype="f8"),
            hpd.column("e", elements=st.text(max_size=5) | st.none(), dtype=object),
        ],
    )
)
def test_any_frame_comes_back(frame: Any) -> None:
    check_frame(round_trip(frame), frame)
    check_frame(round_trip(frame.iloc[::2, ::2]), frame.iloc[::2, ::2])


def test_values_are_views_that_cannot_be_written_to() -> None:
    frame = pd.DataFrame(np.arange(3000.0).reshape(1000, 3)).assign(i=range(1000), t=pd.Timestamp("2024"))
    data = CODEC.encode(Entry(frame, 1.0))
    back = CODEC.decode(data).value
    for name in frame:
        values = np.asarray(back[name])
        assert np.shares_memory(values, np.frombuffer(data, np.uint8))
        assert not values.flags.writeable


def test_what_comes_back_can_be_worked_with() -> None:
    frame = pd.DataFrame({"a": [3.0, 1.0, 2.0], "b": ["x", "y", "x"], "t": pd.date_range("2024", periods=3)})
    back = round_trip(frame)
    works: list[Any] = [
        lambda df: df.sort_values("a").reset_index(drop=True),
        lambda df: df.groupby("b").sum(numeric_only=True),
        lambda df: df.assign(c=df["a"] * 2).merge(df, on="a"),
        lambda df: df[df["a"] > 1].describe(),
        lambda df: df.set_index("t").resample("2D")["a"].mean(),
    ]
    for work in works:
        pdt.assert_frame_equal(pd.DataFrame(work(back)), pd.DataFrame(work(frame)))
    copy = back.copy()
    copy.loc[0, "a"] = 9.0
    assert copy.loc[0, "a"] == 9.0
    assert back.loc[0, "a"] == 3.0


def test_attributes_come_back() -> None:
    frame = pd.DataFrame({"a": [1]})
    frame.attrs["unit"] = {"a": ("m", 1)}
    series = frame["a"].copy()
    series.attrs["x"] = 1
    assert round_trip(frame).attrs == frame.attrs
    assert round_trip(series).attrs == series.attrs


@pytest.mark.parametrize(
    "value",
    [
        pd.Timestamp("2024-03-31 02:30:00.123456789"),
        pd.Timestamp("2024").as_unit("s"),
        pd.Timestamp("2024-10-27 01:30", tz="UTC").tz_convert("Europe/Rome"),
        pd.Timestamp("1700", tz=dt.UTC).as_unit("us"),
        pd.Timedelta(-1, "ns"),
        pd.Timedelta(5, "D").as_unit("s"),
        pd.NaT,
        pd.NA,
    ],
    ids=repr,
)
def test_scalars_come_back(value: Any) -> None:
    back = round_trip([value])[0]
    assert type(back) is type(value)
    assert repr(back) == repr(value)
    assert getattr(back, "unit", None) == getattr(value, "unit", None)
    assert getattr(back, "fold", None) == getattr(value, "fold", None)


class Subframe(pd.DataFrame):  # type: ignore[misc,name-defined]
    pass


@pytest.mark.parametrize(
    "value",
    [
        Subframe({"a": [1]}),
        pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False),
        pd.DataFrame({"a": pd.arrays.SparseArray([0, 0, 1])}),
        pd.DataFrame({"a": [1j, object]}),
        pd.Series(
            [1],
            index=pd.date_range(
                "2024", periods=1, freq=pd.offsets.CustomBusinessDay(holidays=["2024-01-02"])
            ),
        ),
        pd.Index([object]),
        pd.Interval(0, 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_would_come_back_different_needs_pickle(value: Any) -> None:
    with pytest.raises(CannotEncodeError, match="MLCACHE_SECRET"):
        CODEC.encode(Entry(value, 1.0))
    back = round_trip(value, SIGNED)
    assert type(back) is type(value)
    if isinstance(value, pd.DataFrame):
        check_frame(back, value)


def test_frames_are_put_together_column_by_column_where_pandas_cannot_do_better(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(pd.api, "internals", raising=False)
    frame = pd.DataFrame(COLUMNS)
    for value in (frame, frame.iloc[:, ::3], frame.iloc[[]], pd.DataFrame(index=[1, 2]), pd.DataFrame()):
        check_frame(round_trip(value), value)


def test_a_zone_without_a_name_is_refused() -> None:
    with (resources.files("tzdata") / "zoneinfo/Europe/Rome").open("rb") as file:
        zone = zoneinfo.ZoneInfo.from_file(file)
    with pytest.raises(CannotEncodeError, match="no name"):
        CODEC.encode(Entry(pd.date_range("2024", periods=2, tz=zone), 1.0))


@pytest.mark.parametrize("kind", ["categories", "levels"])
def test_ranges_that_are_long_only_together_need_pickle(kind: str) -> None:
    labels = pd.RangeIndex(1_000_000)

    def value(count: int) -> Any:
        if kind == "levels":
            return pd.MultiIndex([labels] * count, [[0, 1]] * count)
        column = pd.Categorical.from_codes([0, 1], labels)
        return pd.DataFrame(dict.fromkeys(map(str, range(count)), column))

    assert value(8).equals(round_trip(value(8)))
    with pytest.raises(CannotEncodeError, match="short to write"):
        CODEC.encode(Entry(value(9), 1.0))
    assert value(9).equals(round_trip(value(9), SIGNED))
