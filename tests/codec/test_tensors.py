from __future__ import annotations

from typing import Any

import pytest

from mlcache.codec import FrameCodec, Signer
from mlcache.entry import Entry
from mlcache.errors import CannotEncodeError
from tests.codec.likeness import CODEC, round_trip

torch = pytest.importorskip("torch")

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64,
    torch.bool, torch.complex64, torch.complex128,
]  # fmt: skip


def alike(left: Any, right: Any) -> bool:
    return (
        type(left) is type(right)
        and left.dtype is right.dtype
        and left.shape == right.shape
        and left.contiguous().reshape(-1).view(torch.uint8).tolist()
        == right.resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8).tolist()
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (0,), (2, 0, 3), (2, 3, 4, 5)])
def test_tensors_of_any_dtype_and_shape_come_back(dtype: Any, shape: Any) -> None:
    count = torch.Size(shape).numel()
    tensor = (torch.arange(count) % 3).reshape(shape).to(dtype)
    back = round_trip({"a": [tensor]})["a"][0]
    assert alike(back, tensor)
    assert back.stride() == tensor.stride() or not count


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(24.0).reshape(2, 3, 4).transpose(0, 2),
        torch.arange(120.0).reshape(2, 3, 4, 5).to(memory_format=torch.channels_last),
        torch.arange(24.0).reshape(2, 3, 4).permute(1, 2, 0),
    ],
)
def test_dense_layouts_are_kept(tensor: Any) -> None:
    back = round_trip(tensor)
    assert alike(back, tensor)
    assert back.stride() == tensor.stride()


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(10)[::3],
        torch.arange(10).reshape(2, 5)[:, 1:3],
        torch.ones(2).expand(3, 2),
        torch.tensor([1 + 2j, 3 - 4j]).conj(),
        torch.tensor([1 + 2j, 3 - 4j]).conj().imag,
        torch.tensor([float("nan"), -0.0, float("inf")]),
    ],
)
def test_views_come_back_by_what_they_show(tensor: Any) -> None:
    assert alike(round_trip(tensor), tensor)


def test_a_tensor_that_came_back_is_a_copy_of_its_own() -> None:
    data = CODEC.encode(Entry(torch.arange(10), 1.0))
    first = CODEC.decode(data).value
    first += 1
    assert CODEC.decode(data).value.tolist() == list(range(10))


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (torch.ones(2, requires_grad=True), "detach"),
        (torch.ones(2, requires_grad=True) * 2, "detach"),
        (torch.ones(2, device="meta"), "cpu"),
        (torch.eye(2).to_sparse(), "sparse"),
        (torch.nn.Parameter(torch.ones(2)), "Parameter"),
    ],
)
def test_what_would_come_back_different_is_refused(tensor: Any, reason: str) -> None:
    with pytest.raises(CannotEncodeError, match=reason):
        CODEC.encode(Entry([tensor], 1.0))


def test_attributes_are_not_lost() -> None:
    tensor = torch.ones(2)
    tensor.note = "mine"
    with pytest.raises(CannotEncodeError, match="attributes"):
        CODEC.encode(Entry(tensor, 1.0))
    assert round_trip(tensor, FrameCodec(signer=Signer(b"k" * 32))).note == "mine"
