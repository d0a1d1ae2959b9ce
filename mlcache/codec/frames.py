"""The frames, series and indexes of pandas, block by block, so that reading copies nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray

from mlcache.codec import columns
from mlcache.codec.columns import read_labels, read_values, write_labels, write_values
from mlcache.codec.nodes import NeedsPickleError, Node, Reader, Writer, expect

_Block: TypeAlias = tuple[Any, list[int]]
"""The values of several columns, and where these stand."""


def _write_frame(value: Any, out: Writer) -> Node:
    # Column by column, the public way, a frame would come back in as many pieces as it has columns.
    blocks = [_write_block(block, out) for block in value._mgr.blocks]  # noqa: SLF001
    return [
        "pandas.DataFrame",
        blocks,
        out.node(value.index),
        out.node(value.columns),
        _attributes(value, out),
    ]


def _write_block(block: Any, out: Writer) -> Node:
    values = block.values
    if isinstance(block.dtype, np.dtype):
        values = np.asarray(values)
    elif values.ndim > 1:
        values = values[0]
    return [out.node(values), block.mgr_locs.as_array.tolist()]


def _read_frame(node: Node, source: Reader) -> pd.DataFrame:
    index, labels, attributes = map(source.value, node[2:])
    blocks = [_read_block(block, len(index), source) for block in node[1]]
    order = sorted(place for _, places in blocks for place in places)
    if len(order) != len(labels) or order != list(range(len(labels))):
        raise ValueError(f"the blocks of a frame do not make up its {len(labels)} columns")
    frame = _assemble(blocks, expect(index, pd.Index), expect(labels, pd.Index))
    frame.attrs.update(expect(attributes, dict))
    return frame


def _read_block(node: Node, rows: int, source: Reader) -> _Block:
    data, places = node
    values = source.value(data)
    numpy = isinstance(values, np.ndarray)
    if not numpy:
        expect(values, ExtensionArray)
    if values.shape != ((len(places), rows) if numpy else (rows,)) or (len(places) != 1 and not numpy):
        raise ValueError(f"a block of shape {values.shape} for {len(places)} columns of {rows} rows")
    return values, places


def _assemble(blocks: list[_Block], index: pd.Index, labels: pd.Index) -> pd.DataFrame:
    internals: Any = getattr(pd.api, "internals", None)
    if internals is None:  # before pandas 3
        return _assemble_columns(blocks, index, labels)
    located = [(values, np.array(places, np.intp)) for values, places in blocks]
    frame: pd.DataFrame = internals.create_dataframe_from_blocks(located, index, labels)
    return frame


def _assemble_columns(blocks: list[_Block], index: pd.Index, labels: pd.Index) -> pd.DataFrame:
    series: dict[int, pd.Series] = {}
    for values, places in blocks:
        for place, column in zip(places, values if values.ndim > 1 else [values], strict=True):
            # Of bare arrays of objects a frame would make texts where it can.
            series[place] = pd.Series(column, index=index, dtype=column.dtype, copy=False)
    frame = pd.DataFrame({place: series[place] for place in range(len(labels))}, index=index, copy=False)
    frame.columns = labels
    return frame


def _write_series(value: Any, out: Writer) -> Node:
    data = write_values(value, out)
    return ["pandas.Series", data, out.node(value.index), out.node(value.name), _attributes(value, out)]


def _read_series(node: Node, source: Reader) -> pd.Series:
    values = read_values(node[1], source)
    index, name, attributes = map(source.value, node[2:])
    if len(values) != len(index):
        raise ValueError(f"{len(values)} values for an index of {len(index)}")
    series: pd.Series = pd.Series(values, index=index, name=name, dtype=values.dtype, copy=False)
    series.attrs.update(expect(attributes, dict))
    return series


def _attributes(value: Any, out: Writer) -> Node:
    if not value.flags.allows_duplicate_labels:
        raise NeedsPickleError("it refuses duplicate labels, and that has no form of its own")
    return out.node(value.attrs)


def _write_index(value: pd.Index, out: Writer) -> Node:
    return ["pandas.Index", write_values(value, out), out.node(value.name)]


def _read_index(node: Node, source: Reader) -> pd.Index:
    _, data, name = node
    values = read_values(data, source)
    index: pd.Index = pd.Index(values, dtype=values.dtype, name=source.value(name), copy=False)
    return index


def _write_dates(value: pd.DatetimeIndex, out: Writer) -> Node:
    return ["pandas.DatetimeIndex", columns.write_dates(value, out), out.node(value.name)]


def _read_dates(node: Node, source: Reader) -> Any:
    return columns.read_dates(node[1], source).rename(source.value(node[2]))


def _write_deltas(value: pd.TimedeltaIndex, out: Writer) -> Node:
    return ["pandas.TimedeltaIndex", columns.write_deltas(value, out), out.node(value.name)]


def _read_deltas(node: Node, source: Reader) -> Any:
    return columns.read_deltas(node[1], source).rename(source.value(node[2]))


def _write_range(value: pd.RangeIndex, out: Writer) -> Node:
    return ["pandas.RangeIndex", value.start, value.stop, value.step, out.node(value.name)]


def _read_range(node: Node, source: Reader) -> pd.RangeIndex:
    _, start, stop, step, name = node
    return pd.RangeIndex(start, stop, step, name=source.value(name))


def _write_multi(value: Any, out: Writer) -> Node:
    levels = [write_labels(level, out) for level in value.levels]
    codes = [out.node(np.asarray(each)) for each in value.codes]
    return ["pandas.MultiIndex", levels, codes, out.node(list(value.names)), value.sortorder]


def _read_multi(node: Node, source: Reader) -> pd.MultiIndex:
    _, parts, numbers, names, order = node
    levels: Any = [read_labels(level, source) for level in parts]
    codes: Any = [expect(source.value(each), np.ndarray) for each in numbers]
    return pd.MultiIndex(levels, codes, names=expect(source.value(names), list), sortorder=order)


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
