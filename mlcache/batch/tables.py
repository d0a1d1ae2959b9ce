"""Answers that are rows of a pandas frame or series.

An answer whose columns numpy holds, or that are texts or objects, is kept as its bytes and
elements. Any other (categories, times with zones, indexes of several levels) is kept as a frame of
one row.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import numpy as np

from mlcache.batch.forms import DifferentForms
from mlcache.batch.frames import columns_of, fresh_index, is_fixed, is_numbered, rows_of

FOLLOWS, FRESH, EITHER, OWN = "follows", "fresh", "either", "own"
"""The index is that of the items, or numbers the rows, or one of the two, or is the function's own."""


class Shape(msgspec.Struct, frozen=True, array_like=True):
    """What the rows of one frame or series have in common.

    Args:
        series: whether it is a series.
        index: one of the four above.
        whole: whether each row is kept as a frame of its own.
        dtypes: of the columns, and of the index where it is the function's own.
        labels: of the columns.
        names: of the columns' labels, and of the index.
        numbered: whether the labels are a range from 0 on.
        labelled: the dtype of the labels.
    """

    series: bool
    index: str
    whole: bool
    dtypes: list[str] = []
    labels: list[str | int | None] = []
    names: list[str | int | None] = []
    numbered: bool = False
    labelled: str = ""


def from_table(answers: Any, given: Any) -> list[tuple[bytes, Any]]:
    """By row, the form and the part to keep.

    Args:
        answers: a frame or a series.
        given: the index of the items that it is the answer to, if they have one.
    """
    answers = _in_order(answers, given)
    index = _index_mode(answers, given)
    shape, columns = _shape_of(answers, index)
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


def _index_mode(answers: Any, given: Any) -> str:
    index = answers.index
    if given is None or not index.equals(given):
        return FRESH if fresh_index(len(answers), index) else OWN
    if index.is_(given) or not is_numbered(index):
        return FOLLOWS
    return EITHER if is_numbered(given) and index.name == given.name else FRESH


def settled(forms: Collection[bytes]) -> bytes:
    """One form for answers of several, which differ only in whether an index that may be either follows.

    Raises:
        DifferentForms: they differ in more.
    """
    shapes = [msgspec.msgpack.decode(form, type=Shape) for form in forms]
    sure = {shape.index for shape in shapes} - {EITHER}
    alike = {
        msgspec.msgpack.encode(msgspec.structs.replace(shape, index=min(sure, default=EITHER)))
        for shape in shapes
    }
    if len(sure) > 1 or len(alike) > 1:
        raise DifferentForms("columns, types or indexes of rows differ")
    return alike.pop()


def _shape_of(answers: Any, index: str) -> tuple[Shape, list[Any]]:
    """The shape, and the columns that hold the rows."""
    import pandas as pd

    series = isinstance(answers, pd.Series)
    columns = [answers] if series else columns_of(answers)
    labels: list[Any] = [answers.name] if series else answers.columns.tolist()
    names: list[Any] = [None if series else answers.columns.name, answers.index.name]
    if index == OWN:
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
        if self._shape.index == FOLLOWS:
            table.index = _index_of(items, len(parts))
        elif self._shape.index == EITHER:
            table.index = _numbers_of(items, table.index)
        elif self._shape.index == FRESH:
            import pandas as pd

            table.index = pd.RangeIndex(len(parts), name=table.index.name)
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
        if shape.index == OWN:
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


def _index_of(items: Any, count: int) -> Any:
    index = getattr(items, "index", None)
    if index is None or len(index) != count:
        raise DifferentForms("they follow the index of their items, which have none")
    return index


def _numbers_of(items: Any, index: Any) -> Any:
    """The index of items that are numbered, where to follow it and to number afresh are the same."""
    given = _index_of(items, len(index))
    if not is_numbered(given) or given.name != index.name:
        raise DifferentForms("they may follow the index of their items or not, which only the function knows")
    return given
