"""Whether two values are the same to the last bit, types and all."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from decimal import Decimal
from typing import Any

import numpy as np

from mlcache.codec import FrameCodec
from mlcache.entry import Entry

CODEC = FrameCodec()


def round_trip(value: Any, codec: FrameCodec = CODEC) -> Any:
    return codec.decode(codec.encode(Entry(value, 1.0))).value


def same(left: Any, right: Any) -> bool:  # noqa: PLR0911 - a case each
    """Like ``==``, but a NaN is a NaN, zero is not minus zero, and a list is not a tuple."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return struct.pack("<d", left) == struct.pack("<d", right)
    if isinstance(left, complex):
        return same(left.real, right.real) and same(left.imag, right.imag)
    if isinstance(left, Decimal):
        return str(left) == str(right)
    if isinstance(left, np.ndarray):
        return same_arrays(left, right)
    if isinstance(left, np.generic):
        return bool(left.dtype == right.dtype) and left.tobytes() == right.tobytes()
    return same_contents(left, right)


def same_contents(left: Any, right: Any) -> bool:
    if isinstance(left, Mapping):
        return same(list(left.items()), list(right.items()))
    if isinstance(left, AbstractSet):
        return sorted(map(repr, left)) == sorted(map(repr, right))
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if hasattr(left, "fold"):
        # Aware times of different zones may be equal.
        return repr(left) == repr(right)
    return bool(left == right)


def same_arrays(left: Any, right: Any) -> bool:
    if left.dtype != right.dtype or left.shape != right.shape or left.flags.fnc != right.flags.fnc:
        return False
    if left.dtype.hasobject:
        return same(left.tolist(), right.tolist())
    return bool(left.tobytes() == right.tobytes())
