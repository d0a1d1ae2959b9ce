"""Values as a pickle stream and the buffers beside it, which is what is copied between processes.

Pickle's protocol 5 (PEP 574) hands out the memory of arrays, frames and the like, rather than
writing it into the stream. Arrays that numpy would write into it all the same are handed out, too,
and so are tensors of torch, which know nothing of the protocol.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

Buffer: TypeAlias = bytes | bytearray | memoryview
Array: TypeAlias = "np.ndarray[Any, Any]"

SMALL = 1024
"""Bytes of a buffer up to which it is written into the stream."""
_PLAIN = frozenset((type(None), bool, int, float, complex, str, bytes))
"""Types of values that have neither buffers nor references to anything."""
MANY = 256
"""Buffers after which ``SMALL`` is twice as much, so that the list of them always fits into a message."""


def dump(value: object) -> list[Buffer]:
    """The stream and the buffers of a value, which share its memory.

    Raises:
        Exception: it cannot be pickled; whatever that raises.
    """
    if type(value) in _PLAIN:
        return [pickle.dumps(value, 5)]
    return _dump_with(_pickler, value)


def dump_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Buffer]:
    """The stream and the buffers of ``(args, kwargs)``, as ``dump``; its arrays can only be read on arrival.

    Raises:
        Exception: as ``dump``.
    """
    if not kwargs and all(type(each) in _PLAIN for each in args):
        return [pickle.dumps((args, kwargs), 5)]
    return _dump_with(_argument_pickler, (args, kwargs))


def _dump_with(pickler: Callable[..., Any], value: object) -> list[Buffer]:
    try:
        parts = _dump(value, pickler)
    except Exception:
        if "__main__" not in sys.modules or not _may_need_cloudpickle():
            raise
        return _dump(value, _by_value())
    if b"__main__" in bytes(parts[0]) and _may_need_cloudpickle():
        return _dump(value, _by_value())  # another process has another __main__
    return parts


def load(parts: Sequence[Buffer]) -> Any:
    """The value; its arrays are views of the buffers.

    Raises:
        Exception: it cannot be unpickled; whatever that raises.
    """
    return pickle.loads(parts[0], buffers=parts[1:])  # noqa: S301 - from a process of our own


def _pickler(stream: io.BytesIO, **options: Any) -> pickle.Pickler:
    """Pickle's own, with what is said here of arrays and tensors."""
    pickler = pickle.Pickler(stream, **options)
    pickler.dispatch_table = _table()
    return pickler


def _argument_pickler(stream: io.BytesIO, **options: Any) -> pickle.Pickler:
    pickler = pickle.Pickler(stream, **options)
    pickler.dispatch_table = {**_table(), np.ndarray: _reduce_argument}
    return pickler


def _dump(value: object, pickler: Callable[..., Any]) -> list[Buffer]:
    buffers: list[memoryview] = []

    def is_small(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes <= SMALL << len(buffers) // MANY:
            return True
        buffers.append(raw)
        return False

    stream = io.BytesIO()
    pickler(stream, protocol=5, buffer_callback=is_small).dump(value)
    return [stream.getvalue(), *buffers]


def _may_need_cloudpickle() -> bool:
    from importlib.util import find_spec

    return "cloudpickle" in sys.modules or find_spec("cloudpickle") is not None


def _by_value() -> Callable[..., Any]:
    from cloudpickle import Pickler

    pickler: Callable[..., Any] = Pickler
    return pickler


_reducers: dict[type, Callable[[Any], Any]] = {}


def _table() -> dict[type, Callable[[Any], Any]]:
    if len(_reducers) <= len(copyreg.dispatch_table) or "torch" in sys.modules:
        _reducers.update(copyreg.dispatch_table)
        _reducers[np.ndarray] = _reduce_array
        torch = sys.modules.get("torch")
        if torch is not None and hasattr(torch, "Tensor"):
            _reducers[torch.Tensor] = _reduce_tensor
    return _reducers


def _reduce_array(array: Array) -> Any:
    if array.dtype.hasobject or not array.nbytes:
        return array.__reduce_ex__(5)
    order: Literal["F", "C"] = "F" if array.flags.fnc else "C"
    if array.nbytes <= SMALL:  # numpy's own way takes twice as long
        return make_array, (array.tobytes(order), array.dtype, array.shape, order)
    plain = array.flags.writeable and array.flags.forc and array.dtype.kind not in "mM"
    if plain and array.dtype.isbuiltin:
        return array.__reduce_ex__(5)
    flat = np.ascontiguousarray(array.T if order == "F" else array).reshape(-1).view(np.uint8)
    return make_array, (pickle.PickleBuffer(flat.data), array.dtype, array.shape, order)


def _reduce_argument(array: Array) -> Any:
    """One that can only be read where it arrives, whatever its size, lest a function depend on that."""
    reduced = _reduce_array(array)
    return (make_view, reduced[1]) if reduced[0] is make_array else reduced


def make_view(buffer: Buffer, dtype: np.dtype[Any], shape: tuple[int, ...], order: Any) -> Array:
    """An array over the memory of ``buffer``, writable if that is."""
    return np.frombuffer(buffer, np.uint8).view(dtype).reshape(shape, order=order)


def make_array(buffer: Buffer, dtype: np.dtype[Any], shape: tuple[int, ...], order: Any) -> Array:
    """An array over the memory of ``buffer``, writable if that is, whatever the array was that was sent."""
    if isinstance(buffer, memoryview) and buffer.readonly:
        buffer = buffer.obj  # type: ignore[assignment]
    flat = np.frombuffer(bytearray(buffer) if isinstance(buffer, bytes) else buffer, np.uint8)
    return flat.view(dtype).reshape(shape, order=order)


def part_of(memory: Array, start: int, stop: int) -> Array:
    """A part of ``memory`` that lives as long as anything that was made of it.

    A view of numpy's would not: whatever is made of a view refers to what that is a view of.
    """
    return np.frombuffer(memory[start:stop].data, np.uint8)


def _reduce_tensor(tensor: Any) -> Any:
    plain = tensor.device.type == "cpu" and tensor.layout == _torch().strided
    if not plain or tensor.requires_grad or tensor.is_quantized:  # which has scales beside its bytes
        return tensor.__reduce_ex__(5)
    flat = tensor.contiguous().view(-1).view(_torch().uint8).numpy()
    return make_tensor, (pickle.PickleBuffer(flat), tensor.dtype, tuple(tensor.shape))


def make_tensor(buffer: Buffer, dtype: Any, shape: tuple[int, ...]) -> Any:
    """A tensor; one over memory of others is a copy, as torch has no read-only tensors."""
    array = np.frombuffer(buffer, np.uint8)
    return _torch().from_numpy(array if array.flags.writeable else array.copy()).view(dtype).view(shape)


def _torch() -> Any:
    import torch

    return torch
