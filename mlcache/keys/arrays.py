"""Codes of numpy's arrays, scalars and dtypes.

An array stands by its dtype, its shape and a hash over its bytes in C order, so that a
copy, a Fortran-ordered copy and a strided view of equal content have one code.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from marshal import dumps
from typing import Any, TypeAlias

import numpy as np

from mlcache.keys import carried, hashing
from mlcache.keys.digest import Encoder, Seen, encode, within

Array: TypeAlias = "np.ndarray[Any, Any]"

_CHUNK = 1 << 21
"""Bytes that are brought into C order at a time: few enough to stay in the caches of a processor."""

_FAR, _CROWDED = 256, 512
"""Bytes of a step that leaves a line of the cache; of one whose multiples crowd a part of the cache."""

_SHORT, _FEW, _MANY, _LARGE = 16, 128, 4096, 8
"""Elements of an axis that is soon at its end, of one whose lines all stay in the cache, and of a matrix that
is worth cutting up; bytes of an element of which few share a line."""

_TILE, _GAP = (128, 2048), 64
"""Rows and bytes in a row of a tile that stays in a core's cache; bytes between its rows."""

_spare: deque[Array] = deque(maxlen=4)
"""Chunks of memory that nobody uses at the moment."""

_USER_DEFINED = 2
_PLAIN_KINDS = frozenset("biufcSUmM")
_BITS_OF_80 = 63
_x87 = np.finfo(np.longdouble).nmant == _BITS_OF_80
_heads: dict[tuple[np.dtype[Any], tuple[int, ...]], bytes] = {}
"""By dtype and shape, what the code of an array of simple elements begins with."""

_MOST_HEADS = 4096


def encode_array(array: Array, seen: Seen) -> bytes:
    """The code of an array: dtype, shape, and a hash over its bytes in C order."""
    head = _heads.get((array.dtype, array.shape))
    if head is None:
        return _encode_any_array(array, seen)
    flags = array.flags
    if flags.c_contiguous and (flags.writeable or array.nbytes < carried.LEAST):
        return head + hashing.hash128(array)
    return head + carried.hash_once(array, hash_array)


def _encode_any_array(array: Array, seen: Seen) -> bytes:
    dtype = array.dtype
    head = b"@ndarray:" + dtype_code(dtype) + dumps(array.shape, 2)
    if dtype.hasobject or dtype.kind not in "biufcSUmMV":
        return head + within(array, seen, _encode_objects)
    if dtype.names is not None:
        whole = _is_packed(dtype)
        return head + (carried.hash_once(array, hash_array) if whole else _encode_fields(array, seen))
    if not _is_simple(dtype):
        return head + hash_array(_significant(array))
    if len(_heads) >= _MOST_HEADS:
        _heads.clear()
    _heads[dtype, array.shape] = head
    return encode_array(array, seen)


def _is_simple(dtype: np.dtype[Any]) -> bool:
    """Whether every byte of an element counts, and numpy shows them as a buffer."""
    return dtype.kind in _PLAIN_KINDS and not (_x87 and dtype.char in "gG")


def _is_packed(dtype: np.dtype[Any]) -> bool:
    """Whether the fields of an element are simple and lie in a row, without a gap."""
    end = 0
    by_name: Any = dtype.fields
    for name in dtype.names or ():
        field, place = by_name[name][:2]
        whole = _is_simple if field.base.names is None else _is_packed
        if place != end or not whole(field.base):
            return False
        end += field.itemsize
    return end == dtype.itemsize


def _significant(array: Array) -> Array:
    """``array``, less the bytes of its elements that hold nothing: an 80 bit float takes up 16 bytes.

    They come after those that count, or in the swapped byte order before them.
    """
    if not (_x87 and array.dtype.char in "gG"):
        return array
    halves = array.dtype.itemsize // np.dtype(np.longdouble).itemsize
    raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8).reshape(array.size * halves, -1)
    return raw[:, :10] if array.dtype.isnative else raw[:, -10:]


def _encode_objects(array: Array, seen: Seen) -> bytes:
    if array.dtype.names is not None:
        return _encode_fields(array, seen)
    return encode(array.reshape(-1).tolist(), seen)


def _encode_fields(array: Array, seen: Seen) -> bytes:
    return b"".join(encode_array(array[name], seen) for name in array.dtype.names or ())


def hash_array(array: Array) -> bytes:
    """16 bytes over an array's bytes in C order, without a copy of the whole."""
    if array.flags.c_contiguous:
        return hashing.hash128(array)
    return hashing.hash128_stream(pieces(array))


def pieces(array: Array) -> Iterator[Array]:
    """An array's bytes in C order, as contiguous arrays; each is gone when the next one comes."""
    fitting = _CHUNK // max(1, array.itemsize)
    if array.size <= fitting or not fitting * array.itemsize:
        yield from _pieces(array, np.empty(max(1, min(array.size, fitting)), array.dtype))
        return
    memory = _take_chunk()
    try:
        yield from _pieces(array, memory[: fitting * array.itemsize].view(array.dtype))
    finally:
        _spare.append(memory)


def _take_chunk() -> Array:
    """Memory that was written to before: the first touch of a page takes as long as hashing it."""
    try:
        return _spare.pop()
    except IndexError:
        return np.empty(_CHUNK, np.uint8)


def _pieces(array: Array, scratch: Array) -> Iterator[Array]:
    if array.flags.c_contiguous:
        yield array
        return
    row = array[0].size
    if row > scratch.size:
        for part in array:
            yield from _pieces(part, scratch)
        return
    rows = scratch.size // row
    for start in range(0, len(array), rows):
        part = array[start : start + rows]
        copy = scratch[: part.size].reshape(part.shape)
        _copy(part, copy)
        yield copy


def _copy(part: Array, copy: Array) -> None:
    """Copy ``part`` into C order, in the way that is fastest for how it lies in memory."""
    if part.ndim == 1 or abs(part.strides[-1]) < _FAR:
        np.copyto(copy, part)
    elif part.shape[-1] <= _SHORT:
        for place in range(part.shape[-1]):
            np.copyto(copy[..., place], part[..., place])
    elif _stays_in_cache(part):
        np.copyto(copy, part)
    elif part.ndim == 2:  # noqa: PLR2004
        _turn(part, copy)
    else:
        for inner, target in zip(part, copy, strict=True):
            _copy(inner, target)


def _stays_in_cache(part: Array) -> bool:
    """Whether the lines of a cache that numpy fetches are still there when their next elements are wanted.

    Numpy goes along the last axis, and fetches a line for each element. Where the axis before it
    does not hold the next elements, or few of them, no other way is better.
    """
    step, length = abs(part.strides[-1]), part.shape[-1]
    if abs(part.strides[-2]) >= step or part.shape[-2] * length < _MANY:
        return True
    return step % _CROWDED != 0 and (part.itemsize >= _LARGE or length <= _FEW)


def _turn(part: Array, copy: Array) -> None:
    """Copy a transposed matrix tile by tile.

    Each tile is first brought together, row by row as it lies in memory, with a gap after each
    row: of rows whose distance is a power of two, a cache holds but a few at a time.
    """
    rows, width = _TILE[0], max(1, _TILE[1] // part.itemsize)
    buffer = np.empty((rows, width + max(1, _GAP // part.itemsize)), part.dtype)
    for top in range(0, len(part), width):
        for left in range(0, part.shape[1], rows):
            piece = part[top : top + width, left : left + rows]
            tile = buffer[: piece.shape[1], : len(piece)].T
            np.copyto(tile, piece)
            np.copyto(copy[top : top + width, left : left + rows], tile)


def dtype_code(dtype: np.dtype[Any]) -> bytes:
    """The code of a dtype, with its byte order and, if it has fields, its layout."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return b"@subdtype:" + dtype_code(base) + dumps(shape, 2)
    if dtype.names is not None:
        return _fields_code(dtype)
    if dtype.kind == "T":
        about = (getattr(dtype, "na_object", ...), getattr(dtype, "coerce", True))
        return b"@StringDType:" + encode(about, {})
    name = repr(dtype) if dtype.isbuiltin == _USER_DEFINED else dtype.str
    return b"@dtype:" + dumps(name, 2)


def _fields_code(dtype: np.dtype[Any]) -> bytes:
    by_name: Any = dtype.fields
    fields = [by_name[name] for name in dtype.names or ()]
    layout = tuple((name, *field[1:]) for name, field in zip(dtype.names or (), fields, strict=True))
    head = b"@fields:" + encode((layout, dtype.itemsize, dtype.type.__name__), {})
    return head + b"".join([dtype_code(field[0]) for field in fields])


TYPES: dict[type, Encoder] = {np.ndarray: encode_array}
