"""What the tests of offloading send to other processes, which import it from here."""

from __future__ import annotations

import functools
import os
import threading
import warnings
from collections.abc import Callable
from typing import Any

from mlcache import ml_cache


def add(a: int, b: int = 1) -> int:
    return a + b


@ml_cache
def cached(x: int) -> tuple[int, int]:
    return x, os.getpid()


def doubled(function: Callable[..., int]) -> Callable[..., int]:
    @functools.wraps(function)
    def double(*args: Any, **kwargs: Any) -> int:
        return 2 * function(*args, **kwargs)

    return double


@ml_cache
@doubled
def twice(x: int) -> int:
    """Cached above another decorator."""
    return x


@doubled
@ml_cache
def outside(x: int) -> int:
    """Cached below another decorator."""
    return x


@ml_cache
async def suspending(x: int) -> int:
    return x + 1


def nested(x: int) -> tuple[int, int, int]:
    """Calls cached functions: what they return, and how many are cached after."""
    first = cached(x)
    second = cached(x)
    assert first == second
    return (*first, cached.cache_info().currsize)


class Model:
    def __init__(self, weight: int) -> None:
        self.weight = weight

    def predict(self, x: int) -> int:
        return self.weight * x

    @ml_cache(key={"self": lambda self: self.weight})
    def cached(self, x: int) -> int:
        return self.weight * x

    @staticmethod
    def static(x: int) -> int:
        return -x

    @classmethod
    def made(cls, x: int) -> tuple[str, int]:
        return cls.__name__, x

    @ml_cache
    @classmethod
    def made_cached(cls, x: int) -> tuple[str, int]:
        return cls.__name__, x

    def __call__(self, x: int) -> int:
        return self.weight + x


class PlainError(Exception):
    pass


class OtherArgumentsError(Exception):
    """Its ``__init__`` takes other arguments than it hands on."""

    def __init__(self, code: int) -> None:
        super().__init__(f"failed with {code}")
        self.code = code


class TwoArgumentsError(ValueError):
    def __init__(self, what: str, *, where: str) -> None:
        super().__init__(f"{what} in {where}")
        self.where = where


class FileTroubleError(OSError):
    def __init__(self, number: int) -> None:
        super().__init__(number, "no such thing", "a.txt")
        self.extra = number


class HoldsLockError(Exception):
    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()


class RaisesOnPicklingError(Exception):
    def __reduce__(self) -> Any:
        raise SystemExit


class RaisesOnUnpicklingError(Exception):
    def __reduce__(self) -> Any:
        return _raise, ("it will not be unpickled",)


class NoWordsError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


class HiddenTroubleError(Exception):
    """Is unpickled where it was pickled, and nowhere else."""

    home = 0

    def __reduce__(self) -> Any:
        return _only_in, (os.getpid(), self.args)


def _only_in(process: int, args: tuple[Any, ...]) -> HiddenTroubleError:
    if os.getpid() != process:
        raise KeyboardInterrupt
    return HiddenTroubleError(*args)


def _raise(message: str) -> None:
    raise RuntimeError(message)


def fail(x: int) -> None:
    """A failure with a cause, a context and notes."""
    try:
        try:
            _raise("the innermost")
        except RuntimeError as error:
            raise OtherArgumentsError(x) from error
    except OtherArgumentsError as error:
        last = KeyError("the last", x)
        last.add_note("a note of the function")
        raise last from error


def warn(text: str) -> int:
    warnings.warn(text, UserWarning, stacklevel=1)
    return 1


def process_of(x: int) -> int:
    return os.getpid() if x >= 0 else 0


def load_weight() -> dict[str, int]:
    """A resource that tells in which process it was loaded, and is another one each time."""
    return {"process": os.getpid(), "token": int.from_bytes(os.urandom(6))}


def use(x: int, *, weight: dict[str, int]) -> tuple[int, dict[str, int]]:
    return x, weight


def token() -> bytes:
    return os.urandom(8)
