"""Who says what stands for a value, by its type, and the error where nobody does.

In this order: a function registered for the type or for a base of it; the value's own
``__ml_cache_key__()``; the encoders of the library that the type, or a base of it, comes
from; what the type is made of (see ``structures``); ``__dask_tokenize__()``; and how it
says it is pickled. Neither ``id()`` nor the default ``repr`` ever stands for anything.
"""

from __future__ import annotations

import copyreg
import functools
import importlib
import pickle
import sys
from collections.abc import Callable, Iterator
from marshal import dumps
from operator import methodcaller
from typing import Any
from weakref import WeakSet

from mlcache.errors import UnhashableArgumentError
from mlcache.keys import arrays, builtin, functions
from mlcache.keys.classes import encode_class, imported, says_how_pickled, type_name
from mlcache.keys.digest import ENCODERS, Encoder, Seen, at, encode, encode_items, tracked

_LIBRARIES = {
    "numpy": "mlcache.keys.scalars",
    "pandas": "mlcache.keys.frames",
    "polars": "mlcache.keys.polars_frames",
    "pyarrow": "mlcache.keys.arrow",
    "scipy": "mlcache.keys.scientific",
    "sklearn": "mlcache.keys.scientific",
    "torch": "mlcache.keys.tensors",
    "PIL": "mlcache.keys.scientific",
}
"""Where the encoders of a library's types are, by its name. Imported when such a value first comes."""

_OWN: dict[type, Encoder] = {**builtin.TYPES, **functions.TYPES, **arrays.TYPES}
_steady: WeakSet[type] = WeakSet()
"""Types of which a value was seen to be pickled in one way twice."""

_REDUCERS = frozenset({"__reduce__", "__reduce_ex__"})

_registered: dict[type, Callable[[Any], object]] = {}


def register_key(kind: type, function: Callable[[Any], object]) -> None:
    """Say what stands for the values of a type, and of the types derived from it.

    Args:
        kind: the type.
        function: takes a value and returns something that can be keyed. Its result goes
            into the key together with the name of the value's type.

    Raises:
        TypeError: if ``kind`` is no type, or ``function`` cannot be called.
    """
    if not isinstance(kind, type) or not callable(function):
        raise TypeError(f"register_key takes a type and a function of a value, not {kind!r} and {function!r}")
    _registered[kind] = function
    _look_again()


def _look_again() -> None:
    """Forget how the types seen so far are encoded, since what is registered has changed."""
    ENCODERS.clear()
    ENCODERS.update({kind: encoder for kind, encoder in _OWN.items() if _registered_for(kind) is None})


def resolve(kind: type) -> Encoder:
    """How values of the type ``kind`` are encoded."""
    registered = _registered_for(kind)
    if registered is not None:
        return _stand_in(b"@registered:", kind, registered)
    from mlcache.keys import standard  # with a dozen modules, which few keys need

    if kind in standard.TYPES:
        return standard.TYPES[kind]
    if hasattr(kind, "__ml_cache_key__"):
        return _stand_in(b"@key:", kind, methodcaller("__ml_cache_key__"))
    if issubclass(kind, type):
        return encode_class
    from mlcache.keys.structures import structure_of

    return _from_library(kind) or structure_of(kind) or _by_own_account(kind) or tracked(_encode_wrapper)


def _registered_for(kind: type) -> Callable[[Any], object] | None:
    return next((_registered[base] for base in kind.__mro__ if base in _registered), None)


def _stand_in(tag: bytes, kind: type, function: Callable[[Any], object]) -> Encoder:
    head = tag + dumps(type_name(kind), 2)

    def body(value: object, seen: Seen) -> bytes:
        standing = _called(function, value)
        if standing is value:
            raise UnhashableArgumentError(type(value), reason="what should stand for it in the key is itself")
        return head + encode(standing, seen)

    return tracked(body)


def _called(function: Callable[[Any], object], value: object) -> object:
    try:
        return function(value)
    except Exception as error:
        reason = f"what should say what stands for it in the key raised {error!r}"
        raise UnhashableArgumentError(type(value), reason=reason) from error


def _from_library(kind: type) -> Encoder | None:
    for base in kind.__mro__:
        module = _LIBRARIES.get(base.__module__.partition(".")[0])
        if module is not None:
            encoder: Encoder | None = importlib.import_module(module).encoder_for(kind)
            if encoder is not None:
                return encoder
    return None


def _by_own_account(kind: type) -> Encoder | None:
    if hasattr(kind, "__dask_tokenize__"):
        return _stand_in(b"@dask:", kind, methodcaller("__dask_tokenize__"))
    if issubclass(kind, Iterator) or not (says_how_pickled(kind) or kind in copyreg.dispatch_table):
        return None
    return tracked(_encode_reduced)


def _encode_reduced(value: Any, seen: Seen) -> bytes:
    """The code of a value that says how it is pickled: what is called, with what, and the state set then."""
    kind = type(value)
    code = _encode_as_pickled(value, seen)
    if kind not in _steady:
        if code != _encode_as_pickled(value, seen):
            raise UnhashableArgumentError(kind, reason="it is pickled in another way each time")
        _steady.add(kind)
    return code


def _encode_as_pickled(value: Any, seen: Seen) -> bytes:
    reduced = _reduce(value)
    if isinstance(reduced, str):
        return _encode_global(value, reduced, seen)
    maker, *rest = reduced
    content = [list(part) if isinstance(part, Iterator) else part for part in rest]
    content += _besides(value)
    try:
        parts = _encode_maker(maker, seen) + dumps(len(content), 2) + encode_items(content, seen)
    except UnhashableArgumentError as error:
        raise at(error, ".__reduce__()") from None
    return b"@reduced:" + encode_class(type(value), seen) + parts


def _besides(value: Any) -> list[object]:
    """The attributes of a value that Python's own base of its class does not know of when it is pickled."""
    from pathlib import PurePath

    from mlcache.keys import standard

    kinds = type(value).__mro__
    place = next(place for place, kind in enumerate(kinds) if not _REDUCERS.isdisjoint(vars(kind)))
    if place == 0 or not (kinds[place] in standard.TYPES or kinds[place] is PurePath):
        return []
    from mlcache.keys.structures import own_attributes

    return [own_attributes(value, kinds[:place])]


def _reduce(value: Any) -> str | tuple[Any, ...]:
    kind = type(value)
    try:
        reducer = copyreg.dispatch_table.get(kind)
        reduced = reducer(value) if reducer else value.__reduce_ex__(4)
    except Exception as error:
        raise UnhashableArgumentError(kind, reason=f"it cannot be pickled: {error}") from error
    if not isinstance(reduced, str) and not (isinstance(reduced, tuple) and reduced):
        raise UnhashableArgumentError(kind, reason=f"it cannot be pickled: it reduces to {reduced!r:.80}")
    return reduced


def _encode_maker(maker: Any, seen: Seen) -> bytes:
    """The code of what is called to make an object anew: its name, by which it has to be found."""
    if type(maker) is functools.partial:
        bound = encode_items((maker.args, maker.keywords), seen)
        return b"@partial:" + bound + _encode_maker(maker.func, seen)
    name = type_name(maker if hasattr(maker, "__name__") else type(maker))
    if not hasattr(maker, "__name__") or imported(maker) is not maker:
        raise UnhashableArgumentError(type(maker), reason=f"{name} cannot be imported")
    return dumps(name, 2)


def _encode_global(value: Any, name: str, seen: Seen) -> bytes:
    """The code of a value that is pickled by its name, if that is where it is."""
    if "__wrapped__" in getattr(value, "__dict__", ()):
        return _encode_wrapper(value, seen)
    module: str = pickle.whichmodule(value, name)  # type: ignore[attr-defined] # typeshed lacks it
    found: object = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not value:
        reason = f"it says that it is {module}.{name}, which it is not"
        raise UnhashableArgumentError(type(value), reason=reason)
    return b"@global:" + dumps((module, name), 2)


def _encode_wrapper(value: object, seen: Seen) -> bytes:
    """The code of a callable object that wraps a function and says so, such as ``lru_cache`` makes."""
    says_so = "__wrapped__" in getattr(value, "__dict__", ()) or hasattr(type(value), "__wrapped__")
    if not says_so or not callable(value):
        raise UnhashableArgumentError(type(value))
    return b"@wrapper:" + dumps(type_name(type(value)), 2) + _encode_wrapped(value, seen)


def _encode_wrapped(value: Any, seen: Seen) -> bytes:
    try:
        return encode(value.__wrapped__, seen)
    except UnhashableArgumentError as error:
        raise at(error, ".__wrapped__") from None


def _name_where_found(kind: type) -> str | None:
    return type_name(kind) if imported(kind) is kind else None


ENCODERS.resolve = resolve
ENCODERS.name_of = _name_where_found
_look_again()
