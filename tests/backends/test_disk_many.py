"""Many frames at once in a folder: what is bad, locked or too large is the trouble of its item alone."""

from __future__ import annotations

import math
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mlcache.backends import disk_many
from mlcache.backends.disk import Disk
from mlcache.backends.encoded import Encoded
from mlcache.backends.index import Index
from mlcache.codec import FrameCodec
from mlcache.entry import Key
from mlcache.errors import BackendError, CorruptEntryError, EntryTooLargeError
from mlcache.testing.backends import key, payload

SMALL, LARGE = payload(1), bytes(50_000)
KEYS = [key(number) for number in range(4)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "cache", max_bytes=2**26)
    yield disk
    disk.close()


def fill(disk: Disk, *data: bytes) -> list[Exception | None]:
    return disk.put_many([(key(number), each, math.inf) for number, each in enumerate(data)])


def sql(disk: Disk, statement: str, *given: object) -> None:
    with closing(sqlite3.connect(disk.directory / "cache.db", isolation_level=None)) as connection:
        connection.execute(statement, given)


def files(disk: Disk) -> list[Path]:
    return list(disk.directory.rglob("*.val"))


@pytest.mark.parametrize(
    "change", ["value = CAST(x'ff' AS TEXT)", "value = 'text'", "mode = 4, value = x'80'", "mode = NULL"]
)
def test_a_bad_row_is_a_miss_or_an_error_and_the_others_are_found(disk: Disk, change: str) -> None:
    fill(disk, SMALL, SMALL, LARGE)
    sql(disk, f"UPDATE Cache SET {change} WHERE key = ?", KEYS[1].digest)  # noqa: S608 - as above
    first, bad, large, none = disk.get_many(KEYS)
    assert (first, large, none) == (SMALL, LARGE, None)
    assert bad is None or isinstance(bad, sqlite3.OperationalError)
    assert disk.get_many_decoded(KEYS, lambda data, **_: bytes(data))[0::2] == [SMALL, LARGE]


@pytest.mark.parametrize("name", ["../outside.val", "00/11/" + "2" * 28 + ".val"])
def test_a_row_whose_file_is_not_there_is_a_miss(disk: Disk, name: str) -> None:
    fill(disk, LARGE, SMALL, LARGE)
    sql(disk, "UPDATE Cache SET filename = ? WHERE key = ?", name, KEYS[0].digest)
    assert disk.get_many(KEYS) == [None, SMALL, LARGE, None]


def test_a_file_that_cannot_be_read_is_the_error_of_its_item(disk: Disk) -> None:
    fill(disk, LARGE, SMALL)
    (file,) = files(disk)
    file.unlink()
    file.mkdir()
    error, found, *_ = disk.get_many(KEYS)
    assert isinstance(error, IsADirectoryError)
    assert found == SMALL


def test_bytes_that_are_no_frame_are_the_error_of_their_item(disk: Disk) -> None:
    fill(disk, SMALL, b"no frame")
    found: Any = Encoded(disk, FrameCodec())
    assert [type(each) for each in found.get_many(KEYS)] == [CorruptEntryError] * 2 + [type(None)] * 2


def test_what_is_too_large_is_the_error_of_its_item(tmp_path: Path) -> None:
    with closing(Disk(tmp_path, max_bytes=2**20)) as disk:
        fill(disk, SMALL, SMALL, SMALL)
        told = fill(disk, payload(5), bytes(2**20 + 1), payload(6))
        assert [type(each) for each in told] == [type(None), EntryTooLargeError, type(None)]
        assert disk.get_many(KEYS) == [payload(5), None, payload(6), None]


def test_what_cannot_be_listed_is_the_error_of_its_item(disk: Disk) -> None:
    bad = Key("\ud800", KEYS[1].digest)
    told = disk.put_many([(KEYS[0], SMALL, math.inf), (bad, LARGE, math.inf), (KEYS[2], LARGE, math.inf)])
    assert [type(each) for each in told] == [type(None), UnicodeEncodeError, type(None)]
    assert disk.get_many(KEYS) == [SMALL, None, LARGE, None]


def test_the_bound_is_held_by_evicting_what_was_stored_first(tmp_path: Path) -> None:
    with closing(Disk(tmp_path, max_bytes=2**20)) as disk:
        told = fill(disk, *[bytes(10_000)] * 300)
        assert told == [None] * 300
        there = [found is not None for found in disk.get_many([key(number) for number in range(300)])]
        assert there == sorted(there)
        assert sum(there) > 60
        assert disk.usage().bytes <= 2**20


def test_where_nothing_is_evicted_what_has_no_room_is_refused(tmp_path: Path) -> None:
    with closing(Disk(tmp_path, max_bytes=2**20, policy="none")) as disk:
        told = fill(disk, bytes(600_000), bytes(600_000), SMALL)
        assert [type(each) for each in told] == [type(None), EntryTooLargeError, type(None)]
        told = disk.put_many([(key(number), bytes(9000), math.inf) for number in range(10, 110)])
        kept = disk.get_many([key(number) for number in range(10, 110)])
        assert [each is None for each in told] == [found is not None for found in kept]
        assert 20 < sum(each is None for each in told) < 60
        assert disk.usage().bytes <= 2**20


def test_what_is_used_is_noted_for_all(tmp_path: Path) -> None:
    with closing(Disk(tmp_path, max_bytes=2**20, policy="least-frequently-used")) as disk:
        for number in range(4):
            disk.put(key(number), bytes(230_000), math.inf)
        disk.get_many([KEYS[0], KEYS[2], KEYS[3]])
        disk.put(key(4), bytes(230_000), math.inf)
        assert [found is not None for found in disk.get_many(KEYS)] == [True, False, True, True]


def test_the_files_of_what_is_replaced_or_deleted_go(disk: Disk) -> None:
    fill(disk, LARGE, LARGE, LARGE)
    fill(disk, LARGE, SMALL, LARGE)
    assert len(files(disk)) == 2
    assert disk.delete_many(KEYS) == [True, True, True, False]
    assert files(disk) == []


def test_no_file_stays_of_what_could_not_be_written(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    disk.put(KEYS[0], LARGE, math.inf)
    for name in ("_row_insert", "_row_update"):
        monkeypatch.setattr(Index, name, fail)
    with pytest.raises(sqlite3.OperationalError, match="full"):
        disk._index().keep_many([disk_many.a_row(at, LARGE, math.inf) for at in KEYS])
    assert disk.get_many(KEYS) == [LARGE, None, None, None]
    assert len(files(disk)) == 1


def test_many_wait_once_for_who_writes(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(disk, SMALL)
    disk._index()._patience = 0.05
    tried: list[object] = []
    monkeypatch.setattr(disk_many, "one_by_one", lambda *asked: tried.append(asked))
    with closing(sqlite3.connect(disk.directory / "cache.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        told = [*fill(disk, LARGE, SMALL), *disk.delete_many(KEYS)]
    assert {str(each) for each in told} == {"database is locked"}
    assert (len(told), tried, files(disk)) == (6, [], [])


def test_a_folder_that_was_removed_is_made_again(disk: Disk) -> None:
    fill(disk, SMALL)
    shutil.rmtree(disk.directory)
    assert fill(disk, LARGE, SMALL) == [None, None]
    assert disk.get_many(KEYS) == [LARGE, SMALL, None, None]


def test_a_folder_that_cannot_be_used_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    disk = Disk(tmp_path / "file" / "cache", max_bytes=2**20)
    with pytest.raises(BackendError, match="cannot be used"):
        disk.get_many(KEYS)
    with pytest.raises(BackendError, match="cannot be used"):
        fill(disk, SMALL)


def test_a_large_file_is_verified_once(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlcache.backends.mapped.SETTLED_NS", -(10**12))
    fill(disk, bytes(300_000), SMALL)
    told: list[bool] = []

    def decode(data: bytes | memoryview, *, verified: bool) -> int:
        told.append(verified)
        return len(data)

    for _ in range(2):
        assert disk.get_many_decoded(KEYS, decode) == [300_000, len(SMALL), None, None]
    assert told == [False, False, True, False]


def test_what_has_expired_makes_room_for_many(disk: Disk) -> None:
    disk.put_many([(key(number), SMALL, 0.0) for number in range(100)])
    fill(disk, SMALL, SMALL, SMALL, SMALL)
    fill(disk, *[SMALL] * 9)
    assert disk.usage().items < 100
