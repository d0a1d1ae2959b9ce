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
    """The hash of an array that its holder, which is still there, holds all bytes of.

    Shape, strides and dtype of an array can be set even where its elements cannot, and so can its memory.
    """

    __slots__ = ("base", "layout", "made", "place")
    place: int
    base: object
    layout: object
    made: bytes

    def fits(self, array: Array, holder: Array) -> bool:
        """Whether it is of this very memory, and the array what the hashed one was."""
        return self() is holder and self.base is holder.base and self.layout == _layout(array)


_table: dict[int, _Carried] = {}
"""By the identity of the holder, which no other array has as long as its entry is there."""


def _forget(carried: _Carried, forget: Callable[[int, None], object] = _table.pop) -> None:
    forget(carried.place, None)


def _layout(array: Array) -> object:
    return array.shape, array.strides, array.dtype


def hash_once(array: Array, hash_array: Callable[[Array], bytes]) -> bytes:
    """``hash_array(array)``, which is called once for an array whose memory cannot change."""
    holder = _holder(array)
    for known in (holder, array):
        carried = _table.get(id(known))
        if carried is not None and carried.fits(array, known):
            return carried.made
    made = hash_array(array)
    if is_immutable(array):
        _note(array if id(holder) in _table else holder, _layout(array), made)
    return made


def _holder(array: Array) -> Array:
    """What stays while views of all of it come and go, as those do that are handed out; else the array."""
    base = array.base
    if type(base) is not np.ndarray or base.nbytes != array.nbytes:
        return array
    return base if array.flags.forc and base.flags.forc else array


def _note(holder: Array, layout: object, made: bytes) -> None:
    carried = _Carried(holder, _forget)
    carried.place, carried.base = id(holder), holder.base
    carried.layout, carried.made = layout, made
    _table[carried.place] = carried
