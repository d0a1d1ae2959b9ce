"""What a function's code refers to in its own package: other functions, classes, simple globals.

Followed from name to name, it makes a version that changes when a helper does. It sees what
is named: globals, and attributes of modules. What is looked up in other ways (``getattr``,
methods of objects, other packages) it does not see.
"""

from __future__ import annotations

import dis
import warnings
from collections.abc import Iterator
from itertools import pairwise
from types import CodeType, FunctionType, ModuleType
from typing import Any

from mlcache.errors import MlcacheWarning, UnhashableArgumentError
from mlcache.keys.classes import type_name
from mlcache.keys.digest import digest

_LOADS = frozenset({"LOAD_GLOBAL", "LOAD_NAME"})
_ATTRIBUTES = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
_MISSING = object()


def dependencies(function: FunctionType) -> dict[str, bytes]:
    """The digests of what ``function`` refers to in its package, directly or not, by name.

    Warns:
        MlcacheWarning: of a global of the package that does not let itself be seen into.
    """
    found: dict[str, bytes] = {}
    package = _package(function)
    waiting = [function]
    while waiting:
        current = waiting.pop()
        for name, value in _globals_of(current):
            if name not in found:
                found[name] = _digest_of(name, value, package)
                waiting += _functions_in(value, package)
    return found


def _package(value: Any) -> str:
    module = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
    return str(module or "").partition(".")[0]


def _globals_of(function: FunctionType) -> Iterator[tuple[str, object]]:
    """Each global that the code names, and each attribute of a module, under a name for it."""
    scope = function.__globals__
    where = scope.get("__name__", "")
    for root, attribute in _names_in(function.__code__):
        value = scope.get(root, _MISSING)
        if not isinstance(value, ModuleType):
            if value is not _MISSING:
                yield f"{where}.{root}", value
        elif attribute is not None and _package(value) == _package(function):
            yield f"{value.__name__}.{attribute}", getattr(value, attribute, None)


def _names_in(code: CodeType) -> Iterator[tuple[str, str | None]]:
    steps = [each for each in dis.get_instructions(code) if each.opname != "EXTENDED_ARG"]
    for step, following in pairwise(steps):
        if step.opname in _LOADS:
            yield str(step.argval), str(following.argval) if following.opname in _ATTRIBUTES else None
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


def _functions_in(value: object, package: str) -> list[FunctionType]:
    """The functions that stand for a global of the package: itself, or the methods of a class."""
    value = getattr(value, "__wrapped__", value)
    if _package(value) != package:
        return []
    if isinstance(value, FunctionType):
        return [value]
    if not isinstance(value, type):
        return []
    members = [getattr(member, "__func__", member) for member in value.__dict__.values()]
    inherited = [method for base in value.__bases__ for method in _functions_in(base, package)]
    return [member for member in members if isinstance(member, FunctionType)] + inherited


def _digest_of(name: str, value: object, package: str) -> bytes:
    if isinstance(value, type | FunctionType) or callable(getattr(value, "__wrapped__", None)):
        return digest([_digest_of_function(name, each) for each in _functions_in(value, package)])
    if callable(value) and _package(value) != package:
        return digest(type_name(value if hasattr(value, "__name__") else type(value)))
    try:
        return digest(value)
    except UnhashableArgumentError as error:
        _warn(name, error)
        return b""


def _digest_of_function(name: str, function: FunctionType) -> bytes:
    try:
        return digest(function)
    except UnhashableArgumentError as error:
        _warn(name, error)
        return digest(function.__code__)


def _warn(name: str, error: UnhashableArgumentError) -> None:
    warnings.warn(
        f"version='deps' cannot see into {name}{error.path}, a {type_name(error.kind)}: a change of it will "
        "not be noticed. Give a version of your own, or refer to something simpler",
        MlcacheWarning,
        stacklevel=2,
    )
