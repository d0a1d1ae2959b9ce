"""Codes of what a type is made of: enums, dataclasses, models, and subclasses of builtins."""

from __future__ import annotations

import collections
import dataclasses
import enum
from collections.abc import Callable, Iterable
from typing import Any

from mlcache.errors import UnhashableArgumentError
from mlcache.keys.classes import encode_class
from mlcache.keys.digest import Encoder, Seen, at, encode, tracked

_CONTENT: dict[type, Callable[[Any], object]] = {
    collections.OrderedDict: lambda value: list(dict.items(value)),
    collections.defaultdict: lambda value: (value.default_factory, dict(dict.items(value))),
    collections.deque: lambda value: (value.maxlen, list(value)),
    dict: lambda value: dict(dict.items(value)),
    tuple: lambda value: tuple(tuple.__iter__(value)),
    list: lambda value: list(list.__iter__(value)),
    set: lambda value: set(set.__iter__(value)),
    frozenset: lambda value: frozenset(frozenset.__iter__(value)),
    str: str.__str__,
    bytes: lambda value: bytes(memoryview(value)),
    bytearray: lambda value: bytearray(memoryview(value)),
    int: int.__int__,
    float: float.__float__,
    complex: complex.__complex__,
}
"""What a value holds as a value of the builtin type that it derives from, whatever it overrides."""


def structure_of(kind: type) -> Encoder | None:
    """How values are encoded by what their type says it is made of; None if it does not say."""
    if issubclass(kind, enum.Enum):
        return _encode_enum
    for base, content in _CONTENT.items():
        if issubclass(kind, base):
            return _subclass(kind, base, content)
    names = _field_names(kind)
    return None if names is None else tracked(_attributes(b"@fields:", kind, names))


def _field_names(kind: type) -> Iterable[str] | None:
    """The fields that a class declares, as a dataclass or by way of attrs, msgspec or pydantic."""
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    if hasattr(kind, "__attrs_attrs__"):
        return [field.name for field in kind.__attrs_attrs__]
    if hasattr(kind, "__struct_fields__"):
        return [str(name) for name in kind.__struct_fields__]
    if hasattr(kind, "__pydantic_fields__"):
        return [*kind.__pydantic_fields__, "__pydantic_extra__", "__pydantic_private__"]
    return None


def _encode_enum(value: enum.Enum, seen: Seen) -> bytes:
    content = value.value if isinstance(value, enum.Flag) else value.name
    return b"@enum:" + encode_class(type(value), seen) + encode(content, seen)


def _attributes(tag: bytes, kind: type, names: Iterable[str]) -> Encoder:
    def body(value: object, seen: Seen) -> bytes:
        codes = [encode_attribute(value, name, seen) for name in names if hasattr(value, name)]
        return tag + encode_class(kind, seen) + b"".join(codes) + b"@end:"

    return body


def _subclass(kind: type, base: type, content: Callable[[Any], object]) -> Encoder:
    names = [name for each in kind.__mro__ for name in _slots(each)]
    state = _attributes(b"@state:", kind, ["__dict__", *names])

    def body(value: object, seen: Seen) -> bytes:
        return b"@subclass:" + encode(base, seen) + encode(content(value), seen) + state(value, seen)

    return tracked(body)


def _slots(kind: type) -> list[str]:
    slots = kind.__dict__.get("__slots__", ())
    names = [slots] if isinstance(slots, str) else list(slots)
    hidden = f"_{kind.__name__.lstrip('_')}"
    return [
        hidden + name if name.startswith("__") and not name.endswith("__") else name
        for name in names
        if name not in {"__dict__", "__weakref__"}
    ]


def encode_attribute(value: object, name: str, seen: Seen) -> bytes:
    """The code of an attribute, under its name."""
    try:
        return encode(name, seen) + encode(getattr(value, name), seen)
    except UnhashableArgumentError as error:
        raise at(error, f".{name}") from None


def _encode_state(value: object, seen: Seen) -> bytes:
    return b"@state:" + encode_class(type(value), seen) + encode_attribute(value, "__dict__", seen)


encode_state = tracked(_encode_state)
"""The code of an object that is its class and its attributes."""
