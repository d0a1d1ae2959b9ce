"""What a killed process left in a folder is removed in time, and nothing else is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlcache.backends.disk import Disk
from mlcache.backends.orphans import ABANDONED, EVERY
from mlcache.testing import FakeClock
from mlcache.testing.backends import key

LARGE = b"x" * 100_000
FOREVER = float("inf")


@pytest.fixture
def time() -> Iterator[FakeClock]:
    with FakeClock() as clock:
        yield clock


def leave(folder: Path, name: str, written: float) -> Path:
    """A file as a killed writer leaves it."""
    file = folder / "ab" / "cd" / f"{name:0>28}.val"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(LARGE)
    os.utime(file, (written, written))
    return file


def open_again(folder: Path) -> None:
    disk = Disk(folder, max_bytes=2**30)
    assert disk.get(key(1)) == LARGE
    disk.close()


@pytest.fixture
def folder(tmp_path: Path, time: FakeClock) -> Path:
    """A folder with one large entry, made long ago."""
    disk = Disk(tmp_path / "cache", max_bytes=2**30)
    disk.put(key(1), LARGE, FOREVER)
    disk.close()
    for file in disk.directory.rglob("*.val"):
        os.utime(file, (time.now(), time.now()))
    time.advance(2 * EVERY)
    return disk.directory


def test_what_was_left_behind_is_removed_and_entries_stay(folder: Path, time: FakeClock) -> None:
    left = leave(folder, "1", time.now() - ABANDONED - 1)
    open_again(folder)
    assert not left.exists()
    assert len(list(folder.rglob("*.val"))) == 1


def test_what_may_still_be_written_stays(folder: Path, time: FakeClock) -> None:
    young = leave(folder, "1", time.now() - ABANDONED + 1)
    open_again(folder)
    assert young.exists()


def test_what_is_not_ours_stays(folder: Path, time: FakeClock) -> None:
    other = folder / "ab" / "notes.txt"
    leave(folder, "1", time.now() - EVERY)
    other.write_text("of somebody else", encoding="utf-8")
    os.utime(other, (0, 0))
    open_again(folder)
    assert other.exists()


def test_nobody_looks_twice_a_day(folder: Path, time: FakeClock) -> None:
    open_again(folder)
    left = leave(folder, "1", time.now() - EVERY)
    time.advance(EVERY - 1)
    open_again(folder)
    assert left.exists()
    time.advance(1)
    open_again(folder)
    assert not left.exists()


def test_that_it_cannot_be_done_is_no_error(folder: Path, time: FakeClock) -> None:
    left = leave(folder, "1", time.now() - EVERY)
    mark = folder / "searched"
    mark.unlink()
    mark.mkdir()
    time.advance(EVERY)
    os.utime(mark, (0, 0))
    left.unlink()
    left.mkdir()
    os.utime(left, (0, 0))
    open_again(folder)
    assert left.exists()
