"""Hashes that arrays carry: made once where memory cannot change, and never believed elsewhere."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlcache import ml_cache
from mlcache.keys import carried, digest, hashing

SIZE = 2 * carried.LEAST


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what is hashed while the test runs, if it is large."""
    sizes: list[int] = []
    hashing.hash128(b"")  # settles which function it is, in place of that which settles it
    whole, stream = hashing.hash128, hashing.hash128_stream

    def note(buffer: Any) -> Any:
        if memoryview(buffer).nbytes >= carried.LEAST:
            sizes.append(memoryview(buffer).nbytes)
        return buffer

    def noted(pieces: Any) -> Iterator[Any]:
        return (note(piece) for piece in pieces)

    monkeypatch.setattr(hashing, "hash128", lambda buffer: whole(note(buffer)))
    monkeypatch.setattr(hashing, "hash128_stream", lambda pieces: stream(noted(pieces)))
    return sizes


def frozen(fill: int = 0, size: int = SIZE) -> Any:
    return np.frombuffer(bytes([fill]) * size, "u1")


def test_what_comes_out_of_the_cache_is_hashed_once_in_a_chain(hashed: list[int]) -> None:
    calls: list[str] = []

    @ml_cache
    def load(seed: int) -> Any:
        return np.random.default_rng(seed).random(1_250_000)

    @ml_cache
    def scale(values: Any) -> Any:
        calls.append("scale")
        return values * 2

    @ml_cache
    def total(values: Any) -> float:
        calls.append("total")
        return float(values.sum())

    for _ in range(3):
        assert total(load(1)) * 2 == pytest.approx(total(scale(load(1))))
    assert calls == ["total", "scale", "total"]
    assert hashed == [10_000_000, 10_000_000]


def test_views_of_one_memory_carry_the_hash_of_what_they_show(hashed: list[int]) -> None:
    array = np.frombuffer(np.random.default_rng(0).bytes(4 * SIZE), "u1")
    views: list[Any] = [
        array,
        array.view(">i4"),
        array.reshape(4, -1),
        array.reshape(4, -1).T,
        array[::-1],
        array[:SIZE],
        array[SIZE : 2 * SIZE],
        np.broadcast_to(array[:1], array.shape),
        np.broadcast_to(array[-1:], array.shape),
    ]
    for _ in range(3):
        for view in views:
            assert digest(view) == digest(np.array(view))
    hashed.clear()
    for _ in range(3):
        digest(array.view())
    assert hashed == [], "a view of all of it is read no more"


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_of_any_order_carries_its_hash(order: Any, hashed: list[int]) -> None:
    array = frozen().reshape(256, -1, order=order)
    assert digest(array) == digest(array) == digest(np.array(array))
    assert len(hashed) == 2


OWNERS: dict[str, Callable[[Path], Any]] = {
    "writable": lambda _: np.zeros(SIZE, "u1"),
    "bytearray": lambda _: np.frombuffer(memoryview(bytearray(SIZE)).toreadonly(), "u1"),
    "memory map": lambda path: np.memmap(path / "map", "u1", "w+", shape=SIZE),
    "view": lambda _: np.zeros(SIZE, "u1")[:],
    "small": lambda _: frozen(size=carried.LEAST - 1),
}


@pytest.mark.parametrize("make", OWNERS.values(), ids=OWNERS)
def test_nothing_else_carries_a_hash(make: Callable[[Path], Any], tmp_path: Path) -> None:
    array = make(tmp_path)
    if array.flags.writeable:
        array.flags.writeable = False
    digest(array)
    assert id(array) not in carried._table


def test_memory_that_changes_behind_a_read_only_array_is_hashed_again() -> None:
    memory = bytearray(SIZE)
    array = np.frombuffer(memoryview(memory).toreadonly(), "u1")
    owner = np.zeros(SIZE, "u1")
    view = owner[:]
    view.flags.writeable = False
    before = [digest(array), digest(view)]
    memory[SIZE // 2] = owner[SIZE // 2] = 1
    after = [digest(array), digest(view)]
    assert before[0] == before[1] != after[0] == after[1]


def test_an_array_in_the_place_of_one_that_is_gone_is_another_one() -> None:
    places: set[int] = set()
    for fill in range(50):
        array = frozen(fill)
        places.add(id(array))
        assert digest(array) == digest(np.array(array))
        del array
    assert len(places) < 50, "no identity was used again, so that nothing was tested"


def test_an_entry_vanishes_with_its_array() -> None:
    array = frozen()
    digest(array)
    place = id(array)
    assert place in carried._table
    del array
    gc.collect()
    assert place not in carried._table


def _set_shape(array: Any) -> None:
    array.shape = (2, -1)


def _set_dtype(array: Any) -> None:
    array.dtype = ">i4"


def _set_state(array: Any) -> None:
    array.__setstate__((1, array.shape, array.dtype, False, bytes([7]) * array.nbytes))


def _set_strides(array: Any) -> None:
    array.strides = (0,)


@pytest.mark.filterwarnings("ignore:Setting the:DeprecationWarning")  # it is to go, but is there
@pytest.mark.parametrize("change", [_set_shape, _set_dtype, _set_state, _set_strides])
def test_an_array_that_was_set_to_something_else_is_hashed_again(change: Callable[[Any], None]) -> None:
    array = np.frombuffer(np.random.default_rng(0).bytes(SIZE), "u1")
    digest(array)
    change(array)
    assert digest(array) == digest(np.array(array))


def test_threads_agree() -> None:
    arrays = [frozen(fill) for fill in range(20)]
    expected = [digest(np.array(array)) for array in arrays]
    found: list[list[bytes]] = []
    threads = [
        threading.Thread(target=lambda: found.append([digest(array) for array in arrays])) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 8
