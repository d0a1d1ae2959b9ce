"""The extension arrays of pandas: what the columns of frames are made of where they are not NumPy's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from mlcache.codec.nodes import NeedsPickleError, Node, Reader, Writer


def write_values(value: Any, out: Writer) -> Node:
    """The node of the values of a series or of an index."""
    numpy = isinstance(value.dtype, np.dtype)
    return out.node(value.to_numpy() if numpy else value.array)


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
        msg = f"the frequency {frequency!r} is more than its name"
        raise NeedsPickleError(msg)
    return name


def _write_masked(value: Any, out: Writer) -> Node:
    name = type(value).__name__
    return [f"pandas.{name}", out.node(value._data), out.node(value._mask)]


def _read_masked(kind: Callable[..., Any]) -> Callable[[Node, Reader], Any]:
    return lambda node, source: kind(source.value(node[1]), source.value(node[2]))


def _write_string(value: Any, out: Writer) -> Node:
    dtype = value.dtype
    missing = isinstance(dtype.na_value, float) and math.isnan(dtype.na_value)
    if dtype.storage == "pyarrow":
        return ["pandas.string", "pyarrow", missing, out.node(value.__arrow_array__())]
    return ["pandas.string", "python", missing, out.node(np.asarray(value, dtype=object))]


def _read_string(node: Node, source: Reader) -> Any:
    _, storage, missing, data = node
    dtype = pd.StringDtype(storage, na_value=np.nan if missing else pd.NA)
    values = source.value(data)
    if storage == "pyarrow":
        return dtype.__from_arrow__(values)
    return pd.array(values, dtype=dtype)


def _write_arrow(value: Any, out: Writer) -> Node:
    return ["pandas.arrow", out.node(value.__arrow_array__())]


def _read_arrow(node: Node, source: Reader) -> Any:
    column = source.value(node[1])
    return pd.ArrowDtype(column.type).__from_arrow__(column)


def _write_categorical(value: Any, out: Writer) -> Node:
    return ["pandas.Categorical", out.node(value.codes), out.node(value.categories), value.ordered]


def _read_categorical(node: Node, source: Reader) -> Any:
    _, codes, categories, ordered = node
    dtype = pd.CategoricalDtype(source.value(categories), ordered)
    return pd.Categorical.from_codes(source.value(codes), dtype=dtype)


def write_dates(value: Any, out: Writer) -> Node:
    """The node of dates, as an array or as an index; up to pandas 3.0 both have a frequency, then the index alone."""
    frequency = write_frequency(getattr(value, "freq", None))
    return ["pandas.dates", out.node(value.asi8), value.unit, out.node(value.tz), frequency]


def read_dates(node: Node, source: Reader) -> pd.DatetimeIndex:
    """The dates as an index, whatever they were."""
    _, ticks, unit, zone, frequency = node
    index = pd.DatetimeIndex(source.value(ticks).view(f"M8[{unit}]"))
    if zone is not None:
        index = index.tz_localize("UTC").tz_convert(source.value(zone))
    index.freq = frequency
    return index


def write_deltas(value: Any, out: Writer) -> Node:
    """The node of time differences, as an array or as an index."""
    return ["pandas.deltas", out.node(value.asi8), value.unit, write_frequency(getattr(value, "freq", None))]


def read_deltas(node: Node, source: Reader) -> pd.TimedeltaIndex:
    """The differences as an index, whatever they were."""
    _, ticks, unit, frequency = node
    index = pd.TimedeltaIndex(source.value(ticks).view(f"m8[{unit}]"))
    index.freq = frequency
    return index


def _write_periods(value: Any, out: Writer) -> Node:
    if pd.PeriodDtype.construct_from_string(value.dtype.name) != value.dtype:
        msg = f"the dtype {value.dtype!r} is more than its name"
        raise NeedsPickleError(msg)
    return ["pandas.periods", out.node(value.asi8), value.dtype.name]


def _read_periods(node: Node, source: Reader) -> Any:
    _, ordinals, name = node
    return pd.arrays.PeriodArray(source.value(ordinals), dtype=pd.PeriodDtype.construct_from_string(name))


def _write_intervals(value: Any, out: Writer) -> Node:
    return ["pandas.intervals", out.node(value.left), out.node(value.right), value.closed]


def _read_intervals(node: Node, source: Reader) -> Any:
    _, left, right, closed = node
    return pd.arrays.IntervalArray.from_arrays(source.value(left), source.value(right), closed)


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
    "pandas.periods": _read_periods,
    "pandas.intervals": _read_intervals,
    "pandas.NA": lambda *_: pd.NA,
    "pandas.NaT": lambda *_: pd.NaT,
}
