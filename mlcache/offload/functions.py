"""Functions as bytes: by reference where they can be imported, else by value; without their cache.

A reference is a module, a qualified name, and how many times ``__wrapped__`` has to be followed
from what is found there: the name of a decorated function leads to the decorated one, and it is the
function below that is meant. Before a reference is used it is looked up here, and must lead to
exactly this function.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import itertools
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, cast
from weakref import WeakKeyDictionary

import msgspec

from mlcache import switch
from mlcache.errors import ConfigurationError, MissingExtraError
from mlcache.offload import editions
from mlcache.offload.coroutines import finish, is_coroutine_function

Function = Callable[..., Any]

_BY_REFERENCE, _BY_VALUE, _OBJECT, _METHOD, _PARTIAL = b"R", b"V", b"O", b"M", b"P"
_NAMED = (FunctionType, BuiltinFunctionType)
_SMALL = 1 << 16
"""Bytes up to which many functions are held in a worker; of larger ones, which hold data, only a few."""
_DEEPEST = 100
"""Decorators that a reference may lie below."""


def pack(function: Function) -> bytes:
    """The bytes from which ``unpack`` makes the same function in another process.

    Raises:
        MissingExtraError: it has to go by value, and cloudpickle is not installed.
        Exception: it holds something that cannot be pickled; whatever that raises.
    """
    if type(function) in _NAMED and (reference := _if_top_level(function)) is not None:
        return reference
    function = uncached(function)
    if isinstance(function, MethodType):
        owner = function.__self__
        editions.note_module((owner if isinstance(owner, type) else type(owner)).__module__)
        return _METHOD + msgspec.msgpack.encode((pack(function.__func__), dumps(owner)))
    if isinstance(function, functools.partial):
        held = dumps((function.args, function.keywords))
        return _PARTIAL + msgspec.msgpack.encode((pack(function.func), held))
    place = _place_of(function)
    if place is not None:
        return _noted(place, function)
    by_value = isinstance(function, FunctionType)
    editions.note_module((function if by_value else type(function)).__module__)  # they call into it
    return (_BY_VALUE if by_value else _OBJECT) + dumps(function)


def check(function: Function) -> None:
    """Refuse early what ``pack`` would refuse at the first call for want of cloudpickle.

    Raises:
        MissingExtraError: as ``pack``.
    """
    inner: Any = uncached(function)
    while isinstance(inner, functools.partial | MethodType):
        inner = uncached(inner.func if isinstance(inner, functools.partial) else inner.__func__)
    name = getattr(inner, "__qualname__", "")
    if "<" in name or getattr(inner, "__module__", None) == "__main__":  # <lambda>, <locals>
        _cloudpickle()


def unpack(data: bytes) -> Function:
    """What a worker calls in place of the function.

    It runs a coroutine function to its end, and calls cached functions as if they were plain. The
    same bytes give the same function, so that the globals of one that goes by value last; the object
    of a method and the arguments of a partial object are made anew each time.

    Raises:
        Exception: the function or something that it holds cannot be found or made here.
    """
    if data[:1] in (_BY_REFERENCE, _BY_VALUE):
        return _held(data)
    return _in_worker(_rebuild(data))


def resource_names(function: Function, resources: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of those ``resources`` for which the function has a parameter.

    Raises:
        ConfigurationError: one of these can be passed by position only.
    """
    if not resources:
        return ()
    named = parameters_of(function)
    for name in resources:
        if named.get(name) is inspect.Parameter.POSITIONAL_ONLY:
            raise ConfigurationError(
                f"the resource {name!r} is passed by name, and {_shown(function)} takes it by position only: "
                "move it behind the '/'"
            )
    return tuple(name for name in resources if name in named)


def parameters_of(function: Function) -> Mapping[str, Any]:
    """The parameters that can be passed by themselves, by name, with their kinds."""
    try:
        found = _named.get(function)
    except TypeError:  # no weak references to it, or no hash
        return _read_parameters(function)
    if found is None:
        found = _named[function] = _read_parameters(function)
    return found


_named: WeakKeyDictionary[Any, Mapping[str, Any]] = WeakKeyDictionary()


def _read_parameters(function: Function) -> dict[str, Any]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some functions of C do not show theirs
        return {}
    collecting = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {each.name: each.kind for each in parameters if each.kind not in collecting}


def uncached(function: Function) -> Function:
    """The function below the cache, if it is a cached one."""
    face = getattr(sys.modules.get("mlcache.face"), "Face", None)
    inner: Any = function
    while face is not None and isinstance(inner, face):
        inner = inner.__wrapped__
    return cast("Function", inner)


def dumps(value: object) -> bytes:
    """``value`` pickled, by cloudpickle where it refers to what only this process has.

    Raises:
        MissingExtraError: cloudpickle would be needed, and is not installed.
    """
    try:
        data = pickle.dumps(value, protocol=5)
    except Exception:  # noqa: BLE001 - pickling runs the code of any class
        data = b""
    if data and b"__main__" not in data:
        return data
    packed: bytes = _cloudpickle().dumps(value, protocol=5)
    return packed


def _cloudpickle() -> Any:
    try:
        import cloudpickle
    except ImportError:
        what = "sending to another process what it cannot import (a lambda, an inner function, __main__)"
        raise MissingExtraError(what, "cloudpickle", "offload") from None
    return cloudpickle


@functools.lru_cache(1024)
def _reference(module: str, name: str, depth: int) -> bytes:
    return _BY_REFERENCE + msgspec.msgpack.encode((module, name, depth))


def _if_top_level(function: Function) -> bytes | None:
    """The reference to a function that its module has under its own name, as most are."""
    module, name = function.__module__, function.__qualname__
    here = sys.modules.get(module)
    if type(here) is not ModuleType or module == "__main__" or getattr(here, "__spec__", None) is None:
        return None
    return _noted((module, name, 0), function) if vars(here).get(name) is function else None


def _noted(place: tuple[str, str, int], function: Any) -> bytes:
    reference = _reference(*place)
    editions.note(place[0], reference, function)
    return reference


def _place_of(function: Any) -> tuple[str, str, int] | None:
    """Where the function is found by whoever imports its module; None if nowhere."""
    if isinstance(function, BuiltinFunctionType) and not inspect.ismodule(function.__self__):
        return None  # a method of an object
    module = getattr(function, "__module__", None)
    name = getattr(function, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or "<" in name or module == "__main__":
        return None
    here = sys.modules.get(module)
    if here is None or getattr(here, "__spec__", None) is None:  # made in this process: none can import it
        return None
    for depth, layer in enumerate(_layers(_lookup(here, name))):
        if layer is function:
            return module, name, depth
    return None


def _lookup(module: Any, name: str) -> Any:
    """What ``name``, with dots, leads to, without binding it; None if to nothing."""
    found = module
    for part in name.split("."):
        if type(found) is ModuleType and part in vars(found):  # most are, and the rest takes much longer
            found = vars(found)[part]
            continue
        try:
            found = inspect.getattr_static(found, part)
        except AttributeError:
            found = getattr(found, part, None)
    return found


def _layers(found: Any) -> Iterator[Any]:
    """What was found, and what each layer of it wraps."""
    for _ in range(_DEEPEST):
        if found is None:
            return
        yield found
        found = getattr(found, "__wrapped__", None)  # static and class methods have it, too


def _rebuild(data: bytes) -> Function:
    function: Function
    if data[:1] in (_BY_REFERENCE, _BY_VALUE):
        function = _held(data).__wrapped__  # type: ignore[attr-defined]
    elif data[:1] == _OBJECT:
        function = pickle.loads(data[1:])  # noqa: S301 - packed by this program
    else:
        inner, held = msgspec.msgpack.decode(data[1:], type=tuple[bytes, bytes])
        function = _bind(data[:1], _rebuild(inner), pickle.loads(held))  # noqa: S301 - packed by this program
    return function


def _bind(kind: bytes, function: Function, held: Any) -> Function:
    if kind == _METHOD:
        return MethodType(function, held)
    args, kwargs = held
    return functools.partial(function, *args, **kwargs)


def _held(data: bytes) -> Function:
    return (_rebuild_small if len(data) <= _SMALL else _rebuild_large)(data)


def _rebuild_function(data: bytes) -> Function:
    if data[:1] == _BY_REFERENCE:
        return _in_worker(_find(*msgspec.msgpack.decode(data[1:], type=tuple[str, str, int])))
    return _in_worker(pickle.loads(data[1:]))  # noqa: S301 - packed by this program


_rebuild_small = functools.lru_cache(maxsize=256)(_rebuild_function)
_rebuild_large = functools.lru_cache(maxsize=2)(_rebuild_function)


def _find(module: str, name: str, depth: int) -> Function:
    found = _lookup(importlib.import_module(module), name)
    function: Function | None = next(itertools.islice(_layers(found), depth, None), None)
    if function is None:
        raise AttributeError(
            f"{module} has no {name} here, below {depth} decorators: does this process run other code?"
        )
    return function


def _in_worker(function: Function) -> Function:
    suspends = is_coroutine_function(function)

    def call(*args: Any, **kwargs: Any) -> Any:
        if switch.is_plain() and not suspends:
            return function(*args, **kwargs)
        with switch.plain():
            return finish(function(*args, **kwargs)) if suspends else function(*args, **kwargs)

    return functools.update_wrapper(call, function, updated=())


def _shown(function: Any) -> str:
    return str(getattr(function, "__qualname__", function))
