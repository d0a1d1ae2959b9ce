"""The cache folder."""

from __future__ import annotations

import math
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlcache import clock
from mlcache.backends.disk import Disk
from mlcache.backends.folders import default_directory
from mlcache.errors import BackendError, ConfigurationError, EntryTooLargeError
from mlcache.stores import open_backend
from mlcache.testing.backends import key, payload
from tests.faults.children import run

KEY = key(1)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "deep" / "cache", max_bytes=2**20)
    yield disk
    disk.close()


def connections(disk: Disk) -> int:
    """How many files of the index this process has open."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("open files cannot be counted here")
    links = []
    for file in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(file.readlink()))
        except FileNotFoundError:  # that of the listing itself
            continue
    return links.count(str(disk.directory / "cache.db"))


def test_the_folder_is_made_at_first_use_for_its_owner_alone(disk: Disk) -> None:
    assert not disk.directory.exists()
    disk.put(KEY, b"data", math.inf)
    assert stat.S_IMODE(disk.directory.stat().st_mode) == 0o700


def test_a_path_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Disk("~/cache", max_bytes=2**20).directory == tmp_path / "cache"


@pytest.mark.parametrize("backend", ["disk", "joblib"])
def test_a_relative_path_needs_a_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ConfigurationError, match=r"folder below/cache is relative.*give an absolute one"):
        open_backend(f"{backend}://below/cache")


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    disk = Disk("cache", max_bytes=2**20)
    monkeypatch.chdir("/")
    disk.put(KEY, b"data", math.inf)
    disk.close()
    assert (tmp_path / "cache" / "cache.db").is_file()


def test_the_default_folder_is_the_users_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = default_directory()
    assert folder.name == "mlcache"
    assert str(folder).startswith(str(tmp_path_factory.getbasetemp()))


def test_the_bound_is_held_by_evicting_what_was_stored_first(disk: Disk) -> None:
    for number in range(60):
        disk.put(key(number), bytes(50_000), math.inf)
    used = disk.usage()
    assert used.max_bytes == 2**20
    assert used.bytes <= 2**20 + 2 * 50_000, "for a moment it may be exceeded by what was just written"
    assert disk.get(key(0)) is None
    assert disk.get(key(59)) == bytes(50_000)


def test_what_is_larger_than_the_whole_folder_is_refused_and_the_old_value_goes(disk: Disk) -> None:
    disk.put(KEY, b"old", math.inf)
    disk.put(key(2), b"other", math.inf)
    with pytest.raises(EntryTooLargeError, match="max_bytes"):
        disk.put(KEY, bytes(2**20 + 1), math.inf)
    assert disk.get(KEY) is None
    assert disk.get(key(2)) == b"other"


def test_what_has_expired_makes_room(disk: Disk) -> None:
    for number in range(5):
        disk.put(key(number), payload(number), clock.now() - 10)
    disk.put(KEY, b"data", math.inf)
    assert set(disk.keys(KEY.namespace)) == {KEY}


def test_each_thread_has_a_connection_and_one_close_is_enough(disk: Disk) -> None:
    together = threading.Barrier(5)

    def work(number: int) -> None:
        disk.put(key(number), payload(number), math.inf)
        together.wait(20)

    with ThreadPoolExecutor(4) as threads:
        done = [threads.submit(work, number) for number in range(4)]
        together.wait(20)
        assert connections(disk) >= 4
        disk.close()
        assert connections(disk) == 0
        for each in done:
            each.result()


def test_after_closing_every_thread_may_go_on(disk: Disk) -> None:
    with ThreadPoolExecutor(1) as thread:
        thread.submit(disk.put, KEY, b"data", math.inf).result()
        disk.close()
        assert thread.submit(disk.get, KEY).result() == b"data"
        assert disk.get(KEY) == b"data"


def test_connections_of_threads_that_ended_are_closed(disk: Disk) -> None:
    for number in range(10):
        thread = threading.Thread(target=disk.put, args=(key(number), b"data", math.inf))
        thread.start()
        thread.join()
    assert connections(disk) <= 3


def test_a_store_that_is_let_go_of_lets_go_of_its_files(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "cache", max_bytes=2**20)
    disk.put(KEY, b"data", math.inf)
    index = disk._opened
    assert index is not None
    folder = disk.directory
    del disk, index
    assert connections(Disk(folder, max_bytes=2**20)) == 0


def test_two_stores_on_one_folder_see_each_other(disk: Disk) -> None:
    other = Disk(disk.directory, max_bytes=2**20)
    disk.put(KEY, b"data", math.inf)
    assert other.get(KEY) == b"data"
    other.delete(KEY)
    assert disk.get(KEY) is None
    other.close()


def test_an_error_of_opening_names_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    disk = Disk(tmp_path / "file" / "cache", max_bytes=2**20)
    for _ in range(2):
        with pytest.raises(BackendError, match=r"file/cache cannot be used"):
            disk.get(KEY)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_and_its_parent_both_go_on(disk: Disk) -> None:
    disk.put(KEY, b"parent's", math.inf)
    child = os.fork()
    if not child:
        status = 1
        try:
            found = disk.get(KEY) == b"parent's"
            disk.put(key(2), b"child's", math.inf)
            disk.close()
            status = 0 if found else 2
        finally:
            os._exit(status)
    for number in range(10, 20):
        disk.put(key(number), payload(number), math.inf)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert disk.get(key(2)) == b"child's"
    assert all(disk.get(key(number)) == payload(number) for number in range(10, 20))


UNDER_LOAD = """
import itertools, math, shutil, sys, threading
from mlcache.backends.disk import Disk
from mlcache.testing.backends import key

disk, remove, ended = Disk(sys.argv[1], max_bytes=2**24), sys.argv[2] == "remove", threading.Event()

def work(first):
    for number in itertools.count(first, 6):
        if ended.is_set():
            return
        try:
            if disk.get(key(number % 500)) is None:
                disk.put(key(number % 500), b"data", math.inf)
        except Exception:
            if not remove:
                raise

threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
for thread in threads:
    thread.start()
for _ in range(60):
    ended.wait(0.01)
    shutil.rmtree(disk.directory, ignore_errors=True) if remove else disk.close()
ended.set()
for thread in threads:
    thread.join()
disk.close()
"""


@pytest.mark.parametrize("how", ["close", "remove"])
def test_a_folder_closed_or_removed_under_load_ends_no_process(tmp_path: Path, how: str) -> None:
    assert run(UNDER_LOAD, tmp_path / "cache", how) == ""


def test_a_connection_in_use_is_closed_when_its_thread_has_done(disk: Disk) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def work() -> None:
        index = disk._index()
        with index.connections.own():
            assert index.frame(KEY.digest) == b"data"
            reached.set()
            assert go_on.wait(20)
            assert index.frame(KEY.digest) == b"data"

    disk.put(KEY, b"data", math.inf)
    with ThreadPoolExecutor(1) as thread:
        working = thread.submit(work)
        assert reached.wait(20)
        disk.close()
        assert connections(disk) >= 1
        go_on.set()
        working.result()
        assert connections(disk) == 0, "its thread is still there, but idle"


def test_transactions_on_a_removed_file_and_on_the_new_one_do_not_meet(disk: Disk) -> None:
    disk.put(KEY, b"old", math.inf)
    index = disk._index()
    with index.transact():
        shutil.rmtree(disk.directory)
        other = Disk(disk.directory, max_bytes=2**20)
        other.put(KEY, b"new", math.inf)
        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(index.delete, KEY.digest).result()
    assert other.get(KEY) is None
    other.close()


def test_no_lock_is_made_in_a_folder_that_was_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert Disk(tmp_path, max_bytes=2**20).lock(KEY) is None
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_made_in_a_folder_that_was_removed(disk: Disk) -> None:
    disk.put(KEY, b"data", math.inf)
    shutil.rmtree(disk.directory)
    lock = disk.lock(KEY)
    assert lock is not None
    assert lock.acquire()
    assert len(list((disk.directory / "locks").iterdir())) == 1
    lock.release()


@pytest.mark.parametrize("url", ["disk://~/x", "disk:///~/x", "disk:~/x"])
def test_a_url_may_begin_at_home(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    disk = open_backend(url)
    assert f"<disk: {tmp_path}/x, " in repr(disk)
