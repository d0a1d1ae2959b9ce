from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlcache.codec import FrameCodec, Signer
from mlcache.entry import Entry
from mlcache.errors import CannotEncodeError
from tests.codec.likeness import CODEC, round_trip, same

sparse = pytest.importorskip("scipy.sparse")

PARTS = ("data", "indices", "indptr", "coords", "offsets")


def make(name: str, dtype: Any = float, index: Any = np.int32) -> Any:
    dense = np.arange(24).reshape(6, 4) % 5 * (np.arange(24).reshape(6, 4) % 2)
    matrix = getattr(sparse, name)(dense.astype(dtype))
    for part in PARTS[1:]:
        if hasattr(matrix, part):
            old = getattr(matrix, part)
            setattr(
                matrix,
                part,
                tuple(each.astype(index) for each in old) if part == "coords" else old.astype(index),
            )
    return matrix


FORMATS = [f"{kind}_{form}" for kind in ("csr", "csc", "coo", "bsr", "dia") for form in ("array", "matrix")]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("dtype", ["f8", "f4", "i8", "?", "c16"])
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_every_format_comes_back_part_by_part(name: str, dtype: str, index: Any) -> None:
    matrix = make(name, dtype, index)
    back = round_trip([matrix])[0]
    assert type(back) is type(matrix)
    assert back.shape == matrix.shape
    for part in PARTS:
        if hasattr(matrix, part):
            assert same(getattr(back, part), getattr(matrix, part))
    assert (back.toarray() == matrix.toarray()).all()
    assert (back @ np.ones(4) == matrix @ np.ones(4)).all()


def test_odd_ones_come_back() -> None:
    coords = (np.array([0, 0, 1]), np.array([1, 1, 0]), np.array([2, 2, 2]))
    for matrix in (
        sparse.coo_array((np.arange(3.0), coords), shape=(2, 2, 3)),
        sparse.coo_array(np.arange(5)),
        sparse.csr_array((0, 0)),
        sparse.csr_matrix((5, 0)),
        sparse.csr_array((np.ones(2), np.array([1, 1]), np.array([0, 2])), shape=(1, 3)),
        sparse.bsr_array(np.kron(np.eye(2), np.ones((2, 3)))),
    ):
        back = round_trip(matrix)
        assert back.shape == matrix.shape
        assert back.nnz == matrix.nnz
        assert (back.toarray() == matrix.toarray()).all()


def test_the_parts_are_views() -> None:
    data = CODEC.encode(Entry(make("csr_array"), 1.0))
    back = CODEC.decode(data).value
    for part in (back.data, back.indices, back.indptr):
        assert np.shares_memory(part, np.frombuffer(data, np.uint8))
        assert not part.flags.writeable


@pytest.mark.parametrize("name", ["lil_array", "dok_matrix"])
def test_other_formats_need_pickle(name: str) -> None:
    matrix = getattr(sparse, name)(np.eye(3))
    with pytest.raises(CannotEncodeError):
        CODEC.encode(Entry(matrix, 1.0))
    assert (round_trip(matrix, FrameCodec(signer=Signer(b"k" * 32))).toarray() == np.eye(3)).all()
