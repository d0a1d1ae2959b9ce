"""Shared memory and how it is divided: nothing overlaps, all of it comes back, none of it is named."""

from __future__ import annotations

import fcntl
import itertools
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcache.offload.arena import ALIGNMENT, KEPT, LARGEST, Arena, Segment, Slot, lay_out, store
from mlcache.offload.wire import INLINE


@pytest.fixture
def arena() -> Iterator[Arena]:
    arena = Arena()
    yield arena
    arena.close()
    assert arena.held == 0


@given(st.lists(st.tuples(st.integers(1, 3 << 20), st.integers(0, 20)), max_size=60))
def test_slots_never_overlap_and_all_comes_back(asked: list[tuple[int, int]]) -> None:
    arena, taken = Arena(), list[Slot]()
    try:
        for length, back in asked:
            slot = arena.take(length)
            taken.append(slot)
            assert slot.offset % ALIGNMENT == 0
            assert len(slot.memory) >= length
            assert slot.offset + slot.length <= slot.segment.size
            if back < len(taken):
                arena.give_back(taken.pop(back))
            check_apart(taken)
        for slot in taken:
            arena.give_back(slot)
        assert all(holes == [(0, segment.size)] for segment, holes in arena._free.items())
    finally:
        arena.close()


def check_apart(slots: list[Slot]) -> None:
    places = sorted((slot.segment.number, slot.offset, slot.offset + slot.length) for slot in slots)
    for (segment, _, end), (other, start, _) in itertools.pairwise(places):
        assert segment != other or end <= start


def test_what_is_large_has_a_segment_of_its_own_which_is_given_back(arena: Arena) -> None:
    slot = arena.take(LARGEST + 1)
    assert slot.segment.once
    held = arena.held
    arena.give_back(slot)
    assert arena.held == held - slot.segment.size


def test_only_so_much_is_kept(arena: Arena) -> None:
    slots = [arena.take(LARGEST) for _ in range(2 * KEPT // LARGEST)]
    for slot in slots:
        arena.give_back(slot)
    assert arena.held <= KEPT


@given(st.lists(st.integers(0, 200_000), max_size=20))
def test_parts_lie_where_it_is_said(lengths: list[int]) -> None:
    arena = Arena()
    parts = [np.full(length, number, np.uint8).data for number, length in enumerate(lengths)]
    try:
        payload, slot = store(parts, arena)
        assert (slot is None) == (lay_out(parts)[1] <= INLINE)
        if slot is None:
            assert payload.parts == [bytes(part) for part in parts]
            return
        memory = slot.segment.memory
        assert [memory[start : start + length].tobytes() for start, length in payload.places] == [
            bytes(part) for part in parts
        ]
    finally:
        arena.close()


def test_a_segment_has_a_fixed_size_and_cannot_be_written_to_by_who_receives_it() -> None:
    segment = Segment(10_000)
    try:
        assert segment.size % os.sysconf("SC_PAGE_SIZE") == 0
        with pytest.raises(OSError, match=r"Invalid argument|not permitted"):
            os.truncate(segment.file, 0)
        assert fcntl.fcntl(segment.file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    finally:
        segment.close()
        segment.close()


@pytest.mark.parametrize("missing", ["memfd", "shared memory"])
def test_other_systems_have_other_memory(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    if missing == "shared memory":
        monkeypatch.setattr("mlcache.offload.arena._shared_memory", refuse)
    segment = Segment(1 << 20, writable=True)
    segment.memory[:] = 7
    assert os.pread(segment.file, 10, 1000) == b"\7" * 10
    segment.close()


def refuse(*_: Any) -> int:
    raise OSError(28, "No space left on device")


def test_memory_taken_after_the_end_is_given_back_as_well() -> None:
    arena = Arena()
    first = arena.take(100_000)
    arena.close()
    first.memory[:] = 1  # whoever copies into it just then does no harm
    late = arena.take(100_000)
    arena.give_back(late)
    arena.give_back(first)
    assert arena.held == 0
