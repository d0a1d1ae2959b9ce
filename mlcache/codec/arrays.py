"""NumPy's arrays and scalars, as they lie in memory; they come back as views that cannot be written to."""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from mlcache.codec.nodes import NeedsPickleError, Node, Reader, Writer

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
DType: TypeAlias = np.dtype[Any]

_KINDS = frozenset("biufcmMSUV")
"""The kinds of dtype whose elements are bytes and no pointers."""

_MAX_DTYPE_DEPTH = 20


def _write_dtype(dtype: DType) -> Node:
    node = _describe(dtype)
    # Extensions (bfloat16) call themselves void, and titles are not described: what would come
    # back as something else has no node.
    if _read_dtype(node) != dtype or _read_dtype(node).char != dtype.char:
        msg = f"the dtype {dtype!r} has no form of its own"
        raise NeedsPickleError(msg)
    return node


def _describe(dtype: DType) -> Node:
    if dtype.metadata is not None or dtype.hasobject or dtype.kind not in _KINDS:
        msg = f"the dtype {dtype!r} holds objects or metadata"
        raise NeedsPickleError(msg)
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return ["repeat", _describe(base), shape]
    if dtype.fields is not None and dtype.names is not None:
        formats = [_describe(dtype.fields[name][0]) for name in dtype.names]
        offsets = [dtype.fields[name][1] for name in dtype.names]
        return ["fields", dtype.names, formats, offsets, dtype.itemsize, dtype.isalignedstruct]
    if dtype.char in "gG":
        # One name for formats that differ from one processor to the next.
        return ["long", dtype.str, platform.machine()]
    # Where long has 64 bits, "<i8" means long, and long long is another type of the same bits.
    return dtype.byteorder + dtype.char if dtype.char in "qQ" else dtype.str


def _read_dtype(node: Node, depth: int = 0) -> DType:
    dtype = _build(node, depth)
    # An array of objects over bytes that somebody else wrote would be an array of their pointers.
    if dtype.hasobject or dtype.kind not in _KINDS:
        msg = f"{dtype!r} is no dtype that a frame may hold"
        raise ValueError(msg)
    return dtype


def _build(node: Node, depth: int) -> DType:
    if type(node) is str:
        return _named(node)
    if depth > _MAX_DTYPE_DEPTH:
        msg = "a dtype nested too deeply"
        raise ValueError(msg)
    tag, *rest = node
    if tag == "long" and rest[1] == platform.machine():
        return np.dtype(rest[0])
    if tag == "repeat":
        return np.dtype((_read_dtype(rest[0], depth + 1), tuple(rest[1])))
    if tag == "fields":
        names, formats, offsets, size, aligned = rest
        kinds = [_read_dtype(each, depth + 1) for each in formats]
        fields = {"names": names, "formats": kinds, "offsets": offsets, "itemsize": size}
        return np.dtype(fields, align=aligned)  # type: ignore[call-overload,no-any-return]
    msg = f"no dtype of this machine: {node!r}"
    raise ValueError(msg)


@functools.lru_cache(maxsize=256)
def _named(name: str) -> DType:
    return np.dtype(name)


_nodes: dict[DType, Node] = {}
_MAX_NODES = 256


def dtype_node(dtype: DType) -> Node:
    """The node that stands for ``dtype``.

    Raises:
        NeedsPickleError: its elements hold Python objects, or it would not come back as it is.
    """
    node = _nodes.get(dtype)
    # dtypes that differ in metadata alone compare equal.
    if node is None or dtype.metadata is not None:
        node = _write_dtype(dtype)
        if len(_nodes) < _MAX_NODES:
            _nodes[dtype] = node
    return node


def write_array(value: Array, out: Writer) -> Node:
    """The node of an array, its bytes in C or Fortran order, as they lie; any other order becomes C."""
    if value.dtype.hasobject:
        return _write_objects(value, out)
    dtype = dtype_node(value.dtype)
    fortran = value.flags.fnc
    flat = np.ascontiguousarray(value.T if fortran else value).reshape(-1)
    # As bytes, because dates and texts have no buffer of their own.
    data = flat.view(np.uint8) if value.nbytes else flat
    return ["array", dtype, value.shape, fortran, out.buffer(data, value.nbytes), value.nbytes]


def read_array(node: Node, source: Reader) -> Array:
    """A view of the buffer, not a copy of it."""
    _, dtype, shape, fortran, offset, size = node
    kind = _named(dtype) if type(dtype) is str else None
    if kind is None or kind.kind not in _KINDS:
        kind = _read_dtype(dtype)
    if shape and min(shape) < 0:
        msg = f"a shape with a negative length: {shape}"
        raise ValueError(msg)
    data = source.buffer(offset, size)
    array: Array = np.ndarray(shape, kind, data, order="F" if fortran else "C")
    return array


def _write_objects(value: Array, out: Writer) -> Node:
    if value.dtype.char != "O":
        msg = f"the dtype {value.dtype!r} mixes objects with other fields, or has a storage of its own"
        raise NeedsPickleError(msg)
    fortran = value.flags.fnc
    items = value.ravel(order="F" if fortran else "C").tolist()
    return ["objects", value.shape, fortran, out.node(items)]


def _read_objects(node: Node, source: Reader) -> Array:
    _, shape, fortran, items = node
    values = source.value(items)
    array: Array = np.fromiter(values, dtype=object, count=len(values))
    array = array.reshape(shape, order="F" if fortran else "C")
    array.flags.writeable = False
    return array


def _write_scalar(value: np.generic, out: Writer) -> Node:
    return ["scalar", dtype_node(value.dtype), value.tobytes()]


def _read_scalar(node: Node, source: Reader) -> Any:
    _, dtype, data = node
    kind = _read_dtype(dtype)
    if len(data) != kind.itemsize:
        msg = f"{len(data)} bytes for a scalar of {kind.itemsize}"
        raise ValueError(msg)
    return np.ndarray((1,), kind, data)[0]


# The scalar types of texts and bytes would lose their trailing zeros by way of an array.
_SCALARS = {
    np.dtype(char).type for char in np.typecodes["All"] if np.dtype(char).kind in _KINDS - frozenset("SU")
}

WRITERS: dict[type, Callable[[Any, Writer], Node]] = {
    np.ndarray: write_array,
    np.str_: lambda value, out: ["np.str_", out.node(str(value))],
    np.bytes_: lambda value, out: ["np.bytes_", out.node(bytes(value))],
    **dict.fromkeys(_SCALARS, _write_scalar),
}

READERS: dict[str, Callable[[Node, Reader], Any]] = {
    "array": read_array,
    "objects": _read_objects,
    "scalar": _read_scalar,
    "np.str_": lambda node, source: np.str_(source.value(node[1])),
    "np.bytes_": lambda node, source: np.bytes_(source.value(node[1])),
}
