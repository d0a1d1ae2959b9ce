"""Codes of pandas' columns (extension arrays), of their dtypes, and of pandas' scalars."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import numpy as np

from mlcache.keys.arrays import encode_array
from mlcache.keys.classes import type_name
from mlcache.keys.digest import Encoder, Seen, encode
from mlcache.keys.standard import made_of


def encode_column(values: Any, seen: Seen) -> bytes:
    """The code of a column's values: those of numpy as an array, others by their dtype and content."""
    import pandas as pd

    if isinstance(values, np.ndarray):
        return encode_array(values, seen)
    if isinstance(values, pd.arrays.NumpyExtensionArray):
        return encode_array(values.to_numpy(), seen)
    head = b"@column:" + encode_dtype(values.dtype, seen)
    return head + _content_encoder(type(values))(values, seen)


def _content_encoder(kind: type) -> Encoder:
    import pandas as pd

    arrays = pd.arrays
    table: dict[type | tuple[type, ...], Encoder] = {
        (arrays.DatetimeArray, arrays.TimedeltaArray, arrays.PeriodArray): _encode_moments,
        pd.Categorical: lambda values, seen: encode_array(values.codes, seen),
        (arrays.IntegerArray, arrays.FloatingArray, arrays.BooleanArray): _encode_masked,
        (arrays.ArrowStringArray, arrays.ArrowExtensionArray): _encode_arrow,
        arrays.IntervalArray: lambda values, seen: encode((values.left, values.right), seen),
        arrays.SparseArray: lambda values, seen: encode_array(np.asarray(values), seen),
    }
    return next((encoder for bases, encoder in table.items() if issubclass(kind, bases)), _encode_objects)


def _encode_moments(values: Any, seen: Seen) -> bytes:
    return encode_array(values.asi8, seen)


def _encode_masked(values: Any, seen: Seen) -> bytes:
    """What lies under a missing value does not count: it becomes a zero."""
    missing = np.asarray(values.isna())
    kind = values.dtype.numpy_dtype
    return encode_array(values.to_numpy(dtype=kind, na_value=kind.type(0)), seen) + encode_array(
        missing, seen
    )


def _encode_arrow(values: Any, seen: Seen) -> bytes:
    from mlcache.keys.arrow import encode_chunks

    return encode_chunks(values.__arrow_array__(), seen)


def _encode_objects(values: Any, seen: Seen) -> bytes:
    """Value by value; what is missing becomes None, since the dtype says what stands for it."""
    missing = np.asarray(values.isna())
    content = np.array(values, dtype=object)
    content[missing] = None
    return encode(content.tolist(), seen) + encode_array(missing, seen)


def encode_dtype(dtype: Any, seen: Seen) -> bytes:
    """The code of a dtype, numpy's or pandas' own."""
    return encode(dtype, seen)


def _dtype_parts(dtype: Any) -> object:
    import pandas as pd

    name = type_name(type(dtype))
    if isinstance(dtype, pd.CategoricalDtype):
        return name, dtype.ordered, dtype.categories
    if isinstance(dtype, pd.StringDtype):
        return name, dtype.storage, dtype.na_value
    if isinstance(dtype, pd.DatetimeTZDtype):
        return name, str(dtype), _zone(dtype.tz)
    return name, str(dtype)


def _zone(zone: datetime.tzinfo) -> object:
    """What to say of a time zone besides its name, which is all of it where it is in the database of zones.

    Several libraries take zones from there, and pandas takes those of one name for equal.
    """
    return None if getattr(zone, "key", None) or getattr(zone, "zone", None) else zone


encode_pandas_dtype = made_of("pandas.dtype", _dtype_parts)
"""The code of a dtype of pandas' own."""


def encode_missing(value: object, _: Seen) -> bytes:
    """The code of ``pd.NA`` or ``pd.NaT``."""
    return b"@missing:" + type(value).__name__.encode() + b":"


def _ticks(value: Any) -> int:
    """A moment or a duration in its own unit; ``value.value`` is in nanoseconds, which may overflow."""
    return int(value.asm8.view("i8"))


def _offset_parts(offset: Any) -> object:
    """What two offsets differ by. A calendar says again what the holidays say, and cannot be keyed."""
    more = {name: content for name, content in offset.kwds.items() if name != "calendar"}
    return type_name(type(offset)), offset.n, offset.normalize, more


def _by(parts: Callable[[Any], object]) -> Encoder:
    return made_of("pandas.scalar", lambda value: (type(value).__name__, parts(value)))


def scalars() -> dict[type, Encoder]:
    """How pandas' scalars are encoded."""
    import pandas as pd

    return {
        pd.Timestamp: _by(lambda value: (value.unit, _ticks(value), value.tzinfo, value.fold)),
        pd.Timedelta: _by(lambda value: (value.unit, _ticks(value))),
        pd.Period: _by(lambda value: (value.ordinal, value.freqstr)),
        pd.Interval: _by(lambda value: (value.left, value.right, value.closed)),
        pd.offsets.BaseOffset: _by(_offset_parts),
    }
