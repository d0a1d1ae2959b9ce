"""Hashes that large arrays carry along: where nobody can change the memory, it is read once.

What comes out of the cache is such an array, so a chain of cached functions hashes what one
hands to the next a single time. Only memory of ``bytes`` counts, which numpy itself refuses to
make writable: another owner of read-only memory, such as a memory map, may change it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from mlcache.sealing import is_immutable

Array: TypeAlias = "np.ndarray[Any, Any]"

LEAST = 1 << 16
"""Bytes from which on looking a hash up is quicker than making it."""


class _Carried(weakref.ref["np.ndarray[Any, Any]"]):
    """The hash of an array that is still there, and what the array was made of when it was hashed.

    Shape, strides and dtype of an array can be set even where its elements cannot.
    """

    __slots__ = ("base", "layout", "made", "place")
    place: int
    base: object
    layout: object
    made: bytes

    def fits(self, array: Array) -> bool:
        """Whether it is of this very array, and the array what it was."""
        return self() is array and self.base is array.base and self.layout == _layout(array)


_table: dict[int, _Carried] = {}
"""By the identity of the array, which no other one has as long as its entry is there."""


def _forget(carried: _Carried, forget: Callable[[int, None], object] = _table.pop) -> None:
    forget(carried.place, None)


def _layout(array: Array) -> object:
    return array.shape, array.strides, array.dtype


def hash_once(array: Array, hash_array: Callable[[Array], bytes]) -> bytes:
    """``hash_array(array)``, which is called once for an array whose memory cannot change."""
    carried = _table.get(id(array))
    if carried is not None and carried.fits(array):
        return carried.made
    made = hash_array(array)
    if is_immutable(array):
        carried = _Carried(array, _forget)
        carried.place, carried.base = id(array), array.base
        carried.layout, carried.made = _layout(array), made
        _table[carried.place] = carried
    return made
