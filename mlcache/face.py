"""What the two faces of a cached function have in common: identity, pickling, printing, binding."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from pickle import PicklingError
from types import MethodType
from typing import Any, Generic, ParamSpec, Self, TypeVar, cast

from mlcache import forks
from mlcache.actions import Actions

P = ParamSpec("P")
R = TypeVar("R")


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

    def __reduce__(self) -> Any:
        """Pickled by name, as functions are."""
        name = getattr(self, "__qualname__", None)
        if name is None:
            raise PicklingError(f"{self!r} has no name, and it is by name that functions are pickled")
        return name

    def __repr__(self) -> str:
        name = f"{self.__module__}.{getattr(self, '__qualname__', None) or repr(self._actions.function)}"
        opened = self._actions.opened
        how = f", {opened.store!r}, {opened.terms.expiry}" if opened else ""
        return f"<ml_cache of {name}{how}>"


class ClassMethod(classmethod):  # type: ignore[type-arg] # of any class and function
    """A class method that is bound by its function's own ``__get__``, as Python did before 3.13."""

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self.__func__.__get__(type(instance) if owner is None else owner)


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
        return value.__get__(self.__self__) if name == "aio" else value

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, Method) and self.__func__ is other.__func__
        return same and self.__self__ is cast("Method", other).__self__

    def __hash__(self) -> int:
        return hash((id(self.__func__), id(self.__self__)))

    def __reduce__(self) -> Any:
        return getattr, (self.__self__, self.__func__.__name__)
