"""Codes of classes: a name, where the class can be imported by it, else its members as well.

Only a class of a real module can be told by its name. A script or a notebook can define a
class of the same name anew, and a factory can make many, so those stand by their members:
methods by their code, and what else can be keyed. Members are there to tell classes apart,
so one that cannot be keyed counts by the name of its type.
"""

from __future__ import annotations

import functools
import inspect
import os.path
import sys
from marshal import dumps
from types import CodeType, FunctionType
from typing import Any
from weakref import WeakKeyDictionary

from mlcache.errors import UnhashableArgumentError
from mlcache.keys import hashing
from mlcache.keys.digest import Seen, encode, is_compared_by_identity

_MAIN = frozenset({"__main__", "__mp_main__"})
_HOLDERS: dict[type, tuple[str, ...]] = {
    property: ("fget", "fset", "fdel"),
    functools.cached_property: ("func",),
    functools.partialmethod: ("func", "args", "keywords"),
}
"""By what attributes members of Python's own types hold functions and values."""

_codes: WeakKeyDictionary[type, bytes] = WeakKeyDictionary()


def type_name(kind: Any) -> str:
    """Module and qualified name of a class or function; a script has one name in all its processes."""
    module = getattr(kind, "__module__", None) or "builtins"
    name = getattr(kind, "__qualname__", None) or kind.__name__
    return f"{'__main__' if module in _MAIN else module}.{name}"


def script_of(kind: Any) -> str | None:
    """The path of the script that a class or function is defined in; None where there is no script or file.

    A function tells it by its globals, wherever it was sent to, and one that was made by a
    library's decorator by the function inside.
    """
    kind = inspect.unwrap(kind)
    if getattr(kind, "__module__", None) not in _MAIN:
        return None
    scope = getattr(kind, "__globals__", {})
    if scope.get("__name__") not in _MAIN:
        scope = vars(sys.modules.get(kind.__module__, sys.modules["__main__"]))
    path = scope.get("__file__")
    # Not by pathlib: importing that would take a tenth of what importing the library does.
    return os.path.realpath(path) if path and os.path.isfile(path) else None  # noqa: PTH113


def imported(kind: Any) -> object:
    """What can be imported by the name of a class or function: itself, something else, or None."""
    found: object = sys.modules.get(getattr(kind, "__module__", None) or "builtins")
    for name in (getattr(kind, "__qualname__", None) or kind.__name__).split("."):
        found = getattr(found, name, None)
    return found


class _Inside(dict[int, int]):
    """The containers that the encoder is inside of while it encodes the members of classes.

    It begins empty with the outermost class, so that a class has one code wherever it is met.
    """

    def __init__(self, *classes: type) -> None:
        super().__init__()
        self.classes = classes


def says_how_pickled(kind: Any) -> bool:
    """Whether a class, or a base of it, says how its objects are pickled."""
    return kind.__reduce__ is not object.__reduce__ or kind.__reduce_ex__ is not object.__reduce_ex__


def encode_class(kind: type, seen: Seen) -> bytes:
    """The code of a class: its name and, where that is not enough to find it, its bases and members."""
    if isinstance(seen, _Inside):
        return _code_of(kind, seen.classes)
    if not is_compared_by_identity(kind):
        return _code_of(kind, ())
    code = _codes.get(kind)
    if code is None:
        code = _codes[kind] = _code_of(kind, ())
    return code


def _code_of(kind: type, outer: tuple[type, ...]) -> bytes:
    if kind in outer:
        return b"@enclosing:" + dumps(outer.index(kind), 2)
    name = dumps(type_name(kind), 2)
    if kind.__module__ not in _MAIN and imported(kind) is kind:
        return b"@class:" + name
    return b"@local_class:" + name + hashing.hash128(_encode_members(kind, _Inside(*outer, kind)))


def encode_members(kind: type) -> bytes:
    """The code of what a class consists of, wherever it can be found."""
    return _encode_members(kind, _Inside(kind))


def _encode_members(kind: type, seen: Seen) -> bytes:
    bases = b"".join([encode_class(base, seen) for base in kind.__bases__])
    members = {name: _unpack(member) for name, member in kind.__dict__.items()}
    codes = [
        dumps(name, 2) + _encode_member(member, seen)
        for name, member in sorted(members.items())
        if not is_derived(name, member)
    ]
    defaults = [_encode_member(each, seen) for each in defaults_of(kind)]
    return bases + b"@members:" + b"".join(codes) + (b"@defaults:" + b"".join(defaults) if defaults else b"")


def defaults_of(kind: Any) -> list[object]:
    """Defaults of fields, and functions on them, which a class need not keep among its members."""
    import dataclasses

    found: list[Any] = []
    if dataclasses.is_dataclass(kind):
        parts = dataclasses.fields(kind)
        found = [part for field in parts for part in (field.default, field.default_factory)]
    elif hasattr(kind, "__attrs_attrs__"):
        fields = kind.__attrs_attrs__
        found = [part for field in fields for part in (field.default, field.converter, field.validator)]
    elif isinstance(getattr(kind, "__struct_defaults__", None), tuple):
        found = list(kind.__struct_defaults__)
    elif hasattr(kind, "__pydantic_fields__"):
        fields = kind.__pydantic_fields__.values()
        found = [part for field in fields for part in (field.default, field.default_factory)]
    # The function is what counts of the objects in which attrs and msgspec keep it. A class that came by
    # cloudpickle has a MISSING of its own.
    missing = type(dataclasses.MISSING)
    return [getattr(each, "factory", each) for each in found if not isinstance(each, missing)]


def _unpack(member: object) -> object:
    if isinstance(member, classmethod | staticmethod):
        member = member.__func__
    wrapped = getattr(member, "__dict__", {}).get("__wrapped__")
    if wrapped is not None and not isinstance(member, FunctionType):
        return wrapped  # asking a cached method for its key would ask for that of its class again
    for of, names in _HOLDERS.items():
        if isinstance(member, of):
            return tuple(getattr(member, name) for name in names)
    return member


def is_derived(name: str, member: object) -> bool:
    """Whether Python, or the library that made the class, made a member out of the others.

    That holds of ``__doc__``, of what is known of fields (in which pydantic puts addresses),
    and of methods compiled from a text (in which attrs puts hashes of the process).
    """
    if isinstance(member, FunctionType):
        return _is_generated(name, member.__code__)
    return name.startswith("__") and name.endswith("__")


def _is_generated(name: str, code: CodeType) -> bool:
    """Whether a dataclass, a named tuple or attrs has compiled a method from a text of its own.

    The code of a user may come from a text as well, by ``python -c`` or in a notebook.
    """
    if code.co_filename.startswith("<attrs generated"):
        return True
    of_tuple = name == "__new__" and code.co_name == "<lambda>" and code.co_filename.startswith("<string>")
    return of_tuple or code.co_qualname.startswith("__create_fn__.")


def _encode_member(member: object, seen: Seen) -> bytes:
    try:
        return encode(member, seen)
    except UnhashableArgumentError as error:
        return b"@unkeyed:" + dumps(type_name(error.kind), 2)
