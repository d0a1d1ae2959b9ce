"""Torch's tensors on the CPU.

They are copied when they are read: Torch knows no tensor that cannot be written to, and a write
into a mapped file would end the process.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from mlcache.codec.nodes import NeedsPickleError, Node, Reader, Writer, expect, expect_shape


def _write_tensor(value: torch.Tensor, out: Writer) -> Node:
    _check(value)
    plain = value.resolve_conj().resolve_neg()
    # From the widest stride to the narrowest: channels last, and any other dense order, comes back.
    order = sorted(range(plain.dim()), key=plain.stride, reverse=True)
    flat = plain.permute(order).contiguous().reshape(-1)
    data = flat.view(torch.uint8).numpy()
    place = out.buffer(data, data.nbytes)
    return ["torch.Tensor", str(value.dtype), list(value.shape), order, place, data.nbytes]


def _check(value: torch.Tensor) -> None:
    if value.device.type != "cpu":
        raise NeedsPickleError(f"the tensor is on {value.device}: return it with .cpu()")
    if value.requires_grad:
        raise NeedsPickleError("the tensor records gradients: return it with .detach()")
    if value.layout is not torch.strided or value.is_quantized or value.__dict__:
        raise NeedsPickleError("the tensor is sparse, quantized, or has attributes of its own")


def _read_tensor(node: Node, source: Reader) -> torch.Tensor:
    _, name, lengths, order, offset, size = node
    shape = expect_shape(lengths)
    dtype = expect(getattr(torch, name.removeprefix("torch.")), torch.dtype)
    if math.prod(shape) * dtype.itemsize != size or sorted(order) != list(range(len(shape))):
        raise ValueError(f"{size} bytes for a tensor of {dtype} and shape {shape}")
    tensor = torch.empty([shape[axis] for axis in order], dtype=dtype)
    if size:
        tensor.view(-1).view(torch.uint8).numpy()[:] = source.buffer(offset, size)
    # Sorting the axes by where they went finds the way back.
    return tensor.permute(sorted(range(len(order)), key=order.__getitem__))


WRITERS: dict[type, Callable[[Any, Writer], Node]] = {torch.Tensor: _write_tensor}

READERS: dict[str, Callable[[Node, Reader], Any]] = {"torch.Tensor": _read_tensor}
