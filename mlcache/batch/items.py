"""The items of a call: what they are keyed by, one of them, and a container of some of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol

import numpy as np

from mlcache.errors import ConfigurationError

_SHORT = frozenset("biufcUS")
_PLAIN = frozenset("biufcSUmM")
_LONG_DOUBLE = 8
"""Bytes of the largest numbers that Python has, too; a complex one has twice as many."""


class Items(Protocol):
    """A container of items.

    Attributes:
        kind: what the container adds to the key of each of its items: its type, and what is said of
            all items at once, such as a dtype.
        stamp: a hash of its own for each kind, where that costs less than the key of one; else None.
    """

    kind: tuple[Any, ...]
    stamp: Hashable

    def __len__(self) -> int: ...

    def parts(self) -> Sequence[Any]:
        """By item, what it is keyed by."""
        ...

    def single(self, place: int) -> Any:
        """One item, as ``one`` takes it."""
        ...

    def take(self, places: Sequence[int]) -> Any:
        """A container of the same kind with these items only, each once and in their order."""
        ...


class InSequence:
    """The items of a list or a tuple."""

    def __init__(self, items: Any, _axis: int | None = None) -> None:
        self._kind = type(items)
        self._items = list(items)  # the function may change its argument
        self.kind = kind_of_sequence(self._kind)
        self.stamp: Hashable = self.kind

    def __len__(self) -> int:
        return len(self._items)

    def parts(self) -> Sequence[Any]:
        return self._items

    def single(self, place: int) -> Any:
        return self._items[place]

    def take(self, places: Sequence[int]) -> Any:
        return self._kind([self._items[place] for place in places])


class InArray:
    """The items of a numpy array, along an axis."""

    def __init__(self, array: Any, axis: int | None) -> None:
        self._axis = _axis_of(array, axis)
        self._array = array
        self._rows = np.moveaxis(array, self._axis, 0) if self._axis else array
        self.kind = kind_of_array(array, self._axis, self._rows.shape[1:])
        self.stamp: Hashable = stamp_of(self.kind)

    def __len__(self) -> int:
        return len(self._rows)

    def parts(self) -> Sequence[Any]:
        return plain_list(self._rows) if self._rows.ndim == 1 else list(self._rows)

    def single(self, place: int) -> Any:
        return self._rows[place]

    def take(self, places: Sequence[int]) -> Any:
        if len(places) == len(self):
            return self._array
        return self._array[(slice(None),) * self._axis + (np.asarray(places, np.intp),)]


class InTensor:
    """The items of a torch tensor, along an axis."""

    def __init__(self, tensor: Any, axis: int | None) -> None:
        self._axis = _axis_of(tensor, axis)
        self._tensor = tensor
        shape = list(tensor.shape)
        del shape[self._axis]
        self.kind = ("torch.Tensor", self._axis, str(tensor.dtype), str(tensor.device), tuple(shape))
        self.stamp: Hashable = self.kind

    def __len__(self) -> int:
        return int(self._tensor.shape[self._axis])

    def parts(self) -> Sequence[Any]:
        return list(self._tensor.unbind(self._axis))

    def single(self, place: int) -> Any:
        return self._tensor.select(self._axis, place)

    def take(self, places: Sequence[int]) -> Any:
        import torch

        if len(places) == len(self):
            return self._tensor
        return self._tensor.index_select(self._axis, torch.tensor(places, device=self._tensor.device))


class Collected:
    """Items that were passed one by one, and what makes a container of them.

    Args:
        items: as they were passed.
        collate: makes the container.
        kind: what the container adds to the key of each; empty where nobody asks for their keys.
    """

    def __init__(
        self, items: Sequence[Any], collate: Callable[[list[Any]], Any], kind: tuple[Any, ...] = ()
    ) -> None:
        self._items = items
        self._collate = collate
        self.kind = kind
        self.stamp: Hashable = stamp_of(kind) if kind else None

    def __len__(self) -> int:
        return len(self._items)

    def parts(self) -> Sequence[Any]:
        return self._items

    def single(self, place: int) -> Any:
        return self._items[place]

    def take(self, places: Sequence[int]) -> Any:
        return self._collate([self._items[place] for place in places])


def kind_of_sequence(kind: type) -> tuple[Any, ...]:
    """What a list or a tuple adds to the key of each of its items."""
    return (kind.__name__,)


def kind_of_array(array: Any, axis: int, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """What an array adds to the key of each of its items.

    Args:
        array: of the type and the dtype.
        axis: along which the items lie.
        shape: of an item.
    """
    own = type(array)
    kind = "numpy.ndarray" if own is np.ndarray else f"{own.__module__}.{own.__qualname__}"
    return kind, axis, array.dtype, shape


def stamp_of(kind: tuple[Any, ...]) -> Hashable:
    """A hash of what a sequence or an array adds, where that tells all kinds apart."""
    # Other types of numpy's are equal though they differ, as in what belongs to a field.
    return kind if len(kind) == 1 or kind[2].kind in _PLAIN else None


def items_of(value: Any, name: str, axis: int | None) -> Items:
    """The items that ``value`` holds.

    Args:
        value: what was passed for the items.
        name: of the parameter.
        axis: of arrays, along which the items lie.

    Raises:
        ConfigurationError: it is no container whose items can be told apart, taken out and put together.
    """
    make = _maker(type(value))
    if make is None:
        raise ConfigurationError(
            f"{name} is of type {type(value).__module__}.{type(value).__qualname__}, whose items mlcache "
            "does not know how to take apart: give a list, a tuple, a numpy array, a torch tensor, a pandas "
            "Series or a DataFrame"
        )
    items: Items = make(value, axis)
    return items


def _maker(kind: type) -> Any:
    if kind in (list, tuple):
        return InSequence
    if issubclass(kind, np.ndarray):
        return InArray
    library = kind.__module__.partition(".")[0]
    if library == "torch" and kind is sys.modules["torch"].Tensor:
        return InTensor
    if library == "pandas":
        from mlcache.batch.frames import items_maker

        return items_maker(kind)
    return None


def plain_list(array: np.ndarray[Any, Any]) -> list[Any]:
    """The elements of an array of one dimension, as Python's own where these say the same."""
    size = array.dtype.itemsize // (2 if array.dtype.kind == "c" else 1)
    short = array.dtype.kind in "US" or size <= _LONG_DOUBLE
    return array.tolist() if array.dtype.kind in _SHORT and short else list(array)


def _axis_of(array: Any, axis: int | None) -> int:
    axis = axis or 0
    if axis == 0 < array.ndim:
        return 0
    if not -array.ndim <= axis < array.ndim:
        raise ConfigurationError(
            f"the items lie along axis {axis}, and the array has {array.ndim} dimensions: pass a batch "
            "of items, even of one, or give Batch(..., axis=)"
        )
    return int(axis % array.ndim)
