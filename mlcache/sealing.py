"""Sealing: what a function returned, made such that nobody can change what is kept.

What the function still holds and changes later must not reach the cache, so what is kept
is a copy; and what one caller does with an answer must not reach the next one, so each
gets either a thing that cannot be changed or a fresh one.

* Numbers, texts and the like cannot be changed: they are kept and handed out as they are.
* An array is copied once, into memory that numpy itself refuses to make writable. Each
  caller gets a view of his own on it, as shape, strides and dtype of any array can be set.
* Containers are rebuilt for each caller, around views of the same arrays.
* Frames are handed out as copies; see ``sealing_frames``.
* What a value holds several times is sealed once, and stays one thing for each caller.
* Anything else is copied with ``copy.deepcopy`` on the way in and on the way out.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec
import numpy as np

from mlcache.entry import Failure
from mlcache.sizes import is_frame, size_of, size_of_array, walk
from mlcache.unchanging import is_unchanging

if TYPE_CHECKING:
    import numpy.typing as npt

Renew = Callable[[Any], Any]
Kept = tuple[Any, Renew | None]
"""What is kept, and what makes a caller's own of it; see ``Sealed``."""


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


def seal(value: Any, *, owned: bool = False) -> Sealed:
    """``value`` in a form that nobody can change.

    Args:
        value: what is to be kept.
        owned: whether nobody else holds it, as when it was just decoded; then nothing is copied.

    Raises:
        Exception: whatever ``copy.deepcopy`` raises for an object that cannot be copied.
    """
    kind = type(value)
    if kind is np.ndarray and _is_plain(value):  # as below, but this is what most hits on disk bring
        return Sealed(*_seal_elements(value, owned=owned), size_of_array(value))
    if kind is Failure:
        return seal_failure(value)
    if is_unchanging(kind):
        return Sealed(value, None, sys.getsizeof(value))
    sealing = _Sealing(owned=owned)
    kept, renew = sealing.seal(value)
    return Sealed(kept, sealing.renew_shared() if sealing.shares else renew, size_of(kept))


class _Sealing:
    """The sealing of one value with all that it holds.

    Args:
        owned: as for ``seal``.
    """

    def __init__(self, *, owned: bool) -> None:
        self.owned = owned
        self.shares = False
        """Whether something that callers can change is held several times."""
        self._sealed: dict[int, Kept] = {}

    def seal(self, value: Any) -> Kept:
        """A part of the value in a form that nobody can change, the same one each time it is met."""
        kind = type(value)
        if is_unchanging(kind):
            return value, None
        known = self._sealed.get(id(value))
        if known is not None:
            self.shares = self.shares or known[1] is not None
            return known
        kept = self._sealed[id(value)] = _SEALERS.get(kind, _seal_other)(self, value)
        return kept

    def renew_shared(self) -> Renew:
        """What makes a caller's own of the whole, in which each part is renewed once."""
        leaves = [kept for kept in self._sealed.values() if type(kept[0]) not in _CONTAINERS]

        def renew_all(kept: Any) -> Any:
            # What is in its memo, ``deepcopy`` takes for copied already.
            return copy.deepcopy(kept, {id(leaf): _renewed(leaf, renew) for leaf, renew in leaves})

        return renew_all


def _renewed(value: Any, renew: Renew | None) -> Any:
    return value if renew is None else renew(value)


def seal_failure(failure: Failure) -> Sealed:
    """A kept exception: whoever asks for the value has it raised."""
    from mlcache.sealing_errors import copy_of_error  # which programs that keep no errors never need

    kept = Failure(copy_of_error(failure.error))  # who is raised the first one may change it
    return Sealed(kept, _raise, sys.getsizeof(kept.error))


def _raise(failure: Failure) -> Any:
    from mlcache.sealing_errors import copy_of_error

    raise copy_of_error(failure.error)


def refer(value: Any, *, owned: bool = False) -> Sealed:  # noqa: ARG001 - as ``seal``
    """``value`` itself, for callers who asked for the very object."""
    if type(value) is Failure:
        return seal_failure(value)
    return Sealed(value, None, size_of(value))


def seal_for_copies(value: Any, *, owned: bool = False) -> Sealed:
    """As ``seal``, for callers who each want a copy of their own, with writable arrays."""
    sealed = seal(value, owned=owned)
    if type(value) is Failure or is_unchanging(type(value)):
        return sealed
    return Sealed(sealed.value, _copier(sealed.value), sealed.size)


def _copier(value: Any) -> Renew:
    """What makes deep copies of ``value``, arrays writable."""
    if "pandas" in sys.modules and any(map(is_frame, walk(value))):
        return _copy_with_frames
    return copy.deepcopy


def _copy_with_frames(value: Any) -> Any:
    """A deep copy; ``copy.deepcopy`` alone would share the index of frames and what is in their cells."""
    from mlcache.sealing_frames import copy_of_frame

    memo = {id(part): copy_of_frame(part) for part in walk(value) if is_frame(part)}
    return copy.deepcopy(value, memo)


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


def _seal_array(sealing: _Sealing, array: npt.NDArray[Any]) -> Kept:
    return _seal_elements(array, owned=sealing.owned) if _is_plain(array) else _seal_object(sealing, array)


def _seal_elements(array: npt.NDArray[Any], *, owned: bool) -> Kept:
    view = _viewer(array.dtype)
    return view(_freeze(array, owned=owned)), view


def _viewer(dtype: np.dtype[Any]) -> Renew:
    """What makes views of an array; with fields, their dtype is a copy, as the names in it can be set."""
    if dtype.names is None:
        return np.ndarray.view
    nested = any(dtype[name].base.names is not None for name in dtype.names)
    own: Callable[[np.dtype[Any]], np.dtype[Any]] = copy.deepcopy if nested else partial(np.dtype, copy=True)
    return lambda array: array.view(own(array.dtype))


def _is_plain(array: npt.NDArray[Any]) -> bool:
    """Whether the elements are bytes and no more."""
    dtype = array.dtype
    return not dtype.hasobject and dtype.kind != "T"


def _freeze(array: npt.NDArray[Any], *, owned: bool) -> npt.NDArray[Any]:
    if owned:
        if array.flags.writeable:
            array.flags.writeable = False
    elif not is_immutable(array):
        order: Literal["C", "F"] = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        flat = np.frombuffer(array.tobytes(order=order), dtype=array.dtype) if array.size else None
        array = _frozen_empty(array) if flat is None else flat.reshape(array.shape, order=order)
    return array


def _frozen_empty(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.ndarray(array.shape, array.dtype, buffer=b"")


def _seal_sequence(sealing: _Sealing, values: Any) -> Kept:
    kind = type(values)
    items = [sealing.seal(item) for item in values]
    kept = kind([item for item, _ in items])
    places = [(place, renew) for place, (_, renew) in enumerate(items) if renew is not None]
    if not places:
        return kept, None if kind is tuple else kind.copy
    if kind is list:
        return kept, _renewer(list.copy, places)
    renew_items = _renewer(list, places)
    return kept, lambda kept: tuple(renew_items(kept))


def _renewer(copy_of: Renew, places: list[tuple[Any, Renew]]) -> Renew:
    """What copies a container and renews the parts in it that callers can change, by index or key.

    To ask each part at each hit whether it is such a one would take longer than all the rest of the hit.
    """

    def renew(kept: Any) -> Any:
        own = copy_of(kept)
        for place, renew_part in places:
            own[place] = renew_part(own[place])
        return own

    return renew


def _seal_set(sealing: _Sealing, values: Any) -> Kept:
    kind = type(values)
    renews = dict(map(sealing.seal, values))
    kept = kind(renews)
    if not any(renews.values()):
        return kept, None if kind is frozenset else kind.copy
    return kept, lambda kept: kind(_renewed(item, renews[item]) for item in kept)


def _seal_dict(sealing: _Sealing, values: dict[Any, Any]) -> Kept:
    items = [(sealing.seal(key), sealing.seal(item)) for key, item in values.items()]
    kept = {key: item for (key, _), (item, _) in items}
    renew_keys, renews = [key[1] for key, _ in items], [item[1] for _, item in items]
    if any(renew_keys):
        return kept, lambda kept: dict(
            zip(map(_renewed, kept, renew_keys), map(_renewed, kept.values(), renews), strict=True)
        )
    places = [(key, renew) for key, renew in zip(kept, renews, strict=True) if renew is not None]
    return kept, _renewer(dict.copy, places) if places else dict.copy


def _seal_other(sealing: _Sealing, value: Any) -> Kept:
    if is_frame(value) and type(value).__module__.partition(".")[0] == "pandas":
        from mlcache.sealing_frames import seal_frame  # which programs without pandas never need

        return seal_frame(value, owned=sealing.owned)
    return _seal_object(sealing, value)


def _seal_object(sealing: _Sealing, value: Any) -> Kept:
    copier = _copier(value)
    if sealing.owned:
        return value, copier
    kept = copier(value)
    # What deepcopy gives back as it is (a member of an enumeration), every later copy would be too.
    return kept, None if kept is value else copier


_CONTAINERS = (list, tuple, set, frozenset, dict)

_SEALERS: dict[type, Callable[[_Sealing, Any], Kept]] = {
    np.ndarray: _seal_array,
    list: _seal_sequence,
    tuple: _seal_sequence,
    set: _seal_set,
    frozenset: _seal_set,
    dict: _seal_dict,
}

SEALS: dict[str, Seal] = {"readonly": seal, "copy": seal_for_copies, "reference": refer}
"""By the option ``returns``."""
