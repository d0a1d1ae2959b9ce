"""Any function as a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any

from mlcache.errors import ConfigurationError
from mlcache.sizes import size_of


class CallableModel:
    """A model made of a function.

    Args:
        function: takes a frame and returns an array; it may be called from several threads at a time.
        size: bytes that it takes in memory; None: those of the object whose method it is, and of what it
            closes over, but not of what it finds among the names of its module.
        close: called when the model has left memory.
        version: of the model, where its repository does not tell.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        *,
        size: int | None = None,
        close: Callable[[], object] | None = None,
        version: str = "",
    ) -> None:
        if not callable(function):
            raise ConfigurationError(f"a model is made of a function, not of {function!r}")
        self._function = function
        self._size = size
        self._close = close
        self.version = version

    def predict(self, frame: Any, /) -> Any:
        """What the function returns."""
        return self._function(frame)

    def size(self) -> int:
        """Bytes in memory."""
        if self._size is not None:
            return self._size
        return size_of(_with_all_it_holds(self._function))

    def close(self) -> None:
        """Call what was given for it."""
        if self._close is not None:
            self._close()

    def __repr__(self) -> str:
        return f"CallableModel({self._function!r})"


def _with_all_it_holds(function: Any) -> list[Any]:
    """A function and what it holds, through all functions among that: sizes do not look into these."""
    met: dict[int, Any] = {}
    todo = [function]
    while todo:
        each = todo.pop()
        if id(each) not in met:
            met[id(each)] = each
            todo.extend(_held_by(each))
    return list(met.values())


def _held_by(function: Any) -> Iterable[Any]:
    if isinstance(function, partial):
        return function.func, *function.args, *function.keywords.values()
    if isinstance(function, MethodType):
        return function.__func__, function.__self__
    if not isinstance(function, FunctionType):
        return ()
    closed_over = map(_contents, function.__closure__ or ())
    defaults = function.__defaults__ or (), (function.__kwdefaults__ or {}).values()
    return *closed_over, *defaults[0], *defaults[1]


def _contents(cell: CellType) -> Any:
    with suppress(ValueError):  # nothing was put there yet
        return cell.cell_contents
    return None
