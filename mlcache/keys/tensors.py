"""Codes of torch's tensors, modules and dtypes, and of what switches gradients off.

A tensor stands by its dtype, its class of device, its shape and its elements in C order, as
an array does: strides do not count. One on the processor is hashed in place, one on an
accelerator is fetched once.
"""

from __future__ import annotations

from marshal import dumps
from typing import Any

from mlcache.errors import UnhashableArgumentError, first_line
from mlcache.keys.arrays import hash_array
from mlcache.keys.classes import encode_class, type_name
from mlcache.keys.digest import Encoder, Seen, encode, encode_items, tracked

_INTEGERS = {1: "uint8", 2: "int16", 4: "int32", 8: "int64"}
"""Dtypes that numpy knows, by their size: what another dtype's bytes are seen as."""

_heads: dict[tuple[Any, Any, Any, bool], tuple[bytes, bool]] = {}


def encoder_for(kind: type) -> Encoder | None:
    """How a type of torch's, or one derived from it, is encoded; None if not here."""
    import torch

    table: dict[type, Encoder] = {
        torch.Tensor: _readable(_encode_tensor if kind is torch.Tensor else _encode_derived),
        torch.nn.Module: tracked(_encode_module),
        torch.Generator: _encode_generator,
        torch.dtype: lambda value, _: b"@torch.dtype:" + dumps(str(value), 2),
        torch.device: lambda value, _: b"@torch.device:" + dumps(str(value), 2),
        torch.layout: lambda value, _: b"@torch.layout:" + dumps(str(value), 2),
        torch.memory_format: lambda value, _: b"@torch.memory_format:" + dumps(str(value), 2),
        torch.Size: lambda value, seen: b"@torch.Size:" + encode(tuple(value), seen),
    }
    if kind.__module__ == "torch.autograd.grad_mode":
        return _encode_mode
    return next((encoder for base, encoder in table.items() if issubclass(kind, base)), None)


def _encode_mode(switch: Any, _: Seen) -> bytes:
    """The code of what ``@torch.no_grad()`` and its like hold, whatever mode they will return to."""
    return b"@torch.mode:" + dumps((type_name(type(switch)), getattr(switch, "mode", None)), 2)


def _encode_module(module: Any, seen: Seen) -> bytes:
    """The code of a module: its class and its state when pickled, which leaves out weak references."""
    return b"@module:" + encode_class(type(module), seen) + encode(module.__getstate__(), seen)


def _readable(encoder: Encoder) -> Encoder:
    """An encoder that refuses what holds no elements of its own: nested tensors, and those of ``vmap``."""

    def encode_readable(tensor: Any, seen: Seen) -> bytes:
        try:
            return encoder(tensor, seen)
        except (RuntimeError, ValueError) as error:
            raise UnhashableArgumentError(type(tensor), reason=_why_unreadable(error)) from error

    return encode_readable


def _why_unreadable(error: Exception) -> str:
    import torch

    # Tracing makes a tensor of each number, be it of a shape, which cannot be written then.
    if torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage] - documented, if not in its __all__
        return (
            "torch.jit is tracing it, and would take one answer for all: call the function that is not cached"
        )
    return f"its elements cannot be read: {first_line(error)}"


def _encode_tensor(tensor: Any, seen: Seen) -> bytes:
    about = (tensor.dtype, tensor.device, tensor.layout, tensor.requires_grad)
    head, is_strided = _heads.get(about) or _head_of(about)
    shape = dumps(tuple(tensor.shape), 2)
    if tensor.__dict__:
        head += b"@own:" + encode(tensor.__dict__, seen)
    if not is_strided:
        return head + shape + encode_items(_parts(tensor), seen, ".parts")
    try:
        elements = tensor.detach().numpy()
    except (
        TypeError,
        RuntimeError,
    ):  # on another device, lazily conjugated, or of a dtype that numpy does not have
        elements = _fetch(tensor)
    return head + shape + hash_array(elements)


def _head_of(about: tuple[Any, Any, Any, bool]) -> tuple[bytes, bool]:
    dtype, device, layout, requires_grad = about
    code = b"@tensor:" + dumps((str(dtype), device.type, str(layout), requires_grad), 2)
    head = _heads[about] = code, str(layout) == "torch.strided"
    return head


def _fetch(tensor: Any) -> Any:
    import torch

    if tensor.is_quantized or tensor.device.type == "meta":
        about = f"{tensor.dtype} on {tensor.device}"
        raise UnhashableArgumentError(type(tensor), reason=f"its elements cannot be read: {about}")
    plain = tensor.detach().resolve_conj().resolve_neg().cpu()
    try:
        return plain.numpy()
    except TypeError:
        return plain.view(getattr(torch, _INTEGERS[plain.element_size()])).numpy()


def _parts(tensor: Any) -> list[Any]:
    """What a sparse tensor is made of: equal ones have equal parts once duplicates are added up."""
    import torch

    plain = tensor.detach()
    if plain.layout is torch.sparse_coo:
        whole = plain.coalesce()
        return [whole.indices(), whole.values()]
    if plain.layout in {torch.sparse_csr, torch.sparse_bsr}:
        return [plain.crow_indices(), plain.col_indices(), plain.values()]
    if plain.layout in {torch.sparse_csc, torch.sparse_bsc}:
        return [plain.ccol_indices(), plain.row_indices(), plain.values()]
    raise UnhashableArgumentError(type(tensor), reason=f"its layout is {tensor.layout}")


def _encode_derived(tensor: Any, seen: Seen) -> bytes:
    import torch

    inner = tensor.detach().as_subclass(torch.Tensor).requires_grad_(tensor.requires_grad)
    state = encode(getattr(tensor, "__dict__", None), seen)
    return b"@derived:" + encode_class(type(tensor), seen) + _encode_tensor(inner, seen) + state


def _encode_generator(generator: Any, seen: Seen) -> bytes:
    head = b"@torch.Generator:" + dumps((type_name(type(generator)), generator.device.type), 2)
    return head + _encode_tensor(generator.get_state(), seen)
