"""Codes of what a type is made of: enums, dataclasses, models, and subclasses of builtins."""

from __future__ import annotations

import collections
import contextlib
import enum
import functools
from collections.abc import Callable, Iterable
from types import MemberDescriptorType
from typing import Any

from mlcache.errors import UnhashableArgumentError
from mlcache.keys.classes import encode_class
from mlcache.keys.digest import Encoder, Seen, at, encode, tracked


def _all_fields(value: Any) -> object:
    """What a tuple holds; one made in C, such as a time, has fields to which no index leads."""
    if hasattr(type(value), "n_sequence_fields"):
        return value.__reduce__()[1]
    return tuple(tuple.__iter__(value))


_CONTENT: dict[type, Callable[[Any], object]] = {
    collections.OrderedDict: lambda value: list(dict.items(value)),
    collections.defaultdict: lambda value: (value.default_factory, dict(dict.items(value))),
    collections.deque: lambda value: (value.maxlen, list(value)),
    dict: lambda value: dict(dict.items(value)),
    tuple: _all_fields,
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

_UNCOUNTED = frozenset(
    {"__dict__", "__weakref__", "_attrs_cached_hash", "__msgspec_cached_hash__", "__pydantic_fields_set__"}
)
"""Attributes that tell nothing of what an object is, such as its hash, or which fields were given."""


def structure_of(kind: type) -> Encoder | None:
    """How values are encoded by what their type says it is made of; None if it does not say."""
    if issubclass(kind, enum.Enum):
        return _encode_enum
    for base, content in _CONTENT.items():
        if issubclass(kind, base):
            return _subclass(kind, base, content)
    names = field_names(kind)
    return None if names is None else tracked(_fields(kind, names))


def field_names(kind: type) -> Iterable[str] | None:
    """The fields that a class declares, as a dataclass or by way of attrs, msgspec or pydantic."""
    if hasattr(kind, "__dataclass_fields__"):
        import dataclasses

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


def _attributes(tag: bytes, names: Iterable[str]) -> Encoder:
    def body(value: object, seen: Seen) -> bytes:
        codes = [encode_attribute(value, name, seen) for name in names if hasattr(value, name)]
        return tag + encode_class(type(value), seen) + b"".join(codes) + b"@end:"

    return body


def _fields(kind: type, names: Iterable[str]) -> Encoder:
    """An encoder of fields and of whatever attributes an object has besides them, sorted by name."""
    names = list(names)
    members = {name: member for base in reversed(kind.__mro__) for name, member in base.__dict__.items()}
    derived = {name for name, member in members.items() if isinstance(member, functools.cached_property)}
    known = derived.union(names, _UNCOUNTED)
    slots = [n for n, m in members.items() if isinstance(m, MemberDescriptorType) and n not in known]

    def body(value: object, seen: Seen) -> bytes:
        codes = [encode_attribute(value, name, seen) for name in names if hasattr(value, name)]
        own = getattr(value, "__dict__", {})
        if slots or not own.keys() <= known:
            more = _in_slots(value, slots)
            more |= {name: content for name, content in own.items() if name not in known}
            codes += [_named(name, more[name], seen) for name in sorted(more)]
        return b"@fields:" + encode_class(type(value), seen) + b"".join(codes) + b"@end:"

    return body


def _in_slots(value: object, names: Iterable[str]) -> dict[str, object]:
    """What slots hold that hold something; ``getattr`` would compute what the class computes on demand."""
    found: dict[str, object] = {}
    for name in names:
        with contextlib.suppress(AttributeError):
            found[name] = object.__getattribute__(value, name)
    return found


def _subclass(kind: type, base: type, content: Callable[[Any], object]) -> Encoder:
    names = [name for each in kind.__mro__ for name in _slots(each)]
    state = _attributes(b"@state:", ["__dict__", *names])

    def body(value: object, seen: Seen) -> bytes:
        return b"@subclass:" + encode(base, seen) + encode(content(value), seen) + state(value, seen)

    return tracked(body)


def encode_own(value: object, seen: Seen) -> bytes:
    """The code of a value's class and of the attributes that it has besides the content of its base."""
    names = [name for each in type(value).__mro__ for name in _slots(each)]
    return _attributes(b"@own:", ["__dict__", *names])(value, seen)


def own_attributes(value: object, kinds: Iterable[type]) -> dict[str, object]:
    """What a value has in its ``__dict__`` and in the slots of these of its classes."""
    names = [name for kind in kinds for name in _slots(kind) if hasattr(value, name)]
    return {**getattr(value, "__dict__", {}), **{name: getattr(value, name) for name in names}}


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
    return _named(name, getattr(value, name), seen)


def _named(name: str, content: object, seen: Seen) -> bytes:
    try:
        return encode(name, seen) + encode(content, seen)
    except UnhashableArgumentError as error:
        raise at(error, f".{name}") from None


def _encode_state(value: object, seen: Seen) -> bytes:
    return b"@state:" + encode_class(type(value), seen) + encode_attribute(value, "__dict__", seen)


encode_state = tracked(_encode_state)
"""The code of an object that is its class and its attributes."""
