"""Codes of Python's builtin types."""

from __future__ import annotations

import array
from collections.abc import Callable
from marshal import dumps
from types import EllipsisType, NoneType, NotImplementedType
from typing import Any

from mlcache.keys import hashing
from mlcache.keys.digest import ENCODERS, Seen, encode, encode_items, fold, within

PLAIN: frozenset[type] = frozenset({int, float, bool, NoneType, str, bytes, complex})
"""Exact types for which ``marshal.dumps(value, 2)`` is canonical, alone and in a list or tuple.

Version 2 of the format has no references, so that it does not show which objects are
identical. Exact types, because marshal takes anything with a buffer for bytes.
"""

_all_plain = PLAIN.issuperset
_LARGE = 1 << 12


def encode_plain(value: object, _: Seen) -> bytes:
    """The code of a number or of None."""
    return dumps(value, 2)


def encode_str(value: str, _: Seen) -> bytes:
    """The code of a text."""
    return fold(dumps(value, 2))


def encode_bytes(value: bytes, _: Seen) -> bytes:
    """The code of bytes, in place where they are many."""
    return dumps(value, 2) if len(value) < _LARGE else b"@bytes:" + encode_buffer(value)


def encode_buffer(value: bytes | bytearray | memoryview | array.array[Any]) -> bytes:
    """Length and hash of what lies in a contiguous buffer."""
    return dumps(memoryview(value).nbytes, 2) + hashing.hash128(value)


def encode_tuple(value: tuple[object, ...], seen: Seen) -> bytes:
    """The code of a tuple. A tuple can only contain itself by way of something mutable."""
    if _all_plain(map(type, value)) and not _has_large_bytes(value):
        return fold(dumps(value, 2))
    return b"@tuple:" + dumps(len(value), 2) + fold(encode_items(value, seen))


def encode_list(value: list[object], seen: Seen) -> bytes:
    """The code of a list."""
    if _all_plain(map(type, value)) and not _has_large_bytes(value):
        return fold(dumps(value, 2))
    return within(value, seen, _encode_list)


def _encode_list(value: list[object], seen: Seen) -> bytes:
    return b"@list:" + dumps(len(value), 2) + fold(encode_items(value, seen))


def _has_large_bytes(items: list[object] | tuple[object, ...]) -> bool:
    return bytes in map(type, items) and any(
        len(item) >= _LARGE for item in items if isinstance(item, bytes)
    )


def encode_dict(value: dict[object, object], seen: Seen) -> bytes:
    """The code of a dict, whatever the order of its items."""
    return within(value, seen, _encode_dict)


def _encode_dict(value: dict[Any, object], seen: Seen) -> bytes:
    if {str}.issuperset(map(type, value)):
        names = sorted(value)
        values = tuple([value[name] for name in names])
        if _all_plain(map(type, values)) and not _has_large_bytes(values):
            return b"@dict:" + fold(dumps((*names, *values), 2))
        return b"@dict:" + fold(dumps(names, 2)) + fold(_encode_values(names, values, seen))
    pairs = {encode(key, seen): key for key in value}
    keys = sorted(pairs)
    items = [value[pairs[key]] for key in keys]
    codes = _encode_values([pairs[key] for key in keys], items, seen)
    return b"@mapping:" + dumps(len(keys), 2) + fold(b"".join(keys)) + fold(codes)


def _encode_values(keys: list[Any], values: list[object] | tuple[object, ...], seen: Seen) -> bytes:
    from mlcache.errors import UnhashableArgumentError
    from mlcache.keys.digest import at

    codes: list[bytes] = []
    try:
        for value in values:
            codes.append(encode(value, seen))
    except UnhashableArgumentError as error:
        raise at(error, f"[{keys[len(codes)]!r}]") from None
    return b"".join(codes)


def encode_set(value: set[Any] | frozenset[Any], seen: Seen) -> bytes:
    """The code of a set or frozenset, whatever the order of its items."""
    name = b"@set:" if isinstance(value, set) else b"@frozenset:"
    if {str}.issuperset(map(type, value)):
        return name + fold(dumps(sorted(value), 2))
    codes = sorted(encode(item, seen) for item in value)
    return name + b"@items:" + dumps(len(codes), 2) + fold(b"".join(codes))


def encode_bytearray(value: bytearray, _: Seen) -> bytes:
    """The code of a bytearray."""
    return b"@bytearray:" + encode_buffer(value)


def encode_memoryview(value: memoryview, _: Seen) -> bytes:
    """The code of a memory view: its format, its shape and its bytes in C order."""
    content = value if value.c_contiguous else value.tobytes()
    return b"@memoryview:" + dumps((value.format, value.shape), 2) + hashing.hash128(content)


def encode_array(value: array.array[Any], _: Seen) -> bytes:
    """The code of an ``array.array``."""
    return b"@array:" + dumps(value.typecode, 2) + encode_buffer(value)


def encode_range(value: range, _: Seen) -> bytes:
    """The code of a range: equal ranges hold the same numbers."""
    size = len(value)
    start, step = (value.start if size else 0), (value.step if size > 1 else 1)
    return b"@range:" + dumps((start, step, size), 2)


def encode_slice(value: slice, seen: Seen) -> bytes:
    """The code of a slice."""
    return b"@slice:" + encode_items((value.start, value.stop, value.step), seen)


def _constant(name: bytes) -> Callable[[object, Seen], bytes]:
    return lambda _value, _seen: name


for _kind in PLAIN:
    ENCODERS[_kind] = encode_plain
ENCODERS.update(
    {
        str: encode_str,
        bytes: encode_bytes,
        tuple: encode_tuple,
        list: encode_list,
        dict: encode_dict,
        set: encode_set,
        frozenset: encode_set,
        bytearray: encode_bytearray,
        memoryview: encode_memoryview,
        array.array: encode_array,
        range: encode_range,
        slice: encode_slice,
        EllipsisType: _constant(b"@Ellipsis:"),
        NotImplementedType: _constant(b"@NotImplemented:"),
    }
)
