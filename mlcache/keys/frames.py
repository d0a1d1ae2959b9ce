"""Codes of pandas' frames, series and indexes.

A frame stands by its index, its column labels and its columns one by one, so that it does
not matter how it was built nor which columns lie together in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from marshal import dumps
from typing import Any

import numpy as np

from mlcache.keys.arrays import encode_array
from mlcache.keys.digest import Encoder, Seen, encode


def encoder_for(kind: type) -> Encoder | None:
    """How a type of pandas', or one derived from it, is encoded; None if not here."""
    import pandas as pd

    table: dict[type, Encoder] = {
        pd.DataFrame: encode_frame,
        pd.Series: encode_series,
        pd.MultiIndex: encode_multi_index,
        pd.Index: encode_index,
        pd.api.extensions.ExtensionArray: encode_values,
        pd.api.extensions.ExtensionDtype: encode_dtype,
        pd.Timestamp: encode_timestamp,
        pd.Timedelta: encode_timedelta,
        pd.Period: encode_period,
        pd.Interval: encode_interval,
        pd.offsets.BaseOffset: encode_offset,
    }
    for base, encoder in table.items():
        if issubclass(kind, base):
            return encoder if kind.__module__.startswith("pandas.") else _named(kind, encoder)
    if kind in {type(pd.NA), type(pd.NaT)}:
        return _named(kind, lambda _value, _seen: b"")
    return None


def _named(kind: type, encoder: Encoder) -> Encoder:
    name = b"@kind:" + dumps(f"{kind.__module__}.{kind.__qualname__}", 2)
    return lambda value, seen: name + encoder(value, seen)


def encode_frame(frame: Any, seen: Seen) -> bytes:
    """The code of a frame."""
    columns = [frame.iloc[:, i].array for i in range(frame.shape[1])]
    return (
        b"@DataFrame:"
        + encode(frame.index, seen)
        + encode(frame.columns, seen)
        + b"".join(encode_values(column, seen) for column in columns)
    )


def encode_series(series: Any, seen: Seen) -> bytes:
    """The code of a series: its name, its index and its values."""
    return b"@Series:" + encode(series.name, seen) + encode(series.index, seen) + encode_values(series.array, seen)


def encode_index(index: Any, seen: Seen) -> bytes:
    """The code of an index: its names and its values. A range is an index of integers like another."""
    if hasattr(index, "step") and index.dtype == np.int64:
        return b"@Index:" + encode(list(index.names), seen) + _range(index.start, index.step, len(index))
    return b"@Index:" + encode(list(index.names), seen) + _index_values(index, seen)


def _range(start: int, step: int, size: int) -> bytes:
    return b"@range:" + dumps((start if size else 0, step if size > 1 else 1, size), 2)


def _index_values(index: Any, seen: Seen) -> bytes:
    if index.dtype == np.int64:
        values = index.to_numpy()
        size = len(values)
        step = int(values[1] - values[0]) if size > 1 else 1
        start = int(values[0]) if size else 0
        if step and (size < 2 or np.array_equal(values, np.arange(start, start + step * size, step))):
            return _range(start, step, size)
    return encode_values(index.array, seen)


def encode_multi_index(index: Any, seen: Seen) -> bytes:
    """The code of an index of several levels: its names and each level's values, row by row."""
    levels = [index.get_level_values(i) for i in range(index.nlevels)]
    values = b"".join(encode_index(level, seen) for level in levels)
    return b"@MultiIndex:" + dumps(len(levels), 2) + values


def encode_values(values: Any, seen: Seen) -> bytes:
    """The code of a column's values, as an extension array holds them."""
    import pandas as pd

    if isinstance(values, pd.arrays.NumpyExtensionArray):
        return encode_array(values.to_numpy(), seen)
    head = b"@column:" + encode_dtype(values.dtype, seen)
    if isinstance(values, pd.Categorical):
        return head + encode_array(values.codes, seen)
    mask = np.asarray(values.isna())
    content = _content(values, mask)
    return head + (encode(content, seen) if isinstance(content, list) else encode_array(content, seen) + encode_array(mask, seen))


def _content(values: Any, mask: Any) -> Any:
    import pandas as pd

    if isinstance(values, pd.arrays.DatetimeArray | pd.arrays.TimedeltaArray | pd.arrays.PeriodArray):
        return values.view("i8")
    if isinstance(values, pd.arrays.IntegerArray | pd.arrays.FloatingArray | pd.arrays.BooleanArray):
        zero = values.dtype.numpy_dtype.type(0)
        return values.to_numpy(dtype=values.dtype.numpy_dtype, na_value=zero)
    return np.asarray(values, dtype=object).tolist()


def encode_dtype(dtype: Any, seen: Seen) -> bytes:
    """The code of a dtype of pandas' own."""
    import pandas as pd

    kind = type(dtype)
    parts: list[object] = [f"{kind.__module__}.{kind.__qualname__}", str(dtype)]
    if isinstance(dtype, pd.CategoricalDtype):
        parts += [dtype.ordered, dtype.categories]
    elif isinstance(dtype, pd.StringDtype):
        parts += [dtype.storage, dtype.na_value]
    return b"@pandas.dtype:" + encode(tuple(parts), seen)


def _by(name: bytes, parts: Callable[[Any], tuple[object, ...]]) -> Encoder:
    return lambda value, seen: name + encode(parts(value), seen)


encode_timestamp = _by(b"@Timestamp:", lambda value: (value._value, value.unit, value.tzinfo, value.fold))
encode_timedelta = _by(b"@Timedelta:", lambda value: (value._value, value.unit))
encode_period = _by(b"@Period:", lambda value: (value.ordinal, value.freqstr))
encode_interval = _by(b"@Interval:", lambda value: (value.left, value.right, value.closed))
encode_offset = _by(b"@offset:", lambda value: (type(value).__name__, value.freqstr))
