"""Codes of Python's builtin types."""

from __future__ import annotations

from itertools import chain
from marshal import dumps
from operator import itemgetter
from types import EllipsisType, NoneType, NotImplementedType
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from mlcache.errors import UnhashableArgumentError
from mlcache.keys import hashing
from mlcache.keys.arrays import hash_array
from mlcache.keys.digest import Encoder, Seen, at, encode, encode_items, fold, within

if TYPE_CHECKING:
    import array

PLAIN: frozenset[type] = frozenset({int, float, bool, NoneType, str, bytes, complex})
"""Exact types for which ``marshal.dumps(value, 2)`` is canonical, alone and in a list or tuple.

Version 2 of the format has no references, so that it does not show which objects are
identical. Exact types, because marshal takes anything with a buffer for bytes.
"""

LARGE = 1 << 16
"""Characters or bytes from which on a text is hashed by itself: ``marshal`` would copy it."""

_PIECE, _PIECES = 1 << 16, 4
"""Characters that are encoded at a time, few enough to stay in the caches of a processor; as many of them are
quicker in one."""

_MANY = 32
_DEEP, _WIDE = 16, 1 << 22
"""Levels, and parts of a level, of trees that are encoded in one call."""

_SMALL = PLAIN - {bytes, complex}
_SEQUENCES = frozenset({list, tuple})
_IN_TREES = _SMALL | _SEQUENCES | {dict}
_NUMBERS = frozenset("cbB?hHiIlLqQnNefd")
"""Formats of memory views of which every byte counts."""

_are_texts = {str}.issuperset
_are_integers = {int}.issuperset
_are_small = (PLAIN - {bytes}).issuperset
_pack = msgspec.msgpack.Encoder().encode
_pack_sorted = msgspec.msgpack.Encoder(order="deterministic").encode


def encode_plain(value: Any, _: Seen) -> bytes:
    """The code of a number or of None."""
    return dumps(value, 2)


def encode_str(value: str, _: Seen) -> bytes:
    """The code of a text, piece by piece where it is long."""
    size = len(value)
    if size < LARGE:
        return dumps(value, 2)
    head = b"@text:" + dumps(size, 2)
    if size <= _PIECES * _PIECE:
        return head + hashing.hash128(value.encode("utf-8", "surrogatepass"))
    pieces = (value[start : start + _PIECE] for start in range(0, size, _PIECE))
    return head + hashing.hash128_stream(piece.encode("utf-8", "surrogatepass") for piece in pieces)


def encode_bytes(value: bytes, _: Seen) -> bytes:
    """The code of bytes, in place where they are many."""
    return dumps(value, 2) if len(value) < LARGE else b"@bytes:" + encode_buffer(value)


def encode_buffer(value: bytes | bytearray | array.array[Any]) -> bytes:
    """Length and hash of what lies in a buffer."""
    return dumps(memoryview(value).nbytes, 2) + hashing.hash128(value)


def encode_tuple(value: tuple[object, ...], seen: Seen) -> bytes:
    """The code of a tuple, which can contain itself only by way of something mutable."""
    code = encode_plain_items(value) or _encode_tree(value)
    return b"@tuple:" + (code or dumps(len(value), 2) + fold(encode_items(value, seen)))


def encode_list(value: list[object], seen: Seen) -> bytes:
    """The code of a list."""
    code = encode_plain_items(tuple(value)) or _encode_tree(value)
    return b"@list:" + (code or within(value, seen, _encode_mixed))


def _encode_tree(value: object) -> bytes | None:
    """The code of dicts, lists and tuples inside each other, in one call of C; None if more is in them."""
    kinds = _kinds_in(value)
    if kinds is None:
        return None
    if tuple not in kinds:
        try:
            return b"@tree:" + fold(_pack_sorted(value))
        except (OverflowError, UnicodeEncodeError):  # a large integer, half of a surrogate pair
            pass
    return b"@tuples:" + fold(dumps(msgspec.to_builtins(value, order="deterministic"), 2))


def _kinds_in(value: Any) -> set[type] | None:
    """The types in ``value``; None if they are not containers and small plain values, or not all keys texts.

    It looks at all containers of a level at once.
    """
    found: set[type] = {type(value)}
    dicts, lists = ([value], []) if type(value) is dict else ([], [value])
    for _ in range(_DEEP):
        if not _are_texts(map(type, chain.from_iterable(dicts))):
            return None
        parts = [*chain.from_iterable(map(dict.values, dicts)), *chain.from_iterable(lists)]
        kinds = set(map(type, parts))
        if kinds <= _SMALL:
            return found
        if not kinds <= _IN_TREES or len(parts) > _WIDE:
            return None
        found |= kinds
        dicts = [each for each in parts if type(each) is dict]
        lists = [each for each in parts if type(each) in _SEQUENCES]
    return None


def _encode_mixed(value: list[object], seen: Seen) -> bytes:
    items = tuple(value)  # another thread may change the list meanwhile
    return dumps(len(items), 2) + fold(encode_items(items, seen))


def encode_plain_items(items: tuple[Any, ...]) -> bytes | None:
    """The code of items that are all plain, in one call of C; None if they are not."""
    if len(items) >= _MANY and type(items[0]) is str and list(map(type, items)).count(str) == len(items):
        return _encode_texts(items)
    kinds = set(map(type, items))
    if not kinds <= PLAIN or (bytes in kinds and _are_large(items)):
        return None
    return fold(dumps(items, 2))


def _encode_texts(texts: tuple[str, ...]) -> bytes:
    """The code of many texts: each with its length, in one buffer."""
    try:
        return b"@texts:" + dumps(len(texts), 2) + hashing.hash128(_pack(texts))
    except UnicodeEncodeError:  # half of a surrogate pair
        return fold(dumps(texts, 2))


def _are_large(items: tuple[object, ...]) -> bool:
    return any(len(item) >= LARGE for item in items if type(item) is bytes)


def encode_dict(value: dict[Any, Any], seen: Seen) -> bytes:
    """The code of a dict, whatever the order of its items."""
    now = value.copy()  # another thread may change it meanwhile
    if not _are_texts(map(type, now)):
        return b"@mapping:" + within(value, seen, _encode_mapping)
    names = sorted(now)
    contents = [now[name] for name in names]
    if _are_small(map(type, contents)):
        return b"@record:" + fold(dumps((*names, *contents), 2))
    code = _encode_tree(now)
    if code is not None:
        return b"@dict:" + code
    head = b"@dict:" + fold(dumps(tuple(names), 2))
    return head + within(value, seen, lambda _, inside: _encode_values(names, contents, inside))


def _encode_mapping(value: dict[Any, object], seen: Seen) -> bytes:
    items = list(value.items())
    if _are_integers(map(type, map(itemgetter(0), items))):
        items.sort(key=itemgetter(0))
        names, contents = map(list, zip(*items, strict=True))
        return b"@integers:" + fold(dumps(tuple(names), 2)) + _encode_values(names, contents, seen)
    # Different keys can have one code, as two that are not a number: so their contents are sorted, too.
    codes = sorted([(encode(name, seen), _encode_value(name, content, seen)) for name, content in items])
    return dumps(len(codes), 2) + fold(b"".join([part for pair in codes for part in pair]))


def _encode_values(names: list[Any], values: list[Any], seen: Seen) -> bytes:
    plain = encode_plain_items(tuple(values))
    if plain is not None:
        return b"@plain:" + plain
    codes = [_encode_value(name, value, seen) for name, value in zip(names, values, strict=True)]
    return fold(b"".join(codes))


def _encode_value(name: Any, value: object, seen: Seen) -> bytes:
    try:
        return encode(value, seen)
    except UnhashableArgumentError as error:
        raise at(error, f"[{name!r:.80}]") from None


def encode_set(value: set[Any], seen: Seen) -> bytes:
    """The code of a set, whatever the order of its items."""
    return b"@set:" + _encode_unordered(value, seen)


def encode_frozenset(value: frozenset[Any], seen: Seen) -> bytes:
    """The code of a frozenset, whatever the order of its items."""
    return b"@frozenset:" + _encode_unordered(value, seen)


def _encode_unordered(value: set[Any] | frozenset[Any], seen: Seen) -> bytes:
    items = list(value)  # another thread may change the set meanwhile
    if _are_texts(map(type, items)) or _are_integers(map(type, items)):
        return encode_plain_items(tuple(sorted(items))) or b""
    codes = sorted([encode(item, seen) for item in items])
    return b"@items:" + dumps(len(codes), 2) + fold(b"".join(codes))


def encode_bytearray(value: bytearray, _: Seen) -> bytes:
    """The code of a bytearray."""
    return b"@bytearray:" + encode_buffer(value)


def encode_memoryview(value: memoryview, seen: Seen) -> bytes:
    """The code of a memory view: its format, its shape and its elements in C order.

    What the elements are of other formats than those of numbers, numpy knows: there may be gaps
    between their parts, and what lies there may be an address, which says nothing.
    """
    try:
        head = b"@memoryview:" + dumps((value.format, value.shape), 2)
        if value.format not in _NUMBERS:
            return head + encode(np.asarray(value), seen)
        return head + (hashing.hash128(value) if value.c_contiguous else hash_array(np.asarray(value)))
    except ValueError as error:
        raise UnhashableArgumentError(memoryview, reason=str(error)) from None


def encode_range(value: range, _: Seen) -> bytes:
    """The code of a range: equal ranges hold the same numbers."""
    size = len(value)
    start, step = (value.start if size else 0), (value.step if size > 1 else 1)
    return b"@range:" + dumps((start, step, size), 2)


def encode_slice(value: slice, seen: Seen) -> bytes:
    """The code of a slice."""
    return b"@slice:" + encode_items((value.start, value.stop, value.step), seen)


def _constant(name: bytes) -> Encoder:
    return lambda _value, _seen: name


TYPES: dict[type, Encoder] = {
    **dict.fromkeys(PLAIN, encode_plain),
    str: encode_str,
    bytes: encode_bytes,
    tuple: encode_tuple,
    list: encode_list,
    dict: encode_dict,
    set: encode_set,
    frozenset: encode_frozenset,
    bytearray: encode_bytearray,
    memoryview: encode_memoryview,
    range: encode_range,
    slice: encode_slice,
    EllipsisType: _constant(b"@Ellipsis:"),
    NotImplementedType: _constant(b"@NotImplemented:"),
}
