"""Codes of numpy's other values: scalars, dtypes, generators, and arrays of derived types."""

from __future__ import annotations

from marshal import dumps
from typing import Any

import numpy as np

from mlcache.errors import UnhashableArgumentError
from mlcache.keys.arrays import Array, dtype_code, encode_array
from mlcache.keys.classes import encode_class, type_name
from mlcache.keys.digest import Encoder, Seen, encode, encode_items, tracked
from mlcache.keys.structures import encode_own

_OF_FILES = frozenset({"_mmap", "filename", "offset", "mode"})
"""Attributes that tell where an array in a file lies."""


def encoder_for(kind: type) -> Encoder | None:
    """How a type of numpy's, or one derived from it, is encoded; None if not here."""
    table: dict[type, Encoder] = {
        np.ma.MaskedArray: tracked(_encode_masked),
        np.memmap: _encode_memmap if kind is np.memmap else tracked(_encode_derived_memmap),
        np.ndarray: tracked(_encode_subclass),
        np.generic: _encode_scalar if kind.__module__ == "numpy" else tracked(_encode_derived_scalar),
        np.dtype: lambda value, _: dtype_code(value),
        np.random.BitGenerator: _encode_bit_generator,
        np.random.Generator: _encode_generator,
        np.random.RandomState: _encode_random_state,
        np.ufunc: _encode_ufunc,
    }
    for base, encoder in table.items():
        if issubclass(kind, base):
            return encoder
    if kind.__name__ == "_NoValueType":  # a default of many of numpy's functions
        return lambda _value, _seen: b"@novalue:"
    return None


def _encode_scalar(value: np.generic, seen: Seen) -> bytes:
    return b"@scalar:" + encode_array(np.asarray(value), seen)


def _encode_derived_scalar(value: np.generic, seen: Seen) -> bytes:
    """The code of a scalar of a class of its own: its dtype is that of the base."""
    return b"@subscalar:" + encode_own(value, seen) + encode_array(np.asarray(value), seen)


def _encode_subclass(array: Array, seen: Seen) -> bytes:
    return b"@subarray:" + encode_own(array, seen) + encode_array(array.view(np.ndarray), seen)


def _encode_memmap(array: Array, seen: Seen) -> bytes:
    """An array in a file is an array like another, wherever it lies."""
    return encode_array(array.view(np.ndarray), seen)


def _encode_derived_memmap(array: Array, seen: Seen) -> bytes:
    own = {name: content for name, content in vars(array).items() if name not in _OF_FILES}
    return b"@submemmap:" + encode_class(type(array), seen) + encode(own, seen) + _encode_memmap(array, seen)


def _encode_masked(array: np.ma.MaskedArray[Any, Any], seen: Seen) -> bytes:
    """The hidden values count too: the function can look at them."""
    if array is np.ma.masked:  # which cannot even be asked for its fill value
        return b"@maskedconstant:"
    fill = np.asarray(array.fill_value)
    own = {name: content for name, content in vars(array).items() if not name.startswith("_")}
    notes = {**getattr(array, "_optinfo", {}), **own}
    parts = (np.ma.getdata(array), np.ma.getmaskarray(array), fill, array.hardmask, notes)
    return b"@masked:" + encode_class(type(array), seen) + encode_items(parts, seen)


def _encode_bit_generator(generator: np.random.BitGenerator, seen: Seen) -> bytes:
    seeds = generator.seed_seq
    spawning = seeds.state if isinstance(seeds, np.random.SeedSequence) else None
    return b"@bitgenerator:" + encode_class(type(generator), seen) + encode((generator.state, spawning), seen)


def _encode_generator(generator: np.random.Generator, seen: Seen) -> bytes:
    return b"@generator:" + encode_class(type(generator), seen) + encode(generator.bit_generator, seen)


def _encode_random_state(state: np.random.RandomState, seen: Seen) -> bytes:
    return b"@randomstate:" + encode_class(type(state), seen) + encode(state.get_state(legacy=False), seen)


def _encode_ufunc(function: np.ufunc, _: Seen) -> bytes:
    if getattr(np, function.__name__, None) is function:
        return b"@ufunc:" + dumps(function.__name__, 2)
    name = type_name(type(function))
    raise UnhashableArgumentError(
        type(function), reason=f"numpy has no {name} of the name {function.__name__!r}"
    )
