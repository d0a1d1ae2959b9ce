"""The frames, series and indexes of pandas, block by block, so that reading copies nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from mlcache.codec import columns
from mlcache.codec.columns import write_values
from mlcache.codec.nodes import NeedsPickleError, Node, Reader, Writer


def _write_frame(value: pd.DataFrame, out: Writer) -> Node:
    blocks = [_write_block(block, out) for block in value._mgr.blocks]  # type: ignore[attr-defined]
    axes = [out.node(value.index), out.node(value.columns)]
    return ["pandas.DataFrame", blocks, axes, _write_attributes(value, out)]


def _write_block(block: Any, out: Writer) -> Node:
    values = block.values
    if isinstance(block.dtype, np.dtype):
        values = np.asarray(values)
    elif values.ndim > 1:
        values = values[0]
    return [out.node(values), block.mgr_locs.as_array.tolist()]


def _read_frame(node: Node, source: Reader) -> pd.DataFrame:
    _, blocks, axes, attributes = node
    index, labels = map(source.value, axes)
    pairs = [(source.value(values), places) for values, places in blocks]
    if sorted(place for _, places in pairs for place in places) != list(range(len(labels))):
        msg = f"the blocks of a frame do not make up its {len(labels)} columns"
        raise ValueError(msg)
    frame = _assemble(pairs, index, labels)
    frame.attrs.update(source.value(attributes))
    return frame


def _assemble(blocks: list[tuple[Any, list[int]]], index: pd.Index, labels: pd.Index) -> pd.DataFrame:
    try:
        from pandas.api.internals import create_dataframe_from_blocks  # noqa: PLC0415 - new in pandas 3
    except ImportError:
        return _assemble_columns(blocks, index, labels)
    return create_dataframe_from_blocks([(each, np.array(places)) for each, places in blocks], index, labels)


def _assemble_columns(blocks: list[tuple[Any, list[int]]], index: pd.Index, labels: pd.Index) -> pd.DataFrame:
    arrays: dict[int, Any] = {}
    for values, places in blocks:
        arrays.update(zip(places, values if values.ndim > 1 else [values], strict=True))
    frame = pd.DataFrame({place: arrays[place] for place in range(len(labels))}, index=index, copy=False)
    frame.columns = labels
    return frame


def _write_series(value: pd.Series[Any], out: Writer) -> Node:
    attributes = _write_attributes(value, out)
    return ["pandas.Series", write_values(value, out), out.node(value.index), out.node(value.name), attributes]


def _read_series(node: Node, source: Reader) -> pd.Series[Any]:
    values, index, name, attributes = map(source.value, node[1:])
    series = pd.Series(values, index=index, name=name, dtype=values.dtype, copy=False)
    series.attrs.update(attributes)
    return series


def _write_attributes(value: pd.DataFrame | pd.Series[Any], out: Writer) -> Node:
    if not value.flags.allows_duplicate_labels:
        msg = "it refuses duplicate labels, and that has no form of its own"
        raise NeedsPickleError(msg)
    return out.node(value.attrs)


def _write_index(value: pd.Index[Any], out: Writer) -> Node:
    return ["pandas.Index", write_values(value, out), out.node(value.name)]


def _read_index(node: Node, source: Reader) -> pd.Index[Any]:
    _, data, name = node
    values = source.value(data)
    return pd.Index(values, dtype=values.dtype, name=source.value(name), copy=False)


def _write_dates(value: pd.DatetimeIndex, out: Writer) -> Node:
    return ["pandas.DatetimeIndex", columns.write_dates(value, out), out.node(value.name)]


def _read_dates(node: Node, source: Reader) -> pd.DatetimeIndex:
    return columns.read_dates(node[1], source).rename(source.value(node[2]))


def _write_deltas(value: pd.TimedeltaIndex, out: Writer) -> Node:
    return ["pandas.TimedeltaIndex", columns.write_deltas(value, out), out.node(value.name)]


def _read_deltas(node: Node, source: Reader) -> pd.TimedeltaIndex:
    return columns.read_deltas(node[1], source).rename(source.value(node[2]))


def _write_range(value: pd.RangeIndex, out: Writer) -> Node:
    return ["pandas.RangeIndex", value.start, value.stop, value.step, out.node(value.name)]


def _read_range(node: Node, source: Reader) -> pd.RangeIndex:
    _, start, stop, step, name = node
    return pd.RangeIndex(start, stop, step, name=source.value(name))


def _write_multi(value: pd.MultiIndex, out: Writer) -> Node:
    levels = [out.node(level) for level in value.levels]
    codes = [out.node(np.asarray(each)) for each in value.codes]
    return ["pandas.MultiIndex", levels, codes, out.node(list(value.names)), value.sortorder]


def _read_multi(node: Node, source: Reader) -> pd.MultiIndex:
    _, levels, codes, names, order = node
    return pd.MultiIndex(
        [source.value(level) for level in levels],
        [source.value(each) for each in codes],
        names=source.value(names),
        sortorder=order,
    )


_PLAIN_INDEXES = (pd.Index, pd.CategoricalIndex, pd.PeriodIndex, pd.IntervalIndex)

WRITERS: dict[type, Callable[[Any, Writer], Node]] = {
    **columns.WRITERS,
    pd.DataFrame: _write_frame,
    pd.Series: _write_series,
    **dict.fromkeys(_PLAIN_INDEXES, _write_index),
    pd.DatetimeIndex: _write_dates,
    pd.TimedeltaIndex: _write_deltas,
    pd.RangeIndex: _write_range,
    pd.MultiIndex: _write_multi,
}

READERS: dict[str, Callable[[Node, Reader], Any]] = {
    **columns.READERS,
    "pandas.DataFrame": _read_frame,
    "pandas.Series": _read_series,
    "pandas.Index": _read_index,
    "pandas.DatetimeIndex": _read_dates,
    "pandas.TimedeltaIndex": _read_deltas,
    "pandas.RangeIndex": _read_range,
    "pandas.MultiIndex": _read_multi,
}
