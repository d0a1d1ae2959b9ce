"""SciPy's sparse matrices and arrays, as the arrays that they are made of.

SciPy's own checks let pass what makes its compiled code read, and write, anywhere in memory. As
frames may be of somebody else's making, everything that these parts must be is checked here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from scipy import sparse

from mlcache.codec.nodes import NeedsPickleError, Node, Reader, Writer, expect, expect_shape

_Read: TypeAlias = Callable[[Node, Reader], Any]

_INDEXES = (np.dtype(np.int32), np.dtype(np.int64))


def _write_compressed(value: Any, out: Writer) -> Node:
    # There may be room for more than there is.
    used = value.indptr[-1]
    return _write(value, [value.data[:used], value.indices[:used], value.indptr], out)


def _write_coordinates(value: Any, out: Writer) -> Node:
    return _write(value, [value.data, *value.coords], out)


def _write_diagonals(value: Any, out: Writer) -> Node:
    return _write(value, [value.data, value.offsets], out)


def _write(value: Any, parts: list[Any], out: Writer) -> Node:
    if value.dtype.hasobject or any(part.dtype not in _INDEXES for part in parts[1:]):
        raise NeedsPickleError("a sparse matrix of objects, or of odd indices, has no form of its own")
    shape = [int(length) for length in value.shape]
    return [f"scipy.{type(value).__name__}", shape, [out.node(part) for part in parts]]


def _read_compressed(kind: Callable[..., Any]) -> _Read:
    def read(node: Node, source: Reader) -> Any:
        shape, (data, indices, indptr) = _parts(node, source)
        rows, columns = shape if len(shape) > 1 else (1, *shape)
        if kind.__name__.startswith("bsr"):
            rows, columns = _count_blocks(data, rows, columns)
        if kind.__name__.startswith("csc"):
            rows, columns = columns, rows
        _check_pointers(indptr, rows, len(indices))
        _check_indices(indices, columns)
        matrix = kind((data, indices, indptr), shape=shape, copy=False)
        # What is small enough has been given narrower indices.
        matrix.indices, matrix.indptr = indices, indptr
        return matrix

    return read


def _read_coordinates(kind: Callable[..., Any]) -> _Read:
    def read(node: Node, source: Reader) -> Any:
        shape, (data, *coords) = _parts(node, source)
        for each, length in zip(coords, shape, strict=True):
            _check_indices(each, length)
        matrix = kind((data, tuple(coords)), shape=shape, copy=False)
        matrix.coords = tuple(coords)
        return matrix

    return read


def _read_diagonals(kind: Callable[..., Any]) -> _Read:
    def read(node: Node, source: Reader) -> Any:
        shape, (data, offsets) = _parts(node, source)
        _check_indices(offsets, shape[1], -shape[0])
        matrix = kind((data, offsets), shape=shape, copy=False)
        matrix.offsets = offsets
        return matrix

    return read


def _parts(node: Node, source: Reader) -> tuple[tuple[int, ...], list[Any]]:
    _, shape, parts = node
    arrays = [expect(source.value(part), np.ndarray) for part in parts]
    if any(part.dtype not in _INDEXES or part.ndim != 1 for part in arrays[1:]):
        raise ValueError("indices of a sparse matrix that are none")
    return expect_shape(shape), arrays


def _count_blocks(data: Any, rows: int, columns: int) -> tuple[int, int]:
    _, height, width = data.shape
    if rows % height or columns % width:
        raise ValueError(f"{rows} rows and {columns} columns of blocks of {height} and {width}")
    return rows // height, columns // width


def _check_pointers(pointers: Any, rows: int, count: int) -> None:
    # Compared and not subtracted, as differences can overflow.
    rising = (pointers[1:] >= pointers[:-1]).all()
    if len(pointers) != rows + 1 or pointers[0] != 0 or pointers[-1] != count or not rising:
        raise ValueError(f"pointers that do not part {count} indices into {rows} rows")


def _check_indices(indices: Any, end: int, start: int = 0) -> None:
    if len(indices) and not start <= indices.min() <= indices.max() < end:
        raise ValueError(f"indices that are not all from {start} to below {end}")


_FORMATS = {
    **dict.fromkeys(("csr", "csc", "bsr"), (_write_compressed, _read_compressed)),
    "coo": (_write_coordinates, _read_coordinates),
    "dia": (_write_diagonals, _read_diagonals),
}

_KINDS = {
    getattr(sparse, f"{form}_{kind}"): functions
    for form, functions in _FORMATS.items()
    for kind in ("array", "matrix")
}

WRITERS: dict[type, Callable[[Any, Writer], Node]] = {kind: write for kind, (write, _) in _KINDS.items()}

READERS: dict[str, _Read] = {f"scipy.{kind.__name__}": read(kind) for kind, (_, read) in _KINDS.items()}
