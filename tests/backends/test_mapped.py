"""Large entries, read back as maps of their files."""

from __future__ import annotations

import ctypes
import gc
import math
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mlcache import clock
from mlcache.backends import mapped
from mlcache.backends.disk import Disk
from mlcache.backends.encoded import Encoded
from mlcache.backends.mapped import SMALLEST, MappedFile, Verified, read_file
from mlcache.backends.memory import Lru
from mlcache.backends.tiered import Tiers
from mlcache.codec import FrameCodec
from mlcache.entry import Entry
from mlcache.errors import CorruptEntryError
from mlcache.sealing import seal
from mlcache.testing import FakeClock
from mlcache.testing.backends import key
from tests.backends.test_tiered import fail

pytestmark = pytest.mark.skipif(mapped._functions() is None, reason="files are not mapped here")

KEY = key(1)
LARGE = np.arange(SMALLEST, dtype=np.float64)
SMALL = np.arange(1000, dtype=np.float64)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "cache", max_bytes=2**28)
    yield disk
    disk.close()


@pytest.fixture
def store(disk: Disk) -> Encoded:
    return Encoded(disk, FrameCodec())


@pytest.fixture
def later() -> Iterator[FakeClock]:
    """A time at which whatever a test writes has long been written."""
    with FakeClock(clock.now() + 3600) as now:
        yield now


def keep(store: Encoded, value: Any) -> None:
    store.put(KEY, Entry(value, clock.now(), size=8))


def find(store: Encoded) -> Any:
    entry = store.get(KEY)
    assert entry is not None
    return entry.value


def value_file(disk: Disk) -> Path:
    (file,) = disk.directory.rglob("*.val")
    return file


def maps_of(folder: Path) -> int:
    """How many maps this process has of files in ``folder``."""
    if not Path("/proc/self/maps").exists():
        pytest.skip("maps cannot be counted here")
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    return sum(str(folder) in line and ".val" in line for line in lines)


def open_files() -> int:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("open files cannot be counted here")
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_large_array_is_a_map_that_nobody_can_write_to(disk: Disk, store: Encoded) -> None:
    keep(store, LARGE)
    array = find(store)
    np.testing.assert_array_equal(array, LARGE)
    assert maps_of(disk.directory) == 1
    assert not array.flags.writeable
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.flags.writeable = True
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_who_writes_to_an_array_without_asking_numpy_is_not_ended_and_changes_no_file(store: Encoded) -> None:
    keep(store, LARGE)
    child = os.fork()
    if not child:
        status = 1
        try:
            array = find(store)
            ctypes.memset(array.ctypes.data, 0xFF, array.nbytes)
            status = 0 if np.isnan(array).all() and np.array_equal(find(store), LARGE) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    np.testing.assert_array_equal(find(store), LARGE)


def test_a_map_is_given_back_with_the_last_array_on_it(disk: Disk, store: Encoded) -> None:
    keep(store, {"first": LARGE, "second": LARGE + 1})
    found = find(store)
    part = found["second"][5:10]
    del found
    assert maps_of(disk.directory) == 1
    np.testing.assert_array_equal(part, LARGE[5:10] + 1)
    del part
    assert maps_of(disk.directory) == 0


def test_what_is_small_is_read(disk: Disk, store: Encoded) -> None:
    keep(store, SMALL)
    array = find(store)
    np.testing.assert_array_equal(array, SMALL)
    assert maps_of(disk.directory) == 0


@pytest.mark.parametrize("size", [1, SMALLEST - 1, SMALLEST, SMALLEST + 1, SMALLEST + 4096])
def test_files_of_all_sizes_come_back_whole(tmp_path: Path, size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    (tmp_path / "file").write_bytes(data)
    found = read_file(str(tmp_path / "file"))
    assert isinstance(found, MappedFile) is (size >= SMALLEST)
    assert bytes(found.data if isinstance(found, MappedFile) else found) == data
    assert read_file(str(tmp_path / "file"), mapping=False) == data


def test_a_map_holds_no_file_open(disk: Disk, store: Encoded) -> None:
    keep(store, LARGE)
    find(store)
    before = open_files()
    held = [find(store) for _ in range(50)]
    assert maps_of(disk.directory) == 50
    assert open_files() == before
    assert all(array[-1] == LARGE[-1] for array in held)


@pytest.mark.parametrize("how", ["deleted", "replaced", "closed"])
def test_a_map_outlasts_its_entry(disk: Disk, store: Encoded, how: str) -> None:
    keep(store, LARGE)
    array = find(store)
    if how == "deleted":
        store.delete(KEY)
    elif how == "replaced":
        keep(store, LARGE + 1)
    else:
        store.close()
    np.testing.assert_array_equal(array, LARGE)
    assert len(list(disk.directory.rglob("*.val"))) == (how != "deleted")


def test_an_entry_is_evicted_under_a_map(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "cache", max_bytes=10 * LARGE.nbytes)
    store = Encoded(disk, FrameCodec())
    keep(store, LARGE)
    array = find(store)
    for number in range(2, 20):
        store.put(key(number), Entry(LARGE * number, clock.now()))
    assert store.get(KEY) is None
    np.testing.assert_array_equal(array, LARGE)
    store.close()


class Recorder:
    """Takes bytes as they are, and notes whether they were called verified."""

    def __init__(self) -> None:
        self.verified: list[bool] = []

    def __call__(self, data: bytes | memoryview, *, verified: bool) -> int:
        self.verified.append(verified)
        return len(data)


def test_a_file_is_verified_once_until_it_changes(disk: Disk, later: FakeClock) -> None:  # noqa: ARG001
    disk.put(KEY, bytes(SMALLEST), math.inf)
    look = Recorder()
    for _ in range(3):
        assert disk.get_decoded(KEY, look) == SMALLEST
    os.utime(value_file(disk))
    for _ in range(2):
        disk.get_decoded(KEY, look)
    disk.put(KEY, bytes(SMALLEST), math.inf)
    for _ in range(2):
        disk.get_decoded(KEY, look)
    assert look.verified == [False, True, True, False, True, False, True]


def test_a_change_that_hides_its_time_is_seen(disk: Disk, later: FakeClock) -> None:  # noqa: ARG001
    disk.put(KEY, bytes(SMALLEST), math.inf)
    look = Recorder()
    disk.get_decoded(KEY, look)
    file, was = value_file(disk), value_file(disk).stat()
    file.write_bytes(bytes([1]) * SMALLEST)
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
    disk.get_decoded(KEY, look)
    assert look.verified == [False, False]


def test_a_file_so_new_that_another_change_may_not_show_is_verified_again(disk: Disk) -> None:
    disk.put(KEY, bytes(SMALLEST), math.inf)
    written = value_file(disk).stat().st_ctime
    look = Recorder()
    with FakeClock(written) as now:
        for _ in range(2):
            disk.get_decoded(KEY, look)
        now.advance(1)
        for _ in range(2):
            disk.get_decoded(KEY, look)
    assert look.verified == [False, False, False, True]


def test_what_is_not_whole_is_not_remembered(disk: Disk, later: FakeClock) -> None:  # noqa: ARG001
    def refuse(data: bytes | memoryview, *, verified: bool) -> int:  # noqa: ARG001
        raise CorruptEntryError("no frame")

    disk.put(KEY, bytes(SMALLEST), math.inf)
    for _ in range(2):
        with pytest.raises(CorruptEntryError):
            disk.get_decoded(KEY, refuse)
    look = Recorder()
    disk.get_decoded(KEY, look)
    assert look.verified == [False]


def test_a_look_at_the_bytes_verifies_nothing(disk: Disk, later: FakeClock) -> None:  # noqa: ARG001
    disk.put(KEY, bytes(SMALLEST), math.inf)
    assert disk.get(KEY) == bytes(SMALLEST)
    look = Recorder()
    disk.get_decoded(KEY, look)
    assert look.verified == [False]


def test_damage_after_the_first_look_is_found(disk: Disk, store: Encoded, later: FakeClock) -> None:  # noqa: ARG001
    keep(store, LARGE)
    for _ in range(2):
        np.testing.assert_array_equal(find(store), LARGE)
    with value_file(disk).open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    for _ in range(2):
        with pytest.raises(CorruptEntryError, match="checksum"):
            store.get(KEY)


def test_a_file_cut_short_before_it_is_mapped_is_found(disk: Disk, store: Encoded, later: FakeClock) -> None:  # noqa: ARG001
    keep(store, LARGE)
    find(store)
    for size in (LARGE.nbytes, SMALLEST, SMALLEST - 1, 10, 0):
        os.truncate(value_file(disk), size)
        with pytest.raises(CorruptEntryError):
            store.get(KEY)


def test_only_so_many_files_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "MOST_VERIFIED", 3)
    table = Verified()
    files = [MappedFile(f"{number}", (number, 1, 1, 1), memoryview(b"")) for number in range(10)]
    for file in files:
        table.note(file)
    assert [table.has(file) for file in files] == [False] * 7 + [True] * 3


def test_beyond_so_many_maps_files_are_read(
    disk: Disk, store: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    gc.collect()
    monkeypatch.setattr(mapped, "MOST_MAPS", len(mapped._alive) + 2)
    keep(store, LARGE)
    held = [find(store) for _ in range(4)]
    assert maps_of(disk.directory) == 2
    assert all(np.array_equal(array, LARGE) for array in held)
    del held
    assert isinstance(read_file(str(value_file(disk))), MappedFile)


def test_where_files_cannot_be_mapped_they_are_read(store: Encoded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "_functions", lambda: None)
    keep(store, LARGE)
    array = find(store)
    np.testing.assert_array_equal(array, LARGE)
    assert not array.flags.writeable


def test_a_map_that_the_system_refuses_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"data")
    descriptor = os.open(tmp_path / "file", os.O_WRONLY)
    try:
        assert mapped._map(descriptor, 4) is None
    finally:
        os.close(descriptor)


def test_memory_before_disk_keeps_the_map_and_counts_it(disk: Disk) -> None:
    keep(Encoded(disk, FrameCodec()), LARGE)
    memory = Lru(max_bytes=2**28)
    tiers = Tiers([memory, Encoded(disk, FrameCodec())], fail)
    assert tiers.find(KEY) is not None
    found = tiers.find(KEY)
    assert found is not None
    assert found.tier == "lru"
    assert maps_of(disk.directory) == 1, "promotion copies nothing"
    assert memory.usage().bytes >= LARGE.nbytes
    assert not found.entry.value.flags.writeable


def test_what_is_kept_elsewhere_does_not_hang_on_a_map(store: Encoded) -> None:
    keep(store, LARGE)
    array = find(store)
    assert not np.shares_memory(seal(array).value, array)
    assert np.shares_memory(seal(array, owned=True).value, array)


def test_threads_map_and_let_go_at_once(disk: Disk, store: Encoded) -> None:
    keep(store, LARGE)
    together = threading.Barrier(8)

    def work(_: int) -> bool:
        together.wait(20)
        return all(np.array_equal(find(store), LARGE) for _ in range(30))

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(8)))
    assert maps_of(disk.directory) == 0


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_parent_and_forked_child_have_a_map_each(disk: Disk, store: Encoded) -> None:
    keep(store, LARGE)
    array: npt.NDArray[np.float64] | None = find(store)
    child = os.fork()
    if not child:
        status = 1
        try:
            whole = array is not None and bool(np.array_equal(array, LARGE))
            array = None
            status = 0 if whole and maps_of(disk.directory) == 0 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    np.testing.assert_array_equal(array, LARGE)
