"""Codes of objects: who says what stands for a value, and the error where nobody does.

In this order: a function registered for the type or a base of it, the value's own
``__ml_cache_key__()``, the encoders of the library that the type comes from, and at last
what the type is made of (an enum, a dataclass, a named tuple, a subclass of a builtin).
Neither ``id()`` nor the default ``repr`` ever stands for anything.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
from collections.abc import Callable
from marshal import dumps
from typing import Any

from mlcache.errors import UnhashableArgumentError
from mlcache.keys.digest import ENCODERS, Encoder, Seen, at, encode, encode_items, within

_LIBRARIES = {
    "numpy": "mlcache.keys.arrays",
    "pandas": "mlcache.keys.frames",
}
"""Where the encoders of a library's types are, by its name. Imported when such a value first comes."""

_registered: dict[type, Callable[[Any], object]] = {}
_own: dict[type, Encoder] = dict(ENCODERS)


def register_key(kind: type, function: Callable[[Any], object]) -> None:
    """Say what stands for the values of a type, and of the types derived from it.

    Args:
        kind: the type.
        function: takes a value and returns something that can be keyed. Its result goes
            into the key together with the name of the value's type.
    """
    _registered[kind] = function
    ENCODERS.clear()
    ENCODERS.update({known: encoder for known, encoder in _own.items() if known not in _registered})


def resolve(kind: type) -> Encoder:
    """How values of the type ``kind`` are encoded."""
    for base in kind.__mro__:
        if base in _registered:
            return _stand_in(kind, _registered[base])
    if hasattr(kind, "__ml_cache_key__"):
        return _stand_in(kind, kind.__ml_cache_key__)
    return _from_library(kind) or _by_make(kind) or _encode_wrapper


def type_name(kind: type) -> str:
    """The module and qualified name of a type."""
    return f"{kind.__module__}.{kind.__qualname__}"


def _stand_in(kind: type, function: Callable[[Any], object]) -> Encoder:
    name = b"@key:" + dumps(type_name(kind), 2)

    def body(value: object, seen: Seen) -> bytes:
        return name + encode(function(value), seen)

    return lambda value, seen: within(value, seen, body)


def _from_library(kind: type) -> Encoder | None:
    for base in kind.__mro__:
        module = _LIBRARIES.get(base.__module__.partition(".")[0])
        if module is not None:
            encoder: Encoder | None = importlib.import_module(module).encoder_for(kind)
            if encoder is not None:
                return encoder
    return None


def _by_make(kind: type) -> Encoder | None:
    if issubclass(kind, enum.Enum):
        return _encode_enum
    if dataclasses.is_dataclass(kind):
        return _fields(kind, [field.name for field in dataclasses.fields(kind)])
    for base in (tuple, list, dict, set, frozenset, str, bytes, bytearray, int, float, complex):
        if issubclass(kind, base):
            return _subclass(kind, base)
    return None


def _encode_enum(value: enum.Enum, seen: Seen) -> bytes:
    return b"@enum:" + dumps((type_name(type(value)), value.name), 2) + encode(value.value, seen)


def _fields(kind: type, names: list[str]) -> Encoder:
    head = b"@fields:" + dumps((type_name(kind), *names), 2)

    def body(value: object, seen: Seen) -> bytes:
        return head + b"".join(_attribute(value, name, seen) for name in names)

    return lambda value, seen: within(value, seen, body)


def _attribute(value: object, name: str, seen: Seen) -> bytes:
    try:
        return encode(getattr(value, name), seen)
    except UnhashableArgumentError as error:
        raise at(error, f".{name}") from None


def _subclass(kind: type, base: type) -> Encoder:
    head = b"@subclass:" + dumps(type_name(kind), 2)
    slots = [name for step in kind.__mro__ for name in _slots(step)]

    def body(value: Any, seen: Seen) -> bytes:
        state = [(name, getattr(value, name)) for name in slots if hasattr(value, name)]
        plain = base(value) if base is not dict else list(value.items())
        return head + encode_items((plain, getattr(value, "__dict__", None), state), seen)

    return lambda value, seen: within(value, seen, body)


def _slots(kind: type) -> list[str]:
    slots = kind.__dict__.get("__slots__", ())
    return [slots] if isinstance(slots, str) else list(slots)


def _encode_wrapper(value: object, seen: Seen) -> bytes:
    """The code of a callable object that wraps a function and says so, such as ``lru_cache`` makes."""
    if not callable(value) or getattr(value, "__wrapped__", None) is None:
        raise UnhashableArgumentError(type(value))
    return b"@wrapper:" + dumps(type_name(type(value)), 2) + _attribute(value, "__wrapped__", seen)
