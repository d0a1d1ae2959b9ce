"""What columns are made of where it is not NumPy's: the extension arrays and scalars of pandas."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from mlcache.codec.nodes import NeedsPickleError, Node, Reader, Writer, expect

_MAX_RANGE = 1 << 20
_LABEL_BYTES = 8


def write_values(value: Any, out: Writer) -> Node:
    """The node of the values of a series or of an index."""
    numpy = isinstance(value.dtype, np.dtype)
    return out.node(value.to_numpy() if numpy else value.array)


def read_values(node: Node, source: Reader) -> Any:
    """The values of a series or of an index."""
    values = source.value(node)
    if not isinstance(values, np.ndarray | pd.api.extensions.ExtensionArray):
        raise ValueError(f"a {type(values).__qualname__} stands where an array belongs")  # noqa: TRY004 - not a caller's mistake
    return values


def write_labels(index: pd.Index, out: Writer) -> Node:
    """The node of an index that pandas counts out where it is read: levels, categories or bounds.

    Raises:
        NeedsPickleError: it is a range that takes few bytes here and many there, alone or with those before.
    """
    if isinstance(index, pd.RangeIndex):
        if len(index) > _MAX_RANGE:
            raise NeedsPickleError(f"a range of {len(index)} labels is short to write and long to read")
        out.claim(len(index) * _LABEL_BYTES)
    return out.node(index)


def read_labels(node: Node, source: Reader) -> pd.Index:
    """The index of such a node."""
    index = expect(source.value(node), pd.Index)
    if isinstance(index, pd.RangeIndex):
        source.claim(len(index) * _LABEL_BYTES)
    return index


def write_frequency(frequency: Any) -> Node:
    """The name of a frequency, or None.

    Raises:
        NeedsPickleError: the name does not say all of it, as with holidays.
    """
    if frequency is None:
        return None
    name: str = frequency.freqstr
    try:
        known = to_offset(name) == frequency
    except ValueError:
        known = False
    if not known:
        raise NeedsPickleError(f"the frequency {frequency!r} is more than its name")
    return name


def _array(node: Node, source: Reader) -> Any:
    return expect(source.value(node), np.ndarray)


def _write_masked(value: Any, out: Writer) -> Node:
    # Nothing public gives the values under the mask, and to_numpy() copies.
    name = type(value).__name__
    return [f"pandas.{name}", out.node(value._data), out.node(value._mask)]  # noqa: SLF001


def _read_masked(kind: Callable[..., Any]) -> Callable[[Node, Reader], Any]:
    return lambda node, source: kind(_array(node[1], source), _array(node[2], source))


def _write_string(value: Any, out: Writer) -> Node:
    dtype = value.dtype
    if dtype.storage not in ("python", "pyarrow"):
        raise NeedsPickleError(f"the storage {dtype.storage!r} of texts has no form of its own")
    arrow = dtype.storage == "pyarrow"
    data = value.__arrow_array__() if arrow else np.asarray(value, dtype=object)
    return ["pandas.string", arrow, isinstance(dtype.na_value, float), out.node(data)]


def _read_string(node: Node, source: Reader) -> Any:
    _, arrow, missing, data = node
    # Not every pandas can be told how a missing text is to look.
    options = {"na_value": np.nan} if missing else {}
    dtype: Any = pd.StringDtype("pyarrow" if arrow else "python", **options)
    if arrow:
        return dtype.__from_arrow__(_texts(source.value(data)))
    return pd.array(_array(data, source), dtype=dtype)


def _texts(column: Any) -> Any:
    """A column of texts that pandas takes in as it is: of what it has to cast, few bytes may become many."""
    if str(column.type) not in ("string", "large_string"):
        raise ValueError(f"a column of {column.type} stands where one of texts belongs")
    return column


def _write_arrow(value: Any, out: Writer) -> Node:
    return ["pandas.arrow", out.node(value.__arrow_array__())]


def _read_arrow(node: Node, source: Reader) -> Any:
    column = source.value(node[1])
    dtype: Any = pd.ArrowDtype(column.type)
    return dtype.__from_arrow__(column)


def _write_categorical(value: Any, out: Writer) -> Node:
    return ["pandas.Categorical", out.node(value.codes), write_labels(value.categories, out), value.ordered]


def _read_categorical(node: Node, source: Reader) -> Any:
    _, codes, categories, ordered = node
    dtype = pd.CategoricalDtype(read_labels(categories, source), ordered)
    return pd.Categorical.from_codes(_array(codes, source), dtype=dtype)


def _write_zone(zone: Any, out: Writer) -> Node:
    # pytz, which pandas used up to version 2, has a type for each zone.
    if type(zone).__module__.partition(".")[0] == "pytz" and zone.zone:
        return ["pandas.pytz", zone.zone]
    return out.node(zone)


def _read_pytz(node: Node, _: Reader) -> Any:
    return importlib.import_module("pytz").timezone(node[1])


def write_dates(value: Any, out: Writer) -> Node:
    """The node of dates, as an array or as an index. Not every pandas gives arrays a frequency too."""
    frequency = write_frequency(getattr(value, "freq", None))
    return ["pandas.dates", out.node(value.asi8), value.unit, _write_zone(value.tz, out), frequency]


def read_dates(node: Node, source: Reader) -> Any:
    """The dates as an index, whatever they were."""
    _, ticks, unit, zone, frequency = node
    index: Any = pd.DatetimeIndex(_array(ticks, source).view(f"M8[{unit}]"))
    if zone is not None:
        index = index.tz_localize("UTC").tz_convert(source.value(zone))
    index.freq = frequency
    return index


def write_deltas(value: Any, out: Writer) -> Node:
    """The node of time differences, as an array or as an index."""
    return ["pandas.deltas", out.node(value.asi8), value.unit, write_frequency(getattr(value, "freq", None))]


def read_deltas(node: Node, source: Reader) -> Any:
    """The differences as an index, whatever they were."""
    _, ticks, unit, frequency = node
    index: Any = pd.TimedeltaIndex(_array(ticks, source).view(f"m8[{unit}]"))
    index.freq = frequency
    return index


def _write_periods(value: Any, out: Writer) -> Node:
    if pd.PeriodDtype.construct_from_string(value.dtype.name) != value.dtype:
        raise NeedsPickleError(f"the dtype {value.dtype!r} is more than its name")
    return ["pandas.periods", out.node(value.asi8), value.dtype.name]


def _read_periods(node: Node, source: Reader) -> Any:
    _, ordinals, name = node
    dtype: Any = pd.PeriodDtype.construct_from_string(name)
    return pd.arrays.PeriodArray(_array(ordinals, source), dtype=dtype)


def _write_intervals(value: Any, out: Writer) -> Node:
    return ["pandas.intervals", write_labels(value.left, out), write_labels(value.right, out), value.closed]


def _read_intervals(node: Node, source: Reader) -> Any:
    _, left, right, closed = node
    lower, upper = (read_labels(each, source) for each in (left, right))
    return pd.arrays.IntervalArray.from_arrays(lower, upper, closed)


def _write_timestamp(value: pd.Timestamp, out: Writer) -> Node:
    return ["pandas.Timestamp", out.node(value.to_datetime64()), _write_zone(value.tz, out)]


def _read_timestamp(node: Node, source: Reader) -> Any:
    value, zone = map(source.value, node[1:])
    stamp = pd.Timestamp(expect(value, np.datetime64))
    return stamp if zone is None else stamp.tz_localize("UTC").tz_convert(zone)


def _write_timedelta(value: pd.Timedelta, out: Writer) -> Node:
    return ["pandas.Timedelta", out.node(value.to_timedelta64())]


def _read_timedelta(node: Node, source: Reader) -> Any:
    return pd.Timedelta(expect(source.value(node[1]), np.timedelta64))


_MASKED = (pd.arrays.IntegerArray, pd.arrays.FloatingArray, pd.arrays.BooleanArray)

WRITERS: dict[type, Callable[[Any, Writer], Node]] = {
    **dict.fromkeys(_MASKED, _write_masked),
    pd.arrays.StringArray: _write_string,
    pd.arrays.ArrowStringArray: _write_string,
    pd.arrays.ArrowExtensionArray: _write_arrow,
    pd.Categorical: _write_categorical,
    pd.arrays.DatetimeArray: write_dates,
    pd.arrays.TimedeltaArray: write_deltas,
    pd.arrays.PeriodArray: _write_periods,
    pd.arrays.IntervalArray: _write_intervals,
    pd.Timestamp: _write_timestamp,
    pd.Timedelta: _write_timedelta,
    type(pd.NA): lambda *_: ["pandas.NA"],
    type(pd.NaT): lambda *_: ["pandas.NaT"],
}

READERS: dict[str, Callable[[Node, Reader], Any]] = {
    **{f"pandas.{kind.__name__}": _read_masked(kind) for kind in _MASKED},
    "pandas.string": _read_string,
    "pandas.arrow": _read_arrow,
    "pandas.Categorical": _read_categorical,
    "pandas.dates": lambda node, source: read_dates(node, source).array,
    "pandas.deltas": lambda node, source: read_deltas(node, source).array,
    "pandas.pytz": _read_pytz,
    "pandas.periods": _read_periods,
    "pandas.intervals": _read_intervals,
    "pandas.Timestamp": _read_timestamp,
    "pandas.Timedelta": _read_timedelta,
    "pandas.NA": lambda *_: pd.NA,
    "pandas.NaT": lambda *_: pd.NaT,
}
