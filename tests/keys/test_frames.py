"""Keys of pandas' frames, series, indexes and scalars."""

from __future__ import annotations

import datetime as dt
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlcache.errors import UnhashableArgumentError
from mlcache.keys import digest

N = 50
COLUMNS: dict[str, Any] = {
    "int64": list(range(N)),
    "float64": [i / 3 for i in range(N)],
    "bool": [bool(i % 2) for i in range(N)],
    "str": [f"row {i}" for i in range(N)],
    "object": [[1, "a", None, 2.5, (1, 2)][i % 5] for i in range(N)],
    "category": [f"c{i % 3}" for i in range(N)],
    "Int64": [None if i % 7 == 0 else i for i in range(N)],
    "Float32": [None if i % 7 == 0 else i for i in range(N)],
    "boolean": [None if i % 7 == 0 else bool(i % 2) for i in range(N)],
    "string": [None if i % 7 == 0 else f"row {i}" for i in range(N)],
    "string[python]": [None if i % 7 == 0 else f"row {i}" for i in range(N)],
    "datetime64[ns]": pd.date_range("2020", periods=N),
    "datetime64[us]": pd.date_range("2020", periods=N, unit="us"),
    "datetime64[ns, Europe/Paris]": pd.date_range("2020", periods=N, tz="Europe/Paris"),
    "datetime64[ns, UTC]": pd.date_range("2020", periods=N, tz="UTC"),
    "timedelta64[ns]": pd.timedelta_range("1D", periods=N),
    "period[D]": pd.period_range("2020", periods=N, freq="D"),
    "interval": pd.interval_range(0, N),
    "Sparse[float64]": [0.0 if i % 3 else 1.0 for i in range(N)],
    "int64[pyarrow]": [None if i % 7 == 0 else i for i in range(N)],
    "list": [[i, str(i)] for i in range(N)],
}


def column(name: str) -> pd.Series[Any]:
    values = COLUMNS[name]
    return pd.Series(values) if name in {"interval", "list"} else pd.Series(values, dtype=name)


@pytest.mark.parametrize("name", COLUMNS)
def test_equal_series_are_equal_however_made(name: str) -> None:
    series = column(name)
    doubled = pd.concat([series, series])
    for other in (series.copy(), pickle.loads(pickle.dumps(series)), doubled.iloc[:N], series[::-1][::-1]):
        assert digest(series) == digest(other)


@pytest.mark.parametrize("name", COLUMNS)
def test_every_row_counts(name: str) -> None:
    series = column(name)
    order = np.arange(N)
    for place in range(1, N):
        swapped = order.copy()
        swapped[[place - 1, place]] = swapped[[place, place - 1]]
        other = series.take(swapped).set_axis(series.index)
        same = repr(series[place - 1]) == repr(series[place])
        assert same == (digest(other) == digest(series))


def test_all_columns_are_apart() -> None:
    assert len({digest(column(name)) for name in COLUMNS}) == len(COLUMNS)


def frame() -> pd.DataFrame:
    return pd.DataFrame({name: column(name) for name in COLUMNS})


def test_frames_are_equal_however_built() -> None:
    one_by_one = pd.DataFrame(index=range(N))
    for name in COLUMNS:
        one_by_one[name] = column(name)
    glued = pd.concat([frame().iloc[:20], frame().iloc[20:]])
    beside = pd.concat([frame().iloc[:, :7], frame().iloc[:, 7:]], axis=1)
    picked = frame()[list(reversed(COLUMNS))][list(COLUMNS)]
    for other in (one_by_one, glued, beside, picked, frame().copy(), pickle.loads(pickle.dumps(frame()))):
        assert digest(other) == digest(frame())


def test_layout_in_memory_does_not_matter() -> None:
    values = np.arange(60.0).reshape(20, 3)
    names = ["a", "b", "c"]
    made = [
        pd.DataFrame(values, columns=names),
        pd.DataFrame(np.asfortranarray(values), columns=names),
        pd.DataFrame(values.T.copy(), index=names).T,
        pd.DataFrame({name: values[:, i] for i, name in enumerate(names)}),
        pd.DataFrame(np.repeat(values, 2, 0), columns=names).iloc[::2].reset_index(drop=True),
    ]
    assert len({digest(each) for each in made}) == 1


def test_what_makes_frames_different() -> None:
    base = pd.DataFrame({"a": [1, 2], "b": [3, 4]})
    others = [
        base,
        base.rename(columns={"a": "c"}),
        base[["b", "a"]],
        base.astype("int32"),
        base.astype({"a": float}),
        base.astype(object),
        base.set_axis([1, 2]),
        base.set_axis([0.0, 1.0]),
        base.set_axis(["0", "1"]),
        base.rename_axis("n"),
        base.rename_axis("n", axis=1),
        base.iloc[:1],
        base.iloc[::-1],
        base.iloc[:, :1],
        base.T,
        base["a"],
        base["a"].rename("b"),
        base.set_index("a", append=True),
        base.set_index(["a", "b"]),
        pd.DataFrame({"a": [1, 2], "b": [3, 5]}),
        pd.DataFrame({"a": [1, 3], "b": [2, 4]}),
        base.to_numpy(),
        base.to_dict("list"),
        base.columns,
        base.index,
        pd.DataFrame({("a", "b"): [1, 2]}),
        pd.DataFrame([[1, 3], [2, 4]]),
        pd.DataFrame([[1, 3], [2, 4]], columns=["a", "a"]),
        pd.DataFrame(),
        pd.DataFrame(index=[0, 1]),
        pd.DataFrame(columns=["a", "b"]),
    ]
    assert len({digest(each) for each in others}) == len(others)


def test_one_cell_of_many_rows_counts() -> None:
    one = pd.DataFrame({"a": np.zeros(55_000), "s": ["text"] * 55_000})
    for change in (("a", 1.0), ("s", "texts")):
        other = one.copy()
        other.loc[27_500, change[0]] = change[1]
        assert digest(one) != digest(other)


def test_attrs_are_left_out() -> None:
    other = frame()
    other.attrs["note"] = object()
    assert digest(other) == digest(frame())


@pytest.mark.parametrize("start", [0, 5])
@pytest.mark.parametrize("step", [1, -2])
@pytest.mark.parametrize("size", [0, 1, 2, 5])
def test_a_range_is_an_index_of_integers(start: int, step: int, size: int) -> None:
    whole = pd.RangeIndex(start, start + step * size, step)
    assert digest(whole) == digest(pd.Index(whole.to_list(), dtype="int64"))
    assert size < 1 or digest(whole) != digest(pd.Index(whole.to_list(), dtype="int32"))


def test_indexes_are_apart() -> None:
    indexes = [
        pd.Index([0, 1, 2]),
        pd.Index([0, 1, 3]),
        pd.Index([0, 2, 1]),
        pd.Index([0.0, 1, 2]),
        pd.Index(["0", "1", "2"]),
        pd.Index([0, 1, 2], name="n"),
        pd.Index([0, 1, 2], dtype=object),
        pd.Index([0, 0, 0]),
        pd.Index([0, 1, 2]).to_series(),
        pd.MultiIndex.from_tuples([(0, 1), (2, 3)]),
        pd.MultiIndex.from_tuples([(0, 1), (2, 3)], names=["a", "b"]),
        pd.MultiIndex.from_tuples([(0, 2), (1, 3)]),
        pd.Index([0, 2]),
        pd.CategoricalIndex([0, 1, 2]),
        pd.date_range("2020", periods=3),
        pd.date_range("2020", periods=3, tz="UTC"),
        pd.interval_range(0, 3),
    ]
    assert len({digest(index) for index in indexes}) == len(indexes)


def test_levels_are_equal_however_they_are_stored() -> None:
    made = pd.MultiIndex.from_product([["a", "b"], [1, 2]])
    assert digest(made[:2]) == digest(pd.MultiIndex.from_tuples([("a", 1), ("a", 2)]))


def test_what_lies_under_a_missing_value_does_not_count() -> None:
    one, other = (
        pd.Series(pd.arrays.IntegerArray(np.array([1, hidden]), np.array([False, True]))) for hidden in (1, 9)
    )
    assert digest(one) == digest(other)


def test_categories_count() -> None:
    made = [
        pd.Categorical(["a", "b"]),
        pd.Categorical(["a", "b"], categories=["a", "b", "c"]),
        pd.Categorical(["a", "b"], ordered=True),
        pd.Categorical(["b", "a"]),
        pd.Categorical([1, 2]),
    ]
    assert len({digest(each) for each in made}) == len(made)


def test_scalars_are_apart() -> None:
    scalars: list[Any] = [
        pd.NA,
        pd.NaT,
        None,
        float("nan"),
        pd.Timestamp("2020"),
        pd.Timestamp("2020").as_unit("ns"),
        pd.Timestamp("2020", tz="UTC"),
        pd.Timestamp("2020", tz="Europe/Paris"),
        pd.Timestamp("2020").to_pydatetime(),
        pd.Timestamp("2020").asm8,
        pd.Timedelta("1D"),
        pd.Timedelta("1D").to_pytimedelta(),
        pd.Period("2020", "D"),
        pd.Period("2020", "Y"),
        pd.Interval(0, 1),
        pd.Interval(0, 1, "left"),
        pd.offsets.Day(1),
        pd.offsets.Day(2),
        pd.offsets.BDay(1),
        pd.CategoricalDtype(["a"]),
        pd.Int64Dtype(),
        pd.StringDtype(),
        "Int64",
    ]
    assert len({digest(each) for each in scalars}) == len(scalars)
    assert digest(pd.Timestamp("2020", tz="UTC")) == digest(pd.Timestamp("2020", tz="UTC"))


class Labelled(pd.DataFrame):
    """A frame that carries an attribute."""

    _metadata = ("label",)
    label: str

    @property
    def _constructor(self) -> type[Labelled]:
        return Labelled


def test_subclasses_are_apart_by_class_and_by_what_they_carry() -> None:
    def make(label: str) -> Labelled:
        made = Labelled({"a": [1]})
        made.label = label
        return made

    assert digest(make("x")) == digest(make("x"))
    assert len({digest(make("x")), digest(make("y")), digest(pd.DataFrame({"a": [1]}))}) == 3


def test_a_cell_that_cannot_be_keyed_is_named() -> None:
    with pytest.raises(UnhashableArgumentError) as caught:
        digest((pd.DataFrame({"a": [1, 2], "b": [1, object()]}),))
    assert caught.value.path == "[0]['b'][1]"


def test_zones_of_one_name_and_another_offset_are_apart() -> None:
    moments = pd.to_datetime(["2020-01-01"]).tz_localize("UTC")
    zones = [dt.timezone(dt.timedelta(hours=hours), "X") for hours in (1, 2)]
    made = [pd.Series(moments.tz_convert(zone)) for zone in zones]
    assert digest(made[0]) != digest(made[1])
    assert digest(made[0]) == digest(made[0].copy())


def test_all_that_offsets_differ_by_counts() -> None:
    offsets = pd.offsets
    made = [
        offsets.CustomBusinessDay(holidays=["2020-01-01"]),
        offsets.CustomBusinessDay(holidays=["2020-01-02"]),
        offsets.CustomBusinessDay(weekmask="Mon Tue"),
        offsets.BusinessHour(start="09:00"),
        offsets.BusinessHour(start="10:00"),
        offsets.MonthEnd(),
        offsets.MonthEnd(normalize=True),
        offsets.MonthEnd(2),
        offsets.Week(weekday=0),
        offsets.Week(weekday=1),
        pd.DateOffset(months=1),
        pd.DateOffset(months=1, normalize=True),
        pd.DateOffset(month=1),
    ]
    assert len({digest(each) for each in made}) == len(made)
    assert all(digest(each) == digest(pickle.loads(pickle.dumps(each))) for each in made)
