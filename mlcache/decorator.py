"""``@ml_cache``: the decorator and the checks of its keywords."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, cast, get_args, overload

from mlcache import keys
from mlcache.actions import Actions
from mlcache.cache import Options
from mlcache.cached import CachedFunction
from mlcache.engines import OffloadSpec, check_offload
from mlcache.entry import Expiry, Ttl
from mlcache.errors import ConfigurationError
from mlcache.face import ClassMethod, Face
from mlcache.stores import BackendSpec, Returns, check_backend

if TYPE_CHECKING:
    from mlcache.batch.options import Batch
    from mlcache.cached_async import AsyncCachedFunction

P = ParamSpec("P")
R = TypeVar("R")

CoroutineFunction = Callable[P, Coroutine[Any, Any, R]]
# A coroutine function is also a function that returns R, so mypy sees an overlap in each pair of
# overloads below. The first that fits is taken, which is what is meant.


class _Nothing:
    """What no function returns: so of all plain functions only those without types fit to it."""


class Decorator(Protocol):
    """What ``ml_cache`` with keywords alone returns."""

    @overload
    def __call__(self, function: Callable[P, _Nothing], /) -> CachedFunction[P, Any]: ...

    @overload
    def __call__(self, function: CoroutineFunction[P, R], /) -> AsyncCachedFunction[P, R]: ...  # type: ignore[overload-overlap]

    @overload
    def __call__(self, function: Callable[P, R], /) -> CachedFunction[P, R]: ...


@overload
def ml_cache(function: Callable[P, _Nothing], /) -> CachedFunction[P, Any]: ...


@overload
def ml_cache(function: CoroutineFunction[P, R], /) -> AsyncCachedFunction[P, R]: ...  # type: ignore[overload-overlap]


@overload
def ml_cache(function: Callable[P, R], /) -> CachedFunction[P, R]: ...


@overload
def ml_cache(
    *,
    backend: BackendSpec = None,
    ttl: Ttl | Expiry = None,
    ignore: str | Iterable[str] = (),
    key: Mapping[str, Callable[[Any], Any]] | None = None,
    version: str | None = "code",
    when: Callable[[Any], object] | None = None,
    returns: Returns = "readonly",
    batch: str | Batch | None = None,
    offload: OffloadSpec = None,
    name: str | None = None,
) -> Decorator: ...


def ml_cache(  # noqa: PLR0913 - ten keywords, which is the bound
    function: Any = None,
    /,
    *,
    backend: BackendSpec = None,
    ttl: Ttl | Expiry = None,
    ignore: str | Iterable[str] = (),
    key: Mapping[str, Callable[[Any], Any]] | None = None,
    version: str | None = "code",
    when: Callable[[Any], object] | None = None,
    returns: Returns = "readonly",
    batch: str | Batch | None = None,
    offload: OffloadSpec = None,
    name: str | None = None,
) -> Any:
    """Cache what a function returns, by the content of its arguments.

    It is used with or without parentheses, on functions, lambdas, methods (above or below
    ``@staticmethod`` and ``@classmethod``), ``functools.partial`` objects, bound methods and
    coroutine functions. While a call is being computed, all who make the same call wait for it.

    Args:
        function: what to cache.
        backend: a name (``"lru"``), a URL (``"disk:///var/cache/ml?max_bytes=10GiB"``), a backend,
            or several, nearest first: a list, or one text with commas. None: ``MLCACHE_BACKEND``,
            else ``lru``.
        ttl: how long an answer may be used: seconds, ``"1h30m"``, a timedelta, an aware datetime,
            a function of the value that gives one of these, or an ``Expiry``. None:
            ``MLCACHE_TTL``, else for ever.
        ignore: names of parameters, or of closure variables, left out of the key.
        key: by name of a parameter or closure variable, a function of the argument whose result
            stands for it in the key.
        version: what the function's code contributes to the key: ``"code"`` a digest of it, which
            comments and formatting do not change; any other text that text; None nothing.
        when: a function of the value; where it is false, the value is not kept.
        returns: ``"readonly"``: arrays come back read-only and shared, containers fresh.
            ``"copy"``: everything is the caller's own. ``"reference"``: the very object that is kept.
        batch: the name of the parameter that takes many items, or a ``Batch``: the function is then cached
            item by item, and called with the items that are missing.
        offload: what computes misses: a number of worker processes, shared with all functions that name
            the same number; a ``Pool``; or a ``concurrent.futures.Executor``. 0: the caller itself. None:
            ``MLCACHE_OFFLOAD_WORKERS``, else 0. Parameters that its ``resources`` name are passed by it,
            and are neither the callers' nor part of the key.
        name: the name under which answers are kept, where module and qualified name will not do.

    Returns:
        A ``CachedFunction``, or for a coroutine function an ``AsyncCachedFunction``; without
        ``function``, a decorator that returns these.

    Raises:
        ConfigurationError: a keyword's value is not understood, or the function cannot be cached.
        UnhashableArgumentError: the function closes over something that has no stable key.
    """
    _refuse_coroutine("ttl", ttl)
    many = None if batch is None else _batch(batch)
    options = Options(
        backend=check_backend(backend),
        expiry=ttl if isinstance(ttl, Expiry) else None if ttl is None else Expiry(ttl),
        ignore=_names(ignore),
        stand_ins=_stand_ins(key),
        version=_version(version),
        when=_when(when),
        returns=_returns(returns),
        name=_name(name),
        offload=check_offload(offload),
    )
    if function is None:
        return lambda function: _decorate(function, options, many)
    return _decorate(function, options, many)


def _decorate(function: Any, options: Options, batch: Batch | None) -> Any:
    if isinstance(function, staticmethod):
        return staticmethod(_decorate(function.__func__, options, batch))
    if isinstance(function, classmethod):
        return ClassMethod(_decorate(function.__func__, options, batch))
    suspends = _check_function(function, options)
    actions = _actions(function, options, batch, suspends=suspends)
    _check_names(actions, options)
    return _face(actions)


def _face(actions: Actions) -> Face[Any, Any]:
    if not actions.suspends:
        return CachedFunction(actions)
    from mlcache.cached_async import AsyncCachedFunction

    return AsyncCachedFunction(actions)


def _actions(function: Any, options: Options, batch: Batch | None, *, suspends: bool) -> Actions:
    if batch is None:
        return Actions(function, options, suspends=suspends)
    from mlcache.batch.actions import BatchActions  # an eighth of what importing the library would cost

    return BatchActions(function, options, batch, suspends=suspends)


def _check_names(actions: Actions, options: Options) -> None:
    for name in options.ignore & options.stand_ins.keys():
        raise ConfigurationError(f"{name!r} is in ignore and in key: it either counts or it does not")
    known = keys.bound_names(actions.function)
    for option, names in (("ignore", options.ignore), ("key", options.stand_ins)):
        actions.parameters.check(option, names, known)


def _check_function(function: Any, options: Options) -> bool:
    """Whether it is a coroutine function."""
    if isinstance(function, property | cached_property):
        name = type(function).__name__
        raise ConfigurationError(f"ml_cache takes a function, and not a {name}: put @{name} above @ml_cache")
    if not callable(function):
        raise ConfigurationError(
            f"ml_cache takes a function, and its options by keyword, not {function!r}: "
            "such as @ml_cache(backend='disk')"
        )
    call = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004
    what = f"{getattr(function, '__qualname__', function)!s}"
    if isinstance(function, type):
        raise ConfigurationError(f"{what} is a class: decorate a function that makes the object, or a method")
    if isinstance(function, Face):
        raise ConfigurationError(f"{what} is cached already: give several backends to one ml_cache instead")
    if _any(inspect.isgeneratorfunction, function, call) or _any(inspect.isasyncgenfunction, function, call):
        raise ConfigurationError(
            f"{what} is a generator function: what it yields exists once, so there is nothing to keep for "
            "the next caller. Return a list, or cache the function that makes one item"
        )
    if options.version != "code" and options.name is None and what.endswith("<lambda>"):
        raise ConfigurationError("a lambda has no name of its own: with version, give it one by name=")
    return _any(inspect.iscoroutinefunction, function, call)


def _any(test: Callable[[Any], bool], *functions: Any) -> bool:
    return any(map(test, functions))


def _refuse_coroutine(option: str, function: object) -> None:
    if inspect.iscoroutinefunction(function):
        raise ConfigurationError(f"{option} is a coroutine function, which nobody awaits: give a plain one")


def _batch(batch: Any) -> Batch:
    from mlcache.batch.options import as_batch

    return as_batch(batch)


def _names(ignore: Any) -> frozenset[str]:
    names: list[Any] = list(ignore) if isinstance(ignore, Iterable) else [ignore]
    names = [ignore] if isinstance(ignore, str) else names
    if not all(isinstance(name, str) for name in names):
        raise ConfigurationError(f"ignore is {ignore!r}: give names of parameters, such as ignore=['device']")
    return frozenset(names)


def _stand_ins(key: Any) -> dict[str, Callable[[Any], Any]]:
    if key is None:
        return {}
    if not isinstance(key, Mapping) or not all(isinstance(k, str) and callable(f) for k, f in key.items()):
        raise ConfigurationError(
            f"key is {key!r}: give a function for each parameter, "
            "such as key={'model': lambda model: model.id}"
        )
    for name, function in key.items():
        _refuse_coroutine(f"key of {name!r}", function)
    return dict(key)


def _version(version: Any) -> str | None:
    if version is None or (isinstance(version, str) and version):
        return version
    raise ConfigurationError(f"version is {version!r}: give 'code', 'deps', a text such as 'v2', or None")


def _when(when: Any) -> Callable[[Any], object] | None:
    _refuse_coroutine("when", when)
    if when is None or callable(when):
        return cast("Callable[[Any], object] | None", when)
    raise ConfigurationError(f"when is {when!r}: give a function of the value, such as when=bool")


def _returns(returns: Any) -> Returns:
    if returns in (known := get_args(Returns)):
        return cast("Returns", returns)
    raise ConfigurationError(f"returns is {returns!r}: give one of {', '.join(map(repr, known))}")


def _name(name: Any) -> str | None:
    if name is None or (isinstance(name, str) and name.strip()):
        return name
    raise ConfigurationError(f"name is {name!r}: give a text that is not empty, such as name='embed'")
