"""Sealing of pandas' frames, series and indexes, each in the cheapest way that is safe.

* pandas 3 copies on write: frames of Arrow's texts alone, which cannot be changed in place, are
  shared with every caller until one writes to them.
* All other columns can be written to past that, by ``.array``, so each caller gets a deep copy.
* Cells that hold Python objects, and pandas before 3, whose deep copies still share the index,
  go through pickle.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from typing import Any

from mlcache.unchanging import is_unchanging


def seal_frame(value: Any, *, owned: bool = False) -> tuple[Any, Callable[[Any], Any]]:
    """A frame, series or index as it is kept, and what makes a caller's own of it.

    Args:
        value: the frame, series or index.
        owned: whether nobody else holds it.
    """
    import pandas as pd

    if _needs_pickle(value):
        return value if owned else _through_pickle(value), _through_pickle
    if isinstance(value, pd.Index):
        return value if owned else value.copy(deep=True), pd.Index.view
    if all(map(_is_copied_on_write, _dtypes(value))):
        # Also what was decoded: its memory is read-only, and pandas copies only what it knows to be shared.
        return value.copy(deep=True), _shallow_copy
    return value if owned else value.copy(deep=True), _deep_copy


def copy_of_frame(frame: Any) -> Any:
    """A copy that shares nothing that can be changed with ``frame``."""
    return _through_pickle(frame) if _needs_pickle(frame) else frame.copy(deep=True)


def _needs_pickle(frame: Any) -> bool:
    import pandas as pd

    return int(pd.__version__.partition(".")[0]) < 3 or any(map(_holds_objects, _columns(frame)))  # noqa: PLR2004


def _through_pickle(frame: Any) -> Any:
    """A deep copy in pandas still shares the Python objects in its cells; this one does not."""
    return pickle.loads(pickle.dumps(frame, protocol=5))  # noqa: S301 - pickled on the same line


def _shallow_copy(frame: Any) -> Any:
    return frame.copy(deep=False)


def _deep_copy(frame: Any) -> Any:
    return frame.copy(deep=True)


def _dtypes(frame: Any) -> list[Any]:
    return list(frame.dtypes) if hasattr(frame, "columns") else [frame.dtype]


def _is_copied_on_write(dtype: Any) -> bool:
    return getattr(dtype, "storage", None) == "pyarrow"


def _columns(frame: Any) -> Iterable[Any]:
    """The columns and indexes of a frame, series or index; the levels of an index that has several."""
    levels = getattr(frame, "levels", None)
    if levels is not None:
        return list(levels)
    columns = [column for _, column in frame.items()] if hasattr(frame, "columns") else [frame]
    return [*columns, *(part for index in getattr(frame, "axes", ()) for part in _columns(index))]


def _holds_objects(column: Any) -> bool:
    """Whether cells hold Python objects that could be changed."""
    if column.dtype.kind != "O":
        return False
    categories = getattr(column.dtype, "categories", None)
    cells = column if categories is None else categories
    return not all(map(is_unchanging, {type(item) for item in cells}))
