"""Sizes: how much memory a value takes, with all that it holds."""

from __future__ import annotations

import itertools
import sys
import types
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from mlcache.unchanging import is_unchanging

if TYPE_CHECKING:
    import numpy.typing as npt

_ARRAY_OVERHEAD = sys.getsizeof(np.empty(0))
_NAMES = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)
"""What a value refers to rather than holds."""

_BYTES_OF_PIXELS = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
"""By Pillow's modes; of all others, each pixel is in four."""
_BYTES_OF_PLACE = 8


def size_of(value: Any) -> int:
    """Bytes that ``value`` takes in memory: exact for arrays and frames, an estimate for objects.

    What it holds several times is counted once. What an object of another language's keeps out of Python's
    sight is seen where it is one of torch, polars, Pillow or scikit-learn, or says its ``nbytes``.
    """
    if is_unchanging(type(value)):
        return sys.getsizeof(value)
    return sum(map(_own_size, walk(value)))


def size_of_array(array: npt.NDArray[Any]) -> int:
    """``size_of`` an array whose elements are bytes and no more."""
    # An array counts its memory by itself where it owns it, but not where it is a view.
    return max(sys.getsizeof(array), _ARRAY_OVERHEAD + array.nbytes)


def walk(value: Any) -> Iterator[Any]:
    """``value`` and all that it holds, each part once, however deep; frames and tensors as one."""
    met: dict[int, Any] = {}  # holds the parts too, lest one that is made on the way leaves its id to another
    todo = [value]
    while todo:
        part = todo.pop()
        if id(part) not in met:
            met[id(part)] = part
            yield part
            if not is_unchanging(type(part)):
                todo.extend(_parts_of(part))


def _own_size(part: Any) -> int:
    if is_unchanging(type(part)):
        return sys.getsizeof(part)
    # An array counts its memory by itself where it owns it, but not where it is a view.
    return max(sys.getsizeof(part), _memory_of(part) or 0)


def _parts_of(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return itertools.chain(dict.keys(value), dict.values(value), _attributes(value))
    if isinstance(value, list | tuple | set | frozenset | deque):
        return itertools.chain(value, _attributes(value))
    if isinstance(value, np.ndarray):
        return np.asarray(value).ravel().tolist() if value.dtype.hasobject else ()
    if isinstance(value, _NAMES) or _memory_of(value) is not None:
        return ()
    return itertools.chain(_attributes(value), _state_of(value))


def _attributes(value: Any) -> Iterator[Any]:
    """What an object holds in its ``__dict__`` and its slots."""
    for base in type(value).__mro__:
        for member in vars(base).values():
            if isinstance(member, types.MemberDescriptorType):
                try:
                    yield member.__get__(value)
                except AttributeError:  # a slot without a value
                    continue
    held = _attribute(value, "__dict__")
    if isinstance(held, dict):
        yield held


def _state_of(value: Any) -> Iterator[Any]:
    """The arrays of scikit-learn's compiled objects, such as its trees, of which it pickles views."""
    if type(value).__module__.startswith("sklearn.") and not hasattr(value, "__dict__"):
        with suppress(Exception):  # not all can be pickled
            yield value.__getstate__()


def _attribute(value: Any, name: str) -> Any:
    try:
        return getattr(value, name, None)
    except Exception:  # noqa: BLE001 - a property runs the code of any class
        return None


def _memory_of(value: Any) -> int | None:
    """Bytes that a value says it takes by itself; None where it says nothing."""
    if _is_from("pandas", value, "DataFrame", "Series", "Index"):
        used = value.memory_usage(deep=True)
        return int(used.sum() if hasattr(used, "sum") else used)
    if _is_from("torch", value, "Tensor"):
        return _ARRAY_OVERHEAD + _memory_of_tensor(value)
    if _is_from("PIL.Image", value, "Image"):
        return int(value.width * value.height * _BYTES_OF_PIXELS.get(value.mode, 4))
    if _is_from("polars", value, "DataFrame", "Series"):
        return int(value.estimated_size())
    nbytes = _attribute(value, "nbytes")
    return _ARRAY_OVERHEAD + int(nbytes) if isinstance(nbytes, int | np.integer) else None


def _memory_of_tensor(tensor: Any) -> int:
    """Of a sparse one, that of its values and of where they are, which are as many."""
    size: int = tensor.element_size()
    if str(tensor.layout) == "torch.strided":
        return size * int(tensor.nelement())
    places = tensor.sparse_dim() if str(tensor.layout) == "torch.sparse_coo" else 1
    return int(tensor._nnz()) * (size + places * _BYTES_OF_PLACE)  # noqa: SLF001 - torch has no other name for it


def _is_from(library: str, value: Any, *names: str) -> bool:
    """Whether ``value`` is of one of a library's classes, which it cannot be before that is imported."""
    module = sys.modules.get(library)
    kinds = [getattr(module, name, None) for name in names] if module else ()
    return any(isinstance(kind, type) and isinstance(value, kind) for kind in kinds)


def is_frame(value: Any) -> bool:
    """Whether ``value`` is a frame, series or index of pandas, or of a class made from these."""
    return _is_from("pandas", value, "DataFrame", "Series", "Index")
