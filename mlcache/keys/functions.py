"""What a function is: its name, its code, what it closes over and what is bound to it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from marshal import dumps
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

import msgspec

from mlcache.errors import UnhashableArgumentError
from mlcache.keys.code import encode_code
from mlcache.keys.digest import ENCODERS, Seen, at, digest, encode, encode_items, within

_NO_STAND_INS: Mapping[str, Callable[[Any], object]] = {}


class Identity(msgspec.Struct, frozen=True):
    """What tells one function from another.

    Args:
        name: module and qualified name of the innermost function.
        digest: 16 bytes over the name, the version, and all that is bound to the function.
    """

    name: str
    digest: bytes


class _Parts(msgspec.Struct):
    """A callable taken apart, from the outside in."""

    inner: Callable[..., Any]
    bound: dict[str, object]
    arguments: list[tuple[tuple[object, ...], dict[str, object]]]


def identify(
    function: Callable[..., Any],
    *,
    version: str | None = "code",
    ignore: frozenset[str] = frozenset(),
    stand_ins: Mapping[str, Callable[[Any], object]] = _NO_STAND_INS,
    name: str | None = None,
) -> Identity:
    """What tells ``function`` from every other one.

    Args:
        function: a function, a bound method, a ``functools.partial`` or another callable.
        version: ``"code"``: what the code does counts; None: it does not; any other text
            counts in its place.
        ignore: names of closure variables, or ``"self"``, that do not count.
        stand_ins: what stands for the content of a closure variable, or for ``"self"``.
        name: what to call it; None: module and qualified name.

    Raises:
        UnhashableArgumentError: if something that is bound to the function cannot be keyed.
    """
    parts = _take_apart(function)
    name = name or function_name(parts.inner)
    seen: Seen = {id(parts.inner): 0}
    variables = {**_closure(parts.inner), **parts.bound}
    codes = [
        _variable(variable, content, stand_ins.get(variable), seen)
        for variable, content in sorted(variables.items())
        if variable not in ignore
    ]
    feed = (name, _version_digest(parts.inner, version), parts.arguments, codes)
    return Identity(name, digest(feed, b"identity"))


def function_name(function: Callable[..., Any]) -> str:
    """Module and qualified name; a script has one name in the main process and in its children."""
    kind = function if hasattr(function, "__qualname__") else type(function)
    module = getattr(kind, "__module__", None) or "builtins"
    return f"{'__main__' if module == '__mp_main__' else module}.{kind.__qualname__}"


def _take_apart(function: Callable[..., Any]) -> _Parts:
    parts = _Parts(function, {}, [])
    while True:
        inner = parts.inner
        if isinstance(inner, functools.partial):
            parts.arguments.append((inner.args, inner.keywords))
            parts.inner = inner.func
        elif isinstance(inner, MethodType):
            parts.bound["self"] = inner.__self__
            parts.inner = inner.__func__
        elif not isinstance(inner, type) and isinstance(getattr(type(inner), "__call__", None), FunctionType):
            parts.bound["self"] = inner
            parts.inner = type(inner).__call__
        else:
            return parts


def _closure(function: Callable[..., Any]) -> dict[str, object]:
    if not isinstance(function, FunctionType):
        return {}
    return dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))


def _variable(name: str, content: object, stand_in: Callable[[Any], object] | None, seen: Seen) -> bytes:
    if isinstance(content, CellType):
        try:
            content = content.cell_contents
        except ValueError:
            return dumps(name, 2) + b"@empty:"
    try:
        return dumps(name, 2) + encode(stand_in(content) if stand_in else content, seen)
    except UnhashableArgumentError as error:
        raise error.of(name) from None


def _version_digest(function: Callable[..., Any], version: str | None) -> object:
    if version is None:
        return None
    if version != "code":
        return version
    return digest(getattr(function, "__code__", None), b"version")


def encode_function(function: FunctionType, seen: Seen) -> bytes:
    """The code of a function that is an argument: name, code, closure and defaults."""
    return within(function, seen, _encode_function)


def _encode_function(function: FunctionType, seen: Seen) -> bytes:
    head = b"@function:" + dumps(function_name(function), 2) + encode_code(function.__code__, seen)
    cells = b"".join(_cell(name, cell, seen) for name, cell in sorted(_closure(function).items()))
    return head + cells + encode_items((function.__defaults__, function.__kwdefaults__), seen)


def _cell(name: str, cell: object, seen: Seen) -> bytes:
    try:
        return _variable(name, cell, None, seen)
    except UnhashableArgumentError as error:
        raise at(UnhashableArgumentError(error.kind, error.path, None, error.reason), f".{name}") from None


def encode_method(method: MethodType, seen: Seen) -> bytes:
    """The code of a bound method: its function and its ``self``."""
    return b"@method:" + encode(method.__func__, seen) + encode(method.__self__, seen)


def encode_partial(partial: functools.partial[Any], seen: Seen) -> bytes:
    """The code of a ``functools.partial``: its function and its arguments."""
    return b"@partial:" + encode_items((partial.func, partial.args, partial.keywords), seen)


def encode_builtin(function: BuiltinFunctionType, seen: Seen) -> bytes:
    """The code of a function written in C: its name, and its ``self`` if it is a method of a value."""
    owner = function.__self__
    bound = None if owner is None or isinstance(owner, ModuleType) else owner
    return b"@builtin:" + dumps(function_name(function), 2) + encode(bound, seen)


def encode_module(module: ModuleType, _: Seen) -> bytes:
    """The code of a module: its name."""
    return b"@module:" + dumps(module.__name__, 2)


def encode_class(kind: type, seen: Seen) -> bytes:
    """The code of a class that is an argument: the name under which it can be imported."""
    if _imported(kind.__module__, kind.__qualname__) is not kind:
        raise UnhashableArgumentError(type(kind), reason="it is a class that cannot be imported by its name")
    return b"@class:" + dumps(f"{kind.__module__}.{kind.__qualname__}", 2)


def _imported(module: str, qualname: str) -> object:
    found: object = sys.modules.get(module)
    for name in qualname.split("."):
        found = getattr(found, name, None)
    return found


ENCODERS.update(
    {
        FunctionType: encode_function,
        MethodType: encode_method,
        functools.partial: encode_partial,
        BuiltinFunctionType: encode_builtin,
        MethodDescriptorType: lambda value, _: b"@builtin:" + dumps(function_name(value), 2),
        WrapperDescriptorType: lambda value, _: b"@builtin:" + dumps(function_name(value), 2),
        ModuleType: encode_module,
        CodeType: encode_code,
        type: encode_class,
    }
)
