"""NumPy's dtypes whose elements are bytes: in words that any NumPy understands."""

from __future__ import annotations

import functools
import platform
from typing import Any, TypeAlias

import numpy as np

from mlcache.codec.nodes import NeedsPickleError, Node, expect

DType: TypeAlias = np.dtype[Any]

KINDS = frozenset("biufcmMSUV")
"""The kinds of dtype whose elements hold no pointers, unless they are structures with objects in them."""

_MAX_DEPTH = 20
_MAX_KNOWN = 256

_known: dict[tuple[str, DType], Node] = {}


def write_dtype(dtype: DType) -> Node:
    """The node of ``dtype``.

    Raises:
        NeedsPickleError: its elements are not just bytes, or it would not come back as it is.
    """
    # Of a structure, more than is compared has to come back.
    if dtype.kind == "V" or dtype.metadata is not None:
        return _describe_exactly(dtype)
    node = _known.get((dtype.char, dtype))
    if node is None:
        node = _describe_exactly(dtype)
        if len(_known) < _MAX_KNOWN:
            _known[dtype.char, dtype] = node
    return node


def read_dtype(node: Node) -> DType:
    """The dtype of a node.

    Raises:
        ValueError: it is none whose elements are just bytes, or none of this machine.
    """
    return _named(node) if type(node) is str else _admit(_build(node, 0))


def _describe_exactly(dtype: DType) -> Node:
    node = _describe(dtype)
    # Extensions call themselves void: bfloat16 would come back as two bytes without a meaning.
    back = read_dtype(node)
    if back != dtype or back.char != dtype.char or back.isalignedstruct != dtype.isalignedstruct:
        raise NeedsPickleError(f"the dtype {dtype!r} has no form of its own")
    return node


def _describe(dtype: DType) -> Node:
    if dtype.metadata is not None or dtype.hasobject or dtype.kind not in KINDS or not dtype.itemsize:
        raise NeedsPickleError(f"the elements of the dtype {dtype!r} are more than bytes")
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return ["repeat", _describe(base), shape]
    if dtype.fields is not None and dtype.names is not None:
        fields: Any = dtype.fields
        formats = [_describe(fields[name][0]) for name in dtype.names]
        offsets = [fields[name][1] for name in dtype.names]
        titles = [next(iter(fields[name][2:]), None) for name in dtype.names]
        return ["fields", dtype.names, formats, offsets, titles, dtype.itemsize, dtype.isalignedstruct]
    if dtype.char in "gG":
        # One name for formats that differ from one processor to the next.
        return ["long", dtype.str, platform.machine()]
    # Where long has 64 bits, "<i8" means long, and long long is another type of the same bits.
    return dtype.byteorder + dtype.char if dtype.char in "qQ" else dtype.str


def _build(node: Node, depth: int) -> DType:
    if type(node) is str:
        return np.dtype(node)
    if depth > _MAX_DEPTH:
        raise ValueError("a dtype nested too deeply")
    tag, *rest = node
    if tag == "long" and rest[1] == platform.machine():
        return _build(rest[0], depth + 1)
    if tag == "repeat":
        return np.dtype((_build(rest[0], depth + 1), tuple(rest[1])))
    if tag == "fields":
        return _build_fields(rest, depth)
    raise ValueError(f"no dtype of this machine: {node!r}")


def _build_fields(parts: list[Any], depth: int) -> DType:
    names, formats, offsets, titles, size, aligned = parts
    kinds = [_build(each, depth + 1) for each in formats]
    fields: Any = {"names": names, "formats": kinds, "offsets": offsets, "titles": titles, "itemsize": size}
    dtype: DType = np.dtype(fields, align=expect(aligned, bool))
    return dtype


def _admit(dtype: DType) -> DType:
    # An array of objects over bytes that somebody else wrote would be an array of their pointers.
    # Elements of no bytes could be any number without taking any, until somebody copies them.
    if dtype.hasobject or dtype.kind not in KINDS or not dtype.itemsize:
        raise ValueError(f"{dtype!r} is no dtype that a frame may hold")
    return dtype


@functools.lru_cache(maxsize=_MAX_KNOWN)
def _named(name: str) -> DType:
    return _admit(np.dtype(name))
