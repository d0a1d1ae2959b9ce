"""Codes of functions that are arguments: name, code, closure, defaults and what is bound to them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from marshal import dumps
from types import (
    BuiltinFunctionType,
    CellType,
    ClassMethodDescriptorType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

from mlcache.errors import UnhashableArgumentError
from mlcache.keys.classes import type_name
from mlcache.keys.code import encode_code
from mlcache.keys.digest import Encoder, Seen, at, encode, encode_items, tracked


def closure_of(function: Callable[..., Any]) -> dict[str, CellType]:
    """The variables that a function closes over, by name."""
    if not isinstance(function, FunctionType):
        return {}
    return dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))


def encode_cell(cell: CellType, seen: Seen, stand_in: Callable[[Any], object] | None = None) -> bytes:
    """The code of what a closure's variable holds; a variable that is not yet set is empty."""
    try:
        content = cell.cell_contents
    except ValueError:
        return b"@empty:"
    if stand_in is not None:
        return encode(stand_in(content), seen)
    for inner in _unwrap(content):
        if id(inner) in seen:  # the function itself, however wrapped: the wrapper's own parts do not matter
            return encode_above(inner, seen)
    return encode(content, seen)


def encode_above(value: object, seen: Seen) -> bytes:
    """How many containers further up ``value`` is."""
    return tracked(encode)(value, seen)


def _unwrap(content: object) -> Iterator[object]:
    for _ in range(100):
        yield content
        content = getattr(content, "__dict__", {}).get("__wrapped__")
        if content is None:
            return


def _encode_function(function: FunctionType, seen: Seen) -> bytes:
    head = b"@function:" + dumps(type_name(function), 2)
    if "__ml_cache_key__" in function.__dict__:
        return head + b"@key:" + encode(function.__dict__["__ml_cache_key__"](), seen)
    cells = [_encode_variable(name, cell, seen) for name, cell in sorted(closure_of(function).items())]
    rest = (function.__defaults__, function.__kwdefaults__, function.__dict__.get("__wrapped__"))
    return (
        head + encode_code(function.__code__, seen) + b"".join(cells) + encode_items(rest, seen, ".default")
    )


def _encode_variable(name: str, cell: CellType, seen: Seen) -> bytes:
    try:
        return dumps(name, 2) + encode_cell(cell, seen)
    except UnhashableArgumentError as error:
        raise at(error, f".{name}") from None


def _encode_method(method: MethodType, seen: Seen) -> bytes:
    return b"@method:" + encode_items((method.__func__, method.__self__), seen, ".__self__")


def _encode_partial(partial: functools.partial[Any], seen: Seen) -> bytes:
    return b"@partial:" + encode_items((partial.func, partial.args, partial.keywords), seen, ".arguments")


def _encode_builtin(function: BuiltinFunctionType | MethodWrapperType, seen: Seen) -> bytes:
    owner = function.__self__
    bound = None if isinstance(owner, ModuleType) else owner
    return b"@builtin:" + dumps(type_name(function), 2) + encode(bound, seen)


def _encode_descriptor(descriptor: Any, seen: Seen) -> bytes:
    return b"@descriptor:" + dumps(descriptor.__name__, 2) + encode(descriptor.__objclass__, seen)


def _encode_module(module: ModuleType, _: Seen) -> bytes:
    return b"@module:" + dumps(module.__name__, 2)


TYPES: dict[type, Encoder] = {
    FunctionType: tracked(_encode_function),
    MethodType: tracked(_encode_method),
    functools.partial: tracked(_encode_partial),
    BuiltinFunctionType: tracked(_encode_builtin),
    MethodWrapperType: tracked(_encode_builtin),
    MethodDescriptorType: _encode_descriptor,
    ClassMethodDescriptorType: _encode_descriptor,
    WrapperDescriptorType: _encode_descriptor,
    GetSetDescriptorType: _encode_descriptor,
    MemberDescriptorType: _encode_descriptor,
    ModuleType: _encode_module,
    CodeType: encode_code,
}
