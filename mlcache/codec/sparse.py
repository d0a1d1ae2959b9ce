"""SciPy's sparse matrices and arrays, as the arrays that they are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scipy import sparse

from mlcache.codec.nodes import NeedsPickleError, Node, Reader, Writer

_COMPRESSED = ("csr_array", "csr_matrix", "csc_array", "csc_matrix", "bsr_array", "bsr_matrix")
_COORDINATES = ("coo_array", "coo_matrix")
_DIAGONALS = ("dia_array", "dia_matrix")


def _write(value: Any, out: Writer) -> Node:
    name = type(value).__name__
    parts: list[Any]
    if name in _COMPRESSED:
        parts = [value.data, value.indices, value.indptr]
    elif name in _COORDINATES:
        parts = [value.data, *value.coords]
    else:
        parts = [value.data, value.offsets]
    if any(part.dtype.hasobject for part in parts):
        raise NeedsPickleError("a sparse matrix of Python objects has no form of its own")
    return [f"scipy.{name}", [int(length) for length in value.shape], [out.node(part) for part in parts]]


def _read_compressed(kind: Callable[..., Any]) -> Callable[[Node, Reader], Any]:
    def read(node: Node, source: Reader) -> Any:
        _, shape, parts = node
        data, indices, indptr = map(source.value, parts)
        matrix = kind((data, indices, indptr), shape=tuple(shape), copy=False)
        # Indices that point outside would have compiled code read, and write, anywhere in memory.
        matrix.check_format(full_check=True)
        # What is small enough has been given narrower indices.
        matrix.indices, matrix.indptr = indices, indptr
        return matrix

    return read


def _read_coordinates(kind: Callable[..., Any]) -> Callable[[Node, Reader], Any]:
    def read(node: Node, source: Reader) -> Any:
        _, shape, parts = node
        data, *coords = map(source.value, parts)
        matrix = kind((data, tuple(coords)), shape=tuple(shape), copy=False)
        matrix.coords = tuple(coords)
        return matrix

    return read


def _read_diagonals(kind: Callable[..., Any]) -> Callable[[Node, Reader], Any]:
    def read(node: Node, source: Reader) -> Any:
        _, shape, parts = node
        data, offsets = map(source.value, parts)
        matrix = kind((data, offsets), shape=tuple(shape), copy=False)
        matrix.offsets = offsets
        return matrix

    return read


_READ = {
    **dict.fromkeys(_COMPRESSED, _read_compressed),
    **dict.fromkeys(_COORDINATES, _read_coordinates),
    **dict.fromkeys(_DIAGONALS, _read_diagonals),
}

WRITERS: dict[type, Callable[[Any, Writer], Node]] = {getattr(sparse, name): _write for name in _READ}

READERS: dict[str, Callable[[Node, Reader], Any]] = {
    f"scipy.{name}": read(getattr(sparse, name)) for name, read in _READ.items()
}
