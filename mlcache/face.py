"""What the two faces of a cached function have in common: identity, pickling, printing, binding."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from functools import cached_property
from operator import attrgetter
from pickle import PicklingError
from types import MethodType
from typing import Any, Generic, ParamSpec, Self, TypeVar, cast

from mlcache import forks
from mlcache.actions import Actions

P = ParamSpec("P")
R = TypeVar("R")

_SCRIPTS = ("__main__", "__mp_main__")
"""Modules that are not the same in all processes."""
_UNNAMED = ", which is not found by its name: keep it under that name in a module, or use cloudpickle"
_BY_OWN_NAME = 4
"""The first protocol of pickle that finds a function by a dotted name at once, not by way of its owner."""


class Face(Generic[P, R]):
    """What both faces have in common.

    Args:
        actions: of the function.
    """

    __wrapped__: Callable[P, Any]
    __name__: str
    __qualname__: str
    _bound: tuple[Any, ...] = ()
    """What comes before the arguments: the instance, where it was taken from one."""
    _installed = False

    def __init__(self, actions: Actions) -> None:
        functools.update_wrapper(cast("Callable[..., Any]", self), actions.function, updated=())
        for name, value in getattr(actions.function, "__dict__", {}).items():
            if not hasattr(type(self), name):  # the function's own attributes must not hide ours
                self.__dict__.setdefault(name, value)
        if actions.parameters.without:
            self.__signature__ = actions.parameters.signature()
        self._actions = actions
        self._lock = threading.RLock()
        forks.tend(self)

    def _install(self, *, suspends: bool) -> Callable[..., Any]:
        """Compile the call and make it this object's ``__call__``.

        Only a type can have a ``__call__``, so the object moves to a type of its own. A method
        that looks the compiled function up at each call would add a quarter to the price of a hit.
        """
        with self._lock:
            if not self._installed:
                call = self._actions.compile_call(suspends=suspends)
                kind = type(self)
                body = {
                    "__call__": staticmethod(call),
                    "__doc__": self.__doc__,
                    "__module__": kind.__module__,
                }
                self.__class__ = type(kind.__name__, (kind,), body)  # pyright: ignore[reportAttributeAccessIssue]
                self._installed = True
        return cast("Callable[..., Any]", self)

    def after_fork(self) -> None:
        """Be ready to compile in a child that was forked while another thread did."""
        self._lock = threading.RLock()

    def __ml_cache_key__(self) -> object:
        """As an argument or in a closure, a cached function is what its function is."""
        return self._actions.identity.digest

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickled by name, as functions are, or as ``sending`` says where the name does not lead here."""
        path, named = self._path, self._is_found_by_name
        if named and (self.__module__ not in _SCRIPTS or protocol < _BY_OWN_NAME):
            return path
        if protocol < _BY_OWN_NAME:
            raise PicklingError(f"can't pickle {path}{_UNNAMED}")
        kind = type(self).__base__ if self._installed else type(self)
        return Face._arrive, (kind, self.__module__, path, self._actions.identity.digest), self._contents

    @staticmethod
    def _arrive(kind: type[Face[Any, Any]], module: str, path: str, digest: bytes) -> Face[Any, Any]:
        """What is here by that name, if it is the same function; else one that its contents will make so."""
        here: Any = _found(module, path)
        if isinstance(here, Method):  # the name of a class method leads to a bound one
            here = here.__func__
        same = isinstance(here, Face) and here._actions.identity.digest == digest  # noqa: SLF001 - of its own kind
        return here if same else object.__new__(kind)

    def __setstate__(self, contents: Callable[[], Any]) -> None:
        if "_actions" not in vars(self):
            from mlcache import sending  # which few processes need

            cast("Any", self).__init__(sending.unpack(contents))

    @cached_property
    def _contents(self) -> Callable[[], Any]:
        # Where pickle does not find it by this name, that is all of the message that can be ours.
        name = "._contents" if self._is_found_by_name else _UNNAMED
        from mlcache import sending

        return sending.pack(self._actions, self.__module__, f"{self._path}{name}")

    @property
    def _is_found_by_name(self) -> bool:
        return _found(self.__module__, self._path) is self

    @property
    def _path(self) -> str:
        """What leads here from the module."""
        name = getattr(self, "__qualname__", None)
        if name is None:
            raise PicklingError(f"{self!r} has no name, and it is by name that functions are pickled")
        return f"{name}{self._suffix}"

    @property
    def _suffix(self) -> str:
        """What is behind the name of the function."""
        return ""

    def __repr__(self) -> str:
        name = f"{self.__module__}.{getattr(self, '__qualname__', None) or repr(self._actions.function)}"
        opened = self._actions.opened
        how = f", {opened.store!r}, {opened.terms.expiry}" if opened else ""
        return f"<ml_cache of {name}{how}>"


def _found(module: str, path: str) -> object:
    """What a dotted name leads to in a module that is imported; None if nowhere."""
    place: object = sys.modules.get(module)
    for name in path.split("."):
        place = getattr(place, name, None)
    return place


class ClassMethod(classmethod):  # type: ignore[type-arg] # of any class and function
    """A class method that is bound by its function's own ``__get__``, as Python did before 3.13."""

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self.__func__.__get__(type(instance) if owner is None else owner)

    def __reduce__(self) -> Any:
        return ClassMethod, (self.__func__,)  # pickle and cloudpickle know those that are Python's own only


class Method:
    """A cached function taken from an instance, which comes before the arguments.

    Args:
        function: of the class.
        instance: it was taken from.
    """

    def __init__(self, function: Any, instance: Any) -> None:
        self.__func__ = function
        self.__self__ = instance
        self._actions = function._actions  # noqa: SLF001 - of the same kind
        self._bound = (instance,)
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__

    def after_fork(self) -> None:
        """Be ready to compile in a child that was forked while another thread did."""
        self._lock = threading.RLock()

    def __ml_cache_key__(self) -> object:
        """As an argument or in a closure, it is what its function and its instance are."""
        return self._actions.identity.digest, self.__self__

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.__func__, name)
        if name == "__wrapped__":
            return MethodType(value, self.__self__)
        if name == "__signature__":
            return value.replace(parameters=list(value.parameters.values())[1:])
        return value

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, Method) and self.__func__ is other.__func__
        return same and self.__self__ is cast("Method", other).__self__

    def __hash__(self) -> int:
        return hash((id(self.__func__), id(self.__self__)))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return attrgetter(self.__func__.__name__ + self.__func__._suffix), (self.__self__,)  # noqa: SLF001 - as above
