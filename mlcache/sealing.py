"""Sealing: what a function returned, made such that nobody can change what is kept.

What the function still holds and changes later must not reach the cache, so what is kept
is a copy; and what one caller does with an answer must not reach the next one, so each
gets either a thing that cannot be changed or a fresh one.

* Numbers, texts and the like cannot be changed: they are kept and handed out as they are.
* An array is copied once, into memory that numpy itself refuses to make writable, and
  that one array is handed out to all.
* Containers are rebuilt for each caller, around the same arrays.
* Frames are handed out as copies, which share their memory until written to where pandas
  copies on write (3.0 and newer, or its option).
* Anything else is copied with ``copy.deepcopy`` on the way in and on the way out.
"""

from __future__ import annotations

import copy
import pickle
import sys
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec
import numpy as np

from mlcache.entry import Failure

if TYPE_CHECKING:
    import numpy.typing as npt

Renew = Callable[[Any], Any]


class Sealed(msgspec.Struct, frozen=True):
    """A value as it is kept.

    Args:
        value: what is kept.
        renew: makes what a caller gets; None where that is ``value`` itself.
        size: bytes that ``value`` takes in memory, roughly.
    """

    value: Any
    renew: Renew | None
    size: int


class Seal(Protocol):
    """One way of sealing; see ``seal``."""

    def __call__(self, value: Any, /, *, owned: bool = False) -> Sealed:
        """``value`` in the form in which it is kept."""
        ...


_UNCHANGING: set[type] = {
    *(type(None), bool, int, float, complex, str, bytes, range, type(Ellipsis)),
    *(types.FunctionType, types.BuiltinFunctionType, type),
}
"""Types whose values cannot be changed. Those of ``_BY_NAME`` come in when they are first met."""

_BY_NAME = frozenset(
    (
        *(f"datetime.{name}" for name in ("datetime", "date", "time", "timedelta", "timezone")),
        *("decimal.Decimal", "fractions.Fraction", "uuid.UUID"),
    )
)


def _is_unchanging(kind: type) -> bool:
    if kind in _UNCHANGING:
        return True
    # A structured scalar (np.void) can be assigned to.
    number = kind.__module__ == "numpy" and issubclass(kind, np.generic) and not issubclass(kind, np.void)
    if number or f"{kind.__module__}.{kind.__qualname__}" in _BY_NAME:
        _UNCHANGING.add(kind)
        return True
    return False


def seal(value: Any, *, owned: bool = False) -> Sealed:
    """``value`` in a form that nobody can change.

    Args:
        value: what is to be kept.
        owned: whether nobody else holds it, as when it was just decoded; then nothing is copied.

    Raises:
        Exception: whatever ``copy.deepcopy`` raises for an object that cannot be copied.
    """
    kind = type(value)
    if kind is Failure:
        return seal_failure(value)
    if _is_unchanging(kind):
        return Sealed(value, None, sys.getsizeof(value))
    sealer = _SEALERS.get(kind)
    if sealer is not None:
        return sealer(value, owned=owned)
    if _is_pandas(kind):
        return _seal_pandas(value, owned=owned)
    return _seal_object(value, owned=owned)


def seal_failure(failure: Failure) -> Sealed:
    """A kept exception: whoever asks for the value has it raised."""
    return Sealed(failure, _raise, sys.getsizeof(failure.error))


def _raise(failure: Failure) -> Any:
    # A copy, since raising writes a traceback into what is raised, and many may raise at once.
    try:
        error = copy.copy(failure.error)
    except Exception:  # noqa: BLE001 - copying runs the code of any class
        error = failure.error
    raise error.with_traceback(None)


def refer(value: Any, *, owned: bool = False) -> Sealed:  # noqa: ARG001 - as ``seal``
    """``value`` itself, for callers who asked for the very object."""
    if type(value) is Failure:
        return seal_failure(value)
    return Sealed(value, None, size_of(value))


def seal_for_copies(value: Any, *, owned: bool = False) -> Sealed:
    """As ``seal``, for callers who each want a copy of their own, with writable arrays."""
    sealed = seal(value, owned=owned)
    if type(value) is Failure:
        return sealed
    return Sealed(sealed.value, None if _is_unchanging(type(sealed.value)) else writable, sealed.size)


def writable(value: Any) -> Any:
    """A copy of a sealed value that is the caller's own, arrays writable."""
    kind = type(value)
    if kind in (list, tuple):
        return kind(map(writable, value))
    if kind is dict:
        return {key: writable(item) for key, item in value.items()}
    if _is_pandas(kind) and (
        hasattr(value, "dtype") or hasattr(value, "columns")
    ):  # no Timestamp and the like
        return _through_pickle(value) if _holds_objects(value) else value.copy()
    return value if _is_unchanging(kind) else copy.deepcopy(value)


def size_of(value: Any) -> int:
    """Bytes that ``value`` takes in memory: exact for arrays and frames, rough for objects."""
    kind = type(value)
    if kind is dict:
        return sys.getsizeof(value) + sum(size_of(key) + size_of(item) for key, item in value.items())
    if kind in (list, tuple, set, frozenset):
        return sys.getsizeof(value) + sum(map(size_of, value))
    if _is_pandas(kind):
        return _pandas_size(value)
    nbytes = getattr(value, "nbytes", None)
    # An array counts its memory by itself where it owns it, but not where it is a view.
    return max(sys.getsizeof(value), _ARRAY_OVERHEAD + nbytes if isinstance(nbytes, int) else 0)


def is_immutable(array: npt.NDArray[Any]) -> bool:
    """Whether numpy refuses to make ``array`` writable: its memory is that of ``bytes``."""
    base: object = array
    while type(base) is np.ndarray:
        if base.flags.writeable:
            return False
        base = base.base
    if isinstance(base, memoryview):
        return base.readonly and isinstance(base.obj, bytes)
    return isinstance(base, bytes)


def _seal_array(array: npt.NDArray[Any], *, owned: bool = False) -> Sealed:
    if array.dtype.hasobject or array.dtype.kind == "T":
        return _seal_object(array, owned=owned)
    if owned:
        array.flags.writeable = False
    elif not is_immutable(array):
        order: Literal["C", "F"] = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        flat = np.frombuffer(array.tobytes(order=order), dtype=array.dtype) if array.size else None
        array = _frozen_empty(array) if flat is None else flat.reshape(array.shape, order=order)
    return Sealed(array, None, array.nbytes + _ARRAY_OVERHEAD)


_ARRAY_OVERHEAD = sys.getsizeof(np.empty(0))


def _frozen_empty(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.ndarray(array.shape, array.dtype, buffer=b"")


def _seal_sequence(values: Any, *, owned: bool = False) -> Sealed:
    kind = type(values)
    items = [seal(item, owned=owned) for item in values]
    kept = kind(item.value for item in items)
    size = sys.getsizeof(values) + sum(item.size for item in items)
    renews = [item.renew for item in items]
    if not any(renews):
        return Sealed(kept, None if kind in (tuple, frozenset) else kind.copy, size)
    return Sealed(kept, lambda kept: kind(map(_renewed, kept, renews)), size)


def _seal_set(values: Any, *, owned: bool = False) -> Sealed:  # noqa: ARG001 - one of the sealers
    """Members of a set are hashable, which by convention are not changed."""
    size = sys.getsizeof(values) + sum(map(size_of, values))
    return Sealed(values, None, size) if type(values) is frozenset else Sealed(set(values), set.copy, size)


def _seal_dict(values: dict[Any, Any], *, owned: bool = False) -> Sealed:
    items = {key: seal(item, owned=owned) for key, item in values.items()}
    kept = {key: item.value for key, item in items.items()}
    size = sys.getsizeof(values) + sum(size_of(key) + item.size for key, item in items.items())
    renews = {key: item.renew for key, item in items.items() if item.renew is not None}
    if not renews:
        return Sealed(kept, dict.copy, size)

    def renew(kept: dict[Any, Any]) -> dict[Any, Any]:
        return {key: _renewed(item, renews.get(key)) for key, item in kept.items()}

    return Sealed(kept, renew, size)


def _renewed(value: Any, renew: Renew | None) -> Any:
    return value if renew is None else renew(value)


def _seal_object(value: Any, *, owned: bool = False) -> Sealed:
    kept = value if owned else copy.deepcopy(value)
    return Sealed(kept, copy.deepcopy, size_of(kept))


def _is_pandas(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "pandas"


def _seal_pandas(value: Any, *, owned: bool = False) -> Sealed:
    import pandas as pd

    if isinstance(value, pd.Index):
        return Sealed(value if owned else value.copy(deep=True), pd.Index.view, _pandas_size(value))
    if not isinstance(value, pd.DataFrame | pd.Series) or type(value) not in (pd.DataFrame, pd.Series):
        return _seal_object(value, owned=owned)
    if _holds_objects(value):
        return Sealed(value if owned else _through_pickle(value), _through_pickle, _pandas_size(value))
    copies_on_write = int(pd.__version__.partition(".")[0]) >= 3 or _option_is_set(pd)  # noqa: PLR2004
    if not copies_on_write:
        kept = value if owned else value.copy(deep=True)
        return Sealed(kept, type(value).copy, _pandas_size(value))
    # Also what was decoded: its memory is read-only, and pandas copies only what it knows to be shared.
    return Sealed(value.copy(deep=True), _shallow_copy, _pandas_size(value))


def _through_pickle(frame: Any) -> Any:
    """A deep copy in pandas still shares the Python objects in its cells; this one does not."""
    return pickle.loads(pickle.dumps(frame, protocol=5))  # noqa: S301 - pickled on the same line


def _shallow_copy(frame: Any) -> Any:
    return frame.copy(deep=False)


def _option_is_set(pd: Any) -> bool:
    return pd.options.mode.copy_on_write is True


def _holds_objects(value: Any) -> bool:
    """Whether cells hold Python objects that could be changed."""
    dtypes = value.dtypes if hasattr(value, "columns") else [value.dtype]
    if not any(dtype.kind == "O" for dtype in dtypes):
        return False
    columns = [column for _, column in value.items()] if hasattr(value, "columns") else [value]
    objects = [column for column in columns if column.dtype.kind == "O"]
    return any(not all(map(_is_unchanging, {type(item) for item in column})) for column in objects)


def _pandas_size(value: Any) -> int:
    used = getattr(value, "memory_usage", None)
    if used is None:
        return sys.getsizeof(value)
    total = used(deep=True)
    return int(total if isinstance(total, int) else getattr(total, "sum", lambda: total)())


_SEALERS: dict[type, Seal] = {
    np.ndarray: _seal_array,
    list: _seal_sequence,
    tuple: _seal_sequence,
    set: _seal_set,
    frozenset: _seal_set,
    dict: _seal_dict,
}

SEALS: dict[str, Seal] = {"readonly": seal, "copy": seal_for_copies, "reference": refer}
"""By the option ``returns``."""
