"""Any function as a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlcache.errors import ConfigurationError
from mlcache.sizes import size_of


class CallableModel:
    """A model made of a function.

    Args:
        function: takes a frame and returns an array; it may be called from several threads at a time.
        size: bytes that it takes in memory; None: those of the object whose method it is.
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
        return size_of(getattr(self._function, "__self__", self._function))

    def close(self) -> None:
        """Call what was given for it."""
        if self._close is not None:
            self._close()

    def __repr__(self) -> str:
        return f"CallableModel({self._function!r})"
