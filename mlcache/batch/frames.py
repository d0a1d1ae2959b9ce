"""Rows of pandas' frames and series: as items, and as answers.

A row is taken apart into the bytes of all columns of fixed size, which are cut out of one matrix, and
the elements of the others. Going through ``iloc`` row by row would take fifty times as long.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

_FIXED = frozenset("biufcmM")


def items_maker(kind: type) -> Any:
    """What takes the items of a type of pandas' apart; None if none does."""
    import pandas as pd

    return {pd.Series: InSeries, pd.DataFrame: InFrame}.get(kind)


def is_fixed(dtype: Any) -> bool:
    """Whether each element of a column is so many bytes, which say all."""
    return isinstance(dtype, np.dtype) and dtype.kind in _FIXED


def rows_of(columns: Sequence[Any], count: int) -> list[tuple[Any, ...]]:
    """By row, the bytes of all columns of fixed size, and then the elements of the others."""
    if not count:  # numpy cannot tell how wide rows are where there are none
        return []
    fixed = [column.to_numpy() for column in columns if is_fixed(column.dtype)]
    others = [column.tolist() for column in columns if not is_fixed(column.dtype)]
    parts = [np.ascontiguousarray(each).view(np.uint8).reshape(count, -1) for each in fixed]
    matrix = np.concatenate(parts, axis=1) if parts else np.empty((count, 0), np.uint8)
    data, width = matrix.tobytes(), matrix.shape[1]
    cuts = [data[place * width : (place + 1) * width] for place in range(count)]
    return list(zip(cuts, *others, strict=True))


def columns_of(frame: Any) -> list[Any]:
    """The columns of a frame, each a series."""
    return [frame.iloc[:, place] for place in range(frame.shape[1])]


def fresh_index(count: int, index: Any) -> bool:
    """Whether an index is what pandas numbers ``count`` rows with by itself."""
    import pandas as pd

    return bool(index.nlevels == 1 and pd.RangeIndex(count).equals(index))


def is_numbered(index: Any) -> bool:
    """Whether pandas numbered the rows by itself: a range from 0 on, and no labels that happen to be one."""
    import pandas as pd

    return isinstance(index, pd.RangeIndex) and fresh_index(len(index), index)


class InSeries:
    """The elements of a series. Its index is no part of them."""

    def __init__(self, series: Any, _axis: int | None = None) -> None:
        self._series = series
        self.index = series.index
        self.kind: tuple[Any, ...] = ("pandas.Series", series.name, series.dtype)
        self.stamp: Hashable = None

    def __len__(self) -> int:
        return len(self._series)

    def parts(self) -> Sequence[Any]:
        return rows_of([self._series], len(self._series))

    def single(self, place: int) -> Any:
        return self._series.iloc[place]

    def take(self, places: Sequence[int]) -> Any:
        return _some_rows(self._series, places)


class InFrame:
    """The rows of a frame. Its index is no part of them."""

    def __init__(self, frame: Any, _axis: int | None = None) -> None:
        self._frame = frame
        self.index = frame.index
        self.kind: tuple[Any, ...] = ("pandas.DataFrame", frame.columns, list(frame.dtypes))
        self.stamp: Hashable = None

    def __len__(self) -> int:
        return len(self._frame)

    def parts(self) -> Sequence[Any]:
        return rows_of(columns_of(self._frame), len(self._frame))

    def single(self, place: int) -> Any:
        return self._frame.iloc[[place]]

    def take(self, places: Sequence[int]) -> Any:
        return _some_rows(self._frame, places)


def _some_rows(frame: Any, places: Sequence[int]) -> Any:
    """These rows: of a frame that pandas numbered numbered likewise, of others with their labels."""
    import pandas as pd

    if len(places) == len(frame):
        return frame.copy(deep=False)
    taken = frame.iloc[list(places)]
    if is_numbered(frame.index):
        taken.index = pd.RangeIndex(len(taken), name=taken.index.name)
    return taken
