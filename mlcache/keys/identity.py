"""The identity of a function that is cached: what tells it from every other one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from marshal import dumps
from types import FunctionType, MethodType
from typing import Any

import msgspec

from mlcache.errors import UnhashableArgumentError
from mlcache.keys.classes import script_of, type_name
from mlcache.keys.code import encode_code
from mlcache.keys.digest import Seen, digest, encode
from mlcache.keys.functions import closure_of, encode_cell
from mlcache.keys.stand_ins import named

_LRU_CACHE = type(functools.lru_cache(len))
_NO_STAND_INS: Mapping[str, Callable[[Any], object]] = {}


class Identity(msgspec.Struct, frozen=True):
    """What tells one function from another.

    Args:
        name: module and qualified name of the innermost function.
        digest: 16 bytes over the name, the version, and all that is bound to the function.
    """

    name: str
    digest: bytes


_OF_A_DECORATOR = "a decorator below @ml_cache holds it: with @ml_cache below that decorator, it needs no key"


class _Parts(msgspec.Struct):
    """A callable taken apart, from the outside in."""

    inner: Callable[..., Any]
    owners: list[object]
    held: list[dict[str, object]]
    """The arguments of each partial object, by the name of their parameter."""
    layers: list[object]
    """What was taken off."""


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
        ignore: names of what does not count: parameters, or what is bound already, see ``bound_names``.
            Which names these are counts, as answers kept without an argument are not those kept with it.
        stand_ins: by such a name, a function whose result counts in its place; the function counts too.
        name: what to call it; None: module and qualified name, and for a function of a script the path of
            the script as well, which counts but is not shown.

    Raises:
        UnhashableArgumentError: if something that is bound to the function cannot be keyed.
    """
    parts = _take_apart(function)
    script = None if name else script_of(_named(parts.inner))
    name = name or type_name(_named(parts.inner))
    seen: Seen = {id(parts.inner): 0}
    standing = {each: named(each, stand_in) for each, stand_in in stand_ins.items()}
    codes = _variables(parts.inner, ignore, standing, seen)
    for bound in [*({"self": owner} for owner in parts.owners), *parts.held]:
        kept = [(each, content) for each, content in sorted(bound.items()) if each not in ignore]
        codes += [b"@bound:", *(_bound(each, content, standing.get(each), seen) for each, content in kept)]
    if not isinstance(parts.inner, FunctionType):  # it may hold something, as an itemgetter does
        codes.append(encode(parts.inner, {}))
    asked = (sorted(ignore), [(each, _stand_in_code(stand_ins[each])) for each in sorted(stand_ins)])
    feed = (name, _version(parts.inner, version), parts.layers, codes, asked, script)
    return Identity(name, digest(feed, b"identity"))


def bound_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """What is bound to ``function`` already: closure variables, ``self``, arguments that a partial holds."""
    parts = _take_apart(function)
    held = [name for each in parts.held for name in each]
    return (*closure_of(parts.inner), *held, *(["self"] if parts.owners else []))


def _named(function: Any) -> Any:
    return function if hasattr(function, "__qualname__") or hasattr(function, "__name__") else type(function)


def _take_apart(function: Callable[..., Any]) -> _Parts:
    parts = _Parts(function, [], [], [])
    while True:
        inner = parts.inner
        if isinstance(inner, functools.partial):
            parts.held.append(_arguments(inner))
            parts.layers.append((len(inner.args), sorted(inner.keywords)))
            parts.inner = inner.func
        elif isinstance(inner, _LRU_CACHE):
            parts.layers.append("lru_cache")
            parts.inner = inner.__wrapped__
        elif isinstance(inner, MethodType):
            parts.owners.append(inner.__self__)
            parts.inner = inner.__func__
        elif _is_instance(inner):
            parts.owners.append(inner)
            parts.inner = type(inner).__call__
        else:
            return parts


def _arguments(held: functools.partial[Any]) -> dict[str, object]:
    """The arguments that a partial object holds, by the name of their parameter or else by their place."""
    try:
        return inspect.signature(held.func).bind_partial(*held.args, **held.keywords).arguments
    except (TypeError, ValueError):  # a function of C may not show its parameters
        return {f"args[{place}]": value for place, value in enumerate(held.args)} | held.keywords


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
            reason = error.reason or (_OF_A_DECORATOR if hasattr(function, "__wrapped__") else "")
            raise UnhashableArgumentError(error.kind, error.path, name, reason) from None
    return codes


def _bound(name: str, content: object, stand_in: Callable[[Any], object] | None, seen: Seen) -> bytes:
    try:
        return dumps(name, 2) + encode(content if stand_in is None else stand_in(content), seen)
    except UnhashableArgumentError as error:
        raise error.of(name) from None


def _stand_in_code(function: Callable[[Any], object]) -> bytes:
    """The code of a function whose result stands in; one that holds a lock, say, goes by its name."""
    try:
        return encode(function, {})
    except UnhashableArgumentError:
        names = (type_name(_named(function)), type_name(type(function)))
        return b"@unkeyed:" + encode((*names, getattr(function, "__code__", None)), {})


def _version(function: Callable[..., Any], version: str | None) -> object:
    if version not in {"code", "deps"}:
        return version
    if not isinstance(function, FunctionType):
        return None
    wrapped = function.__dict__.get("__wrapped__")
    code = digest((encode_code(function.__code__, {}), wrapped), b"version")
    if version == "code":
        return code
    from mlcache.keys.dependencies import dependencies

    return code, dependencies(function)
