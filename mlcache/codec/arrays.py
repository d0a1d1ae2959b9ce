"""NumPy's arrays and scalars, as they lie in memory; they come back as views that cannot be written to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from mlcache.codec.dtypes import KINDS, read_dtype, write_dtype
from mlcache.codec.nodes import NeedsPickleError, Node, Reader, Writer, expect, expect_shape

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


def _write_array(value: Array, out: Writer) -> Node:
    if value.dtype.hasobject:
        return _write_objects(value, out)
    dtype = write_dtype(value.dtype)
    fortran = value.flags.fnc
    flat = np.ascontiguousarray(value.T if fortran else value).reshape(-1)
    # As bytes, because dates and texts have no buffer of their own.
    return ["array", dtype, value.shape, fortran, out.buffer(flat.view(np.uint8), flat.nbytes), flat.nbytes]


def _read_array(node: Node, source: Reader) -> Array:
    _, dtype, shape, fortran, offset, size = node
    # Unlike np.ndarray(), this lets nobody make it writeable again.
    flat: Array = np.frombuffer(source.buffer(offset, size), read_dtype(dtype))
    if type(shape) is list and len(shape) == 1 and type(shape[0]) is int and shape[0] == flat.size:
        return flat
    return flat.reshape(expect_shape(shape), order="F" if fortran else "C")


def _write_objects(value: Array, out: Writer) -> Node:
    if value.dtype.char != "O" or value.dtype.metadata is not None:
        raise NeedsPickleError(f"the elements of the dtype {value.dtype!r} are more than bytes or objects")
    fortran = value.flags.fnc
    items = value.ravel(order="F" if fortran else "C").tolist()
    return ["objects", value.shape, fortran, out.node(items)]


def _read_objects(node: Node, source: Reader) -> Array:
    _, shape, fortran, items = node
    values = expect(source.value(items), list)
    flat: Array = np.fromiter(values, dtype=object, count=len(values))
    flat.flags.writeable = False
    return flat.reshape(expect_shape(shape), order="F" if fortran else "C")


def _write_scalar(value: np.generic, _: Writer) -> Node:
    return ["scalar", write_dtype(value.dtype), value.tobytes()]


def _read_scalar(node: Node, _: Reader) -> Any:
    _, dtype, data = node
    kind = read_dtype(dtype)
    if len(data) != kind.itemsize:
        raise ValueError(f"{len(data)} bytes for a scalar of {kind.itemsize}")
    return np.ndarray((1,), kind, data)[0]


# The scalars of texts and bytes would lose their trailing zeros by way of an array, or of str().
_SCALARS = {
    np.dtype(char).type for char in np.typecodes["All"] if np.dtype(char).kind in KINDS - frozenset("SU")
}

WRITERS: dict[type, Callable[[Any, Writer], Node]] = {
    np.ndarray: _write_array,
    np.str_: lambda value, out: ["np.str_", out.node(str.__str__(value))],
    np.bytes_: lambda value, out: ["np.bytes_", out.node(bytes(value))],
    **dict.fromkeys(_SCALARS, _write_scalar),
}

READERS: dict[str, Callable[[Node, Reader], Any]] = {
    "array": _read_array,
    "objects": _read_objects,
    "scalar": _read_scalar,
    "np.str_": lambda node, source: np.str_(expect(source.value(node[1]), str)),
    "np.bytes_": lambda node, source: np.bytes_(expect(source.value(node[1]), bytes)),
}
