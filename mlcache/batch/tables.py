"""Answers that are rows of a pandas frame or series.

An answer whose columns numpy holds, or that are texts or objects, is kept as its bytes and
elements. Any other (categories, times with zones, indexes of several levels) is kept as a frame of
one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from mlcache.batch.forms import DifferentForms
from mlcache.batch.frames import columns_of, is_fixed, is_numbered, rows_of
from mlcache.batch.indexes import OWN, UNSURE, index_mode, index_of_all, left_open, possible


class Shape(msgspec.Struct, frozen=True, array_like=True):
    """What the rows of one frame or series have in common.

    Args:
        series: whether it is a series.
        index: what it is; see ``indexes``.
        whole: whether each row is kept as a frame of its own.
        dtypes: of the columns, and of the index where it is the function's own.
        labels: of the columns.
        names: of the columns' labels, and of the index.
        numbered: whether the labels are a range from 0 on.
        labelled: the dtype of the labels.
        perhaps: what else an index is that may be the function's own.
    """

    series: bool
    index: str
    whole: bool
    dtypes: list[str] = []
    labels: list[str | int | None] = []
    names: list[str | int | None] = []
    numbered: bool = False
    labelled: str = ""
    perhaps: list[str] = []


def from_table(answers: Any, given: Any) -> list[tuple[bytes, Any]]:
    """By row, the form and the part to keep.

    Args:
        answers: a frame or a series.
        given: the index of the items that it is the answer to, if they have one.
    """
    answers = _in_order(answers, given)
    index, perhaps = index_mode(answers.index, given)
    shape, columns = _shape_of(answers, index)
    shape = msgspec.structs.replace(shape, perhaps=perhaps)
    form = msgspec.msgpack.encode(shape)
    if shape.whole:
        return [(form, answers.iloc[place : place + 1]) for place in range(len(answers))]
    return [(form, row) for row in rows_of(columns, len(answers))]


def _in_order(answers: Any, given: Any) -> Any:
    """The answers in the order of their items, where their index says that it is another."""
    import pandas as pd

    index = answers.index
    if not isinstance(given, pd.Index) or len(index) != len(given) or index.names != given.names:
        return answers
    if is_numbered(index):
        return answers  # numbered afresh, though the index of shuffled items may have the same labels
    if index.equals(given) or not (index.is_unique and given.is_unique):
        return answers
    places = index.get_indexer_for(given)
    permuted = np.array_equal(np.sort(places), np.arange(len(index)))
    return answers.iloc[places] if permuted else answers


def settled(kept: Sequence[tuple[bytes, Any]]) -> tuple[bytes, list[Any]]:
    """One form for answers of several, which differ only in what an index may be, and the parts in that form.

    Raises:
        DifferentForms: they differ in more.
    """
    shapes = {form: msgspec.msgpack.decode(form, type=Shape) for form, _ in kept}
    index, *perhaps = left_open(
        set.intersection(*(possible(each.index, each.perhaps) for each in shapes.values()))
    )
    alike: set[bytes] = set()
    for shape in shapes.values():
        dtypes = shape.dtypes[:-1] if _is_labelled(shape) and index not in (OWN, UNSURE) else shape.dtypes
        same = msgspec.structs.replace(shape, index=index, perhaps=perhaps, dtypes=dtypes)
        alike.add(msgspec.msgpack.encode(same))
    if len(alike) > 1:
        raise DifferentForms("columns or types of rows differ")
    if index in (OWN, UNSURE):
        return alike.pop(), [part for _, part in kept]
    return alike.pop(), [_without_label(shapes[form], part) for form, part in kept]


def _is_labelled(shape: Shape) -> bool:
    """Whether the last column is the index."""
    return shape.index in (OWN, UNSURE) and not shape.whole


def _without_label(shape: Shape, part: Any) -> Any:
    import pandas as pd

    if not _is_labelled(shape):
        return part
    data, *others = part
    dtype: Any = pd.api.types.pandas_dtype(shape.dtypes[-1])
    return (data[: -dtype.itemsize], *others) if is_fixed(dtype) else (data, *others[:-1])


def _shape_of(answers: Any, index: str) -> tuple[Shape, list[Any]]:
    """The shape, and the columns that hold the rows."""
    import pandas as pd

    series = isinstance(answers, pd.Series)
    columns = [answers] if series else columns_of(answers)
    labels: list[Any] = [answers.name] if series else answers.columns.tolist()
    names: list[Any] = [None if series else answers.columns.name, answers.index.name]
    if index in (OWN, UNSURE):
        columns = [*columns, answers.index.to_series()]
    numbered = not series and isinstance(answers.columns, pd.RangeIndex)
    shape = Shape(
        series, index, whole=False, dtypes=[str(c.dtype) for c in columns], labels=labels, names=names,
        numbered=numbered, labelled="" if series else str(answers.columns.dtype),
    )  # fmt: skip
    if _is_simple(shape, columns, answers):
        return shape, columns
    return Shape(series, index, whole=True), []


def _is_simple(shape: Shape, columns: Sequence[Any], answers: Any) -> bool:
    """Whether a frame with this shape can be told from its rows' bytes and elements."""
    import pandas as pd

    plain = all(type(label) in (str, int, type(None)) for label in [*shape.labels, *shape.names])
    levels = answers.index.nlevels + (1 if shape.series else answers.columns.nlevels)
    if not plain or levels > 2 or answers.attrs:  # noqa: PLR2004 - one for each axis
        return False
    labels = [] if shape.series else [answers.columns]
    if not all(_is_known(each.dtype) for each in [*columns, *labels]):
        return False
    return (
        shape.series
        or _labels(shape).identical(answers.columns)
        or (shape.numbered and answers.columns.equals(pd.RangeIndex(len(shape.labels))))
    )


def _is_known(dtype: Any) -> bool:
    import pandas as pd

    if isinstance(dtype, np.dtype):
        return is_fixed(dtype) or dtype.kind == "O"
    return isinstance(dtype, pd.StringDtype) and pd.api.types.pandas_dtype(str(dtype)) == dtype


def _labels(shape: Shape) -> Any:
    import pandas as pd

    if shape.numbered:
        return pd.RangeIndex(len(shape.labels), name=shape.names[0])
    return pd.Index(shape.labels, dtype=shape.labelled, name=shape.names[0])


class Table:
    """The form of answers that are rows of a frame or series.

    Args:
        name: the encoded shape.
    """

    def __init__(self, name: bytes) -> None:
        self._shape = msgspec.msgpack.decode(name, type=Shape)

    def join(self, parts: Sequence[Any], items: Any, /) -> Any:
        """A frame or series of these rows; see ``forms.Form``."""
        table = _concatenated(parts) if self._shape.whole else self._built(parts)
        table.index = index_of_all(self._shape.index, self._shape.perhaps, table.index, items)
        return table

    def own(self, part: Any) -> Any:
        """One row: a frame of it, or the element of a series."""
        table = part if self._shape.whole else self._built([part])
        return table.iloc[0] if self._shape.series else table

    def _built(self, parts: Sequence[Any]) -> Any:
        import pandas as pd

        shape = self._shape
        arrays = _arrays(parts, [pd.api.types.pandas_dtype(dtype) for dtype in shape.dtypes])
        index: Any = pd.RangeIndex(len(parts))
        if shape.index in (OWN, UNSURE):
            index = pd.Index(arrays.pop())
        index.name = shape.names[1]
        if shape.series:
            return pd.Series(arrays[0], index=index, name=shape.labels[0], copy=False)
        table = pd.DataFrame(dict(enumerate(arrays)), index=index, copy=False)
        table.columns = _labels(shape)
        return table


def _arrays(parts: Sequence[Any], dtypes: Sequence[Any]) -> list[Any]:
    """By column, its elements of all rows."""
    import pandas as pd

    data = b"".join([part[0] for part in parts])
    matrix = np.frombuffer(data, np.uint8).reshape(len(parts), -1)
    others = iter(list(zip(*[part[1:] for part in parts], strict=True)))
    arrays: list[Any] = []
    begin = 0
    for dtype in dtypes:
        if is_fixed(dtype):
            end = begin + dtype.itemsize
            arrays.append(matrix[:, begin:end].copy().view(dtype).reshape(-1))
            begin = end
        elif isinstance(dtype, np.dtype):
            column = np.empty(len(parts), dtype)
            column[:] = next(others)
            arrays.append(column)
        else:
            arrays.append(pd.array(list(next(others)), dtype=dtype))
    return arrays


def _concatenated(parts: Sequence[Any]) -> Any:
    import pandas as pd

    first = parts[0]
    for part in parts:
        if not part.iloc[:0].equals(first.iloc[:0]) or _dtypes(part) != _dtypes(first):
            raise DifferentForms("columns or types of rows differ")
    return pd.concat(list(parts))


def _dtypes(table: Any) -> list[Any]:
    return [table.dtype] if table.ndim == 1 else list(table.dtypes)
