"""The identity of a function that is cached: what tells it from every other one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from marshal import dumps
from types import FunctionType, MethodType
from typing import Any

import msgspec

from mlcache.errors import UnhashableArgumentError
from mlcache.keys.classes import type_name
from mlcache.keys.code import encode_code
from mlcache.keys.dependencies import dependencies
from mlcache.keys.digest import Seen, digest, encode
from mlcache.keys.functions import closure_of, encode_cell

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
    owners: list[object]
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
        version: ``"code"``: what the code does counts; ``"deps"``: so does what it refers to in its own
            package; None: it does not; any other text counts in its place.
        ignore: names of closure variables, or ``"self"``, that do not count.
        stand_ins: what stands for the content of a closure variable, or for ``"self"``.
        name: what to call it; None: module and qualified name.

    Raises:
        UnhashableArgumentError: if something that is bound to the function cannot be keyed.
    """
    parts = _take_apart(function)
    name = name or type_name(_named(parts.inner))
    seen: Seen = {id(parts.inner): 0}
    codes = _variables(parts.inner, ignore, stand_ins, seen)
    if "self" not in ignore:
        codes += [_owner(owner, stand_ins.get("self"), seen) for owner in parts.owners]
    codes += [_argument(each, content) for each, content in _partial_arguments(parts)]
    feed = (name, _version(parts.inner, version), len(parts.arguments), codes)
    return Identity(name, digest(feed, b"identity"))


def _named(function: Any) -> Any:
    return function if hasattr(function, "__qualname__") or hasattr(function, "__name__") else type(function)


def _take_apart(function: Callable[..., Any]) -> _Parts:
    parts = _Parts(function, [], [])
    while True:
        inner = parts.inner
        if isinstance(inner, functools.partial):
            parts.arguments.append((inner.args, inner.keywords))
            parts.inner = inner.func
        elif isinstance(inner, MethodType):
            parts.owners.append(inner.__self__)
            parts.inner = inner.__func__
        elif _is_instance(inner):
            parts.owners.append(inner)
            parts.inner = type(inner).__call__
        else:
            return parts


def _is_instance(function: Callable[..., Any]) -> bool:
    """Whether it is an object whose class has a method ``__call__``."""
    if isinstance(function, type) or hasattr(function, "__wrapped__"):
        return False
    return isinstance(getattr(type(function), "__call__", None), FunctionType)  # noqa: B004  # of the class, not whether


def _variables(
    function: Callable[..., Any],
    ignore: frozenset[str],
    stand_ins: Mapping[str, Callable[[Any], object]],
    seen: Seen,
) -> list[bytes]:
    codes = []
    for name, cell in sorted(closure_of(function).items()):
        if name in ignore:
            continue
        try:
            codes.append(dumps(name, 2) + encode_cell(cell, seen, stand_ins.get(name)))
        except UnhashableArgumentError as error:
            raise error.of(name) from None
    return codes


def _owner(owner: object, stand_in: Callable[[Any], object] | None, seen: Seen) -> bytes:
    try:
        return b"@self:" + encode(owner if stand_in is None else stand_in(owner), seen)
    except UnhashableArgumentError as error:
        raise error.of("self") from None


def _partial_arguments(parts: _Parts) -> Iterator[tuple[str, object]]:
    for arguments, keywords in parts.arguments:
        yield "*", len(arguments)
        yield from ((f"args[{place}]", argument) for place, argument in enumerate(arguments))
        yield from sorted(keywords.items())


def _argument(name: str, content: object) -> bytes:
    try:
        return dumps(name, 2) + encode(content, {})
    except UnhashableArgumentError as error:
        raise error.of(name) from None


def _version(function: Callable[..., Any], version: str | None) -> object:
    if version not in {"code", "deps"}:
        return version
    if not isinstance(function, FunctionType):
        return digest(function, b"version")
    wrapped = function.__dict__.get("__wrapped__")
    code = digest((encode_code(function.__code__, {}), wrapped), b"version")
    return code if version == "code" else (code, dependencies(function))
