"""Codes of pandas' frames, series and indexes.

A frame stands by its index, its column labels and its columns one by one, so that it does
not matter how it was built nor which columns lie together in memory. Its ``attrs`` are
left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from marshal import dumps
from typing import Any

import numpy as np

from mlcache.errors import UnhashableArgumentError
from mlcache.keys.arrays import encode_array
from mlcache.keys.classes import encode_class
from mlcache.keys.columns import encode_column
from mlcache.keys.digest import Encoder, Seen, at, encode


def encoder_for(kind: type) -> Encoder | None:
    """How a type of pandas', or one derived from it, is encoded; None if not here."""
    import pandas as pd

    from mlcache.keys.columns import encode_missing, encode_pandas_dtype, scalars

    table: dict[type, Encoder] = {
        pd.DataFrame: encode_frame,
        pd.Series: encode_series,
        pd.MultiIndex: encode_multi_index,
        pd.Index: encode_index,
        pd.api.extensions.ExtensionArray: encode_column,
        pd.api.extensions.ExtensionDtype: encode_pandas_dtype,
        type(pd.NA): encode_missing,
        type(pd.NaT): encode_missing,
        **scalars(),
    }
    for base, encoder in table.items():
        if issubclass(kind, base):
            return encoder if kind.__module__.partition(".")[0] == "pandas" else _derived(encoder)
    return None


def _derived(encoder: Encoder) -> Encoder:
    """How a subclass is encoded: its class, its content, and the attributes that it says it carries."""

    def encode_derived(value: Any, seen: Seen) -> bytes:
        carried = [(name, getattr(value, name, None)) for name in getattr(value, "_metadata", ())]
        return b"@derived:" + encode_class(type(value), seen) + encoder(value, seen) + encode(carried, seen)

    return encode_derived


def encode_frame(frame: Any, seen: Seen) -> bytes:
    """The code of a frame."""
    codes = [b""] * frame.shape[1]
    for place, values in _columns(frame):
        try:
            codes[place] = encode_column(values, seen)
        except UnhashableArgumentError as error:
            raise at(error, f"[{frame.columns[place]!r}]") from None
    axes = encode_index(frame.index, seen) + encode_index(frame.columns, seen)
    return b"@DataFrame:" + dumps(frame.shape, 2) + axes + b"".join(codes)


def _columns(frame: Any) -> Iterator[tuple[int, Any]]:
    """Each column's place and values. Column by column, pandas takes ten times as long to hand them out."""
    manager = getattr(frame, "_mgr", None)
    blocks = getattr(manager, "blocks", None)
    if blocks is None:
        yield from ((place, frame.iloc[:, place].array) for place in range(frame.shape[1]))
        return
    for block in blocks:
        values = block.values
        for row, place in enumerate(block.mgr_locs.as_array.tolist()):
            yield place, values[row] if values.ndim > 1 else values


def encode_series(series: Any, seen: Seen) -> bytes:
    """The code of a series: its name, its index and its values."""
    head = b"@Series:" + encode(series.name, seen) + encode_index(series.index, seen)
    return head + encode_column(series.array, seen)


def encode_index(index: Any, seen: Seen) -> bytes:
    """The code of an index: its names and its values. A range is an index of integers like another."""
    import pandas as pd

    if isinstance(index, pd.MultiIndex):
        return encode_multi_index(index, seen)
    head = b"@Index:" + encode(index.name, seen)
    if isinstance(index, pd.RangeIndex):
        return head + _range_code(index.start, index.step, len(index))
    return head + (
        _encode_integers(index.to_numpy(), seen)
        if index.dtype == np.int64
        else encode_column(index.array, seen)
    )


def _encode_integers(values: Any, seen: Seen) -> bytes:
    start, step = _first_step(values)
    if step and np.array_equal(values, start + step * np.arange(len(values))):
        return _range_code(start, step, len(values))
    return encode_array(values, seen)


def _first_step(values: Any) -> tuple[int, int]:
    """The range that ``values`` may be, by its ends alone; a step of 0 if it cannot be one."""
    size = len(values)
    start = int(values[0]) if size else 0
    step = int(values[1]) - start if size > 1 else 1
    fits = size <= 1 or int(values[-1]) == start + step * (size - 1)
    return start, step * fits


def _range_code(start: int, step: int, size: int) -> bytes:
    return b"@range:" + dumps((start if size else 0, step if size > 1 else 1, size), 2)


def encode_multi_index(index: Any, seen: Seen) -> bytes:
    """The code of an index of several levels: each level's name and values, row by row."""
    levels = [encode_index(index.get_level_values(place), seen) for place in range(index.nlevels)]
    return b"@MultiIndex:" + dumps(len(levels), 2) + b"".join(levels)
