"""What is evicted from a cache folder, and how much."""

from __future__ import annotations

import math
import os
import sqlite3
import subprocess
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import diskcache.core
import pytest

from mlcache import clock
from mlcache.backends.disk import POLICIES, Disk
from mlcache.errors import ConfigurationError, EntryTooLargeError
from mlcache.testing.backends import in_threads, key
from tests.faults.children import PATIENCE, command

BOUND = 2**20
FOURTH = bytes(230_000)

Make = Callable[[str], Disk]


@pytest.fixture
def make(tmp_path: Path, request: pytest.FixtureRequest) -> Make:
    def make(policy: str) -> Disk:
        disk = Disk(tmp_path / "cache", max_bytes=BOUND, policy=policy)
        request.addfinalizer(disk.close)
        return disk

    return make


def there(disk: Disk) -> list[int]:
    """The numbers of the keys that the folder has, without using them."""
    digests = {each.digest for each in disk.keys(key(0).namespace)}
    return [number for number in range(100) if key(number).digest in digests]


def fill(disk: Disk, *numbers: int, data: bytes = FOURTH) -> None:
    for number in numbers:
        disk.put(key(number), data, math.inf)


def test_the_policies_are_those_of_diskcache() -> None:
    assert set(POLICIES) == set(diskcache.core.EVICTION_POLICY)
    assert POLICIES[0] == diskcache.core.DEFAULT_SETTINGS["eviction_policy"]


def test_an_unknown_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"'fifo': give one of least-recently-stored, "):
        Disk(tmp_path, max_bytes=BOUND, policy="fifo")


def test_what_was_stored_longest_ago_goes_first_though_it_is_used(make: Make) -> None:
    disk = make("least-recently-stored")
    fill(disk, 1, 2, 3, 4)
    assert disk.get(key(1)) == FOURTH
    fill(disk, 5)
    assert there(disk) == [2, 3, 4, 5]


@pytest.mark.parametrize("size", [len(FOURTH), 30_000])
def test_what_was_used_longest_ago_goes_first(make: Make, size: int) -> None:
    disk = make("least-recently-used")
    fill(disk, *range(90), data=bytes(size))
    kept = there(disk)
    first = kept[0]
    assert disk.get(key(first)) == bytes(size)
    fill(disk, 90, 91, data=bytes(size))
    assert first in there(disk)
    assert kept[1] not in there(disk)


def test_what_was_used_least_goes_first_but_never_what_comes_in(make: Make) -> None:
    disk = make("least-frequently-used")
    fill(disk, 1, 2, 3, 4)
    for number, times in {1: 2, 2: 1, 3: 3, 4: 2}.items():
        for _ in range(times):
            disk.get(key(number))
    fill(disk, 5)
    assert there(disk) == [1, 3, 4, 5]
    fill(disk, 6)
    assert there(disk) == [1, 3, 4, 6]


def test_by_none_nothing_is_evicted_and_what_has_no_room_is_refused(make: Make) -> None:
    disk = make("none")
    fill(disk, 1, 2, 3, 4)
    with pytest.raises(EntryTooLargeError, match="max_bytes"):
        fill(disk, 5)
    assert there(disk) == [1, 2, 3, 4]
    assert len(list(disk.directory.rglob("*.val"))) == 4
    disk.put(key(1), FOURTH, clock.now() - 1)
    fill(disk, 5)
    assert there(disk) == [2, 3, 4, 5]


def test_the_policy_may_change_from_one_process_to_the_next(make: Make) -> None:
    disk = make("least-recently-stored")
    fill(disk, 1, 2, 3, 4)
    disk.close()
    disk = make("least-recently-used")
    disk.get(key(1))
    fill(disk, 5)
    assert there(disk) == [1, 3, 4, 5]


def test_two_entries_that_do_not_fit_together_take_turns(make: Make) -> None:
    disk = make("least-recently-stored")
    for number in range(5):
        fill(disk, number, data=bytes(600_000))
        assert there(disk) == [number]


def test_no_more_is_evicted_than_must_be(make: Make) -> None:
    disk = make("least-recently-stored")
    fill(disk, *range(50), data=bytes(50_000))
    assert disk.usage().bytes > BOUND - 2 * 50_000


def test_large_entries_push_out_as_many_small_ones_as_it_takes(make: Make) -> None:
    disk = make("least-recently-stored")
    fill(disk, *range(100), data=bytes(9000))
    fill(disk, 100, 101, data=bytes(450_000))
    assert disk.usage().bytes <= BOUND
    assert disk.get(key(100)) == disk.get(key(101)) == bytes(450_000)


def test_what_fits_but_for_the_index_is_refused(make: Make) -> None:
    disk = make("least-recently-stored")
    fill(disk, 1)
    with pytest.raises(EntryTooLargeError):
        fill(disk, 2, data=bytes(BOUND - 1))
    assert disk.get(key(2)) is None
    assert disk.usage().bytes < BOUND


def test_a_smaller_bound_is_kept_from_the_first_write_on(tmp_path: Path) -> None:
    disk = Disk(tmp_path, max_bytes=2**24)
    fill(disk, *range(60))
    disk.close()
    disk = Disk(tmp_path, max_bytes=BOUND)
    fill(disk, 60)
    assert disk.usage().bytes <= BOUND
    assert 60 in there(disk)
    disk.close()


@pytest.mark.parametrize("policy", POLICIES[:3])
def test_threads_keep_the_bound_together(make: Make, policy: str) -> None:
    disk = make(policy)

    def work(worker: int) -> None:
        for turn in range(20):
            number = worker * 20 + turn
            fill(disk, number, data=bytes(1000 * (1 + number % 60)))
            disk.get(key(number - 1))

    in_threads(work)
    assert disk.usage().bytes <= BOUND


def test_a_value_that_is_replaced_while_it_is_looked_up_is_found(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = make("least-recently-stored")
    fill(disk, 1)
    index = disk._index()
    fetch = index.disk.fetch

    def replace_first(mode: int, filename: str, value: object, *, read: bool) -> object:
        monkeypatch.setattr(index.disk, "fetch", fetch)
        fill(disk, 1, data=FOURTH[:-1])
        return fetch(mode, filename, value, read)

    monkeypatch.setattr(index.disk, "fetch", replace_first)
    assert disk.get(key(1)) == FOURTH[:-1]


def test_a_use_that_cannot_be_written_down_costs_no_answer(make: Make) -> None:
    disk = make("least-recently-used")
    fill(disk, 1)
    disk._index()._patience = 0.001
    other = sqlite3.connect(disk.directory / "cache.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert disk.get(key(1)) == FOURTH
    other.close()


WRITERS = """
import math, random, sys
import mlcache.backends.index  # once for all
from mlcache.backends.disk import Disk
from mlcache.testing.backends import key
from tests.faults.forks import all_at_once
folder, bound, policy = sys.argv[1], int(sys.argv[2]), sys.argv[3]

def write(me):
    disk = Disk(folder, max_bytes=bound, policy=policy)
    chance = random.Random(me)
    for turn in range(250):
        size = chance.choice([500, 5_000, 40_000, 300_000])
        disk.put(key(chance.randrange(10_000)), chance.randbytes(size), math.inf)
        disk.get(key(chance.randrange(10_000)))
    disk.close()

all_at_once(3, write)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("policy", POLICIES[:3])
def test_processes_keep_the_bound_within_five_percent(tmp_path: Path, policy: str) -> None:
    bound, folder, most = 32 * 2**20, tmp_path / "cache", 0
    Disk(folder, max_bytes=bound).count("")
    writers = subprocess.Popen(command(WRITERS, folder, bound, policy))
    try:
        while writers.poll() is None:
            most = max(most, sum(bytes_in(folder)))
            threading.Event().wait(0.005)
        assert writers.wait(PATIENCE) == 0
    finally:
        writers.kill()
        writers.wait()
    assert 0.9 * bound < most < 1.05 * bound
    index, files = bytes_in(folder)
    assert index == (folder / "cache.db").stat().st_size
    assert files == sum(file.stat().st_size for file in folder.rglob("*.val"))


VOLUME = """
SELECT (SELECT page_count FROM pragma_page_count()) * (SELECT page_size FROM pragma_page_size()), value
FROM Settings WHERE key = 'size'
"""


def bytes_in(folder: Path) -> tuple[int, int]:
    """Bytes of the index and of all files, at one moment: looking for the files takes too long for that."""
    with closing(sqlite3.connect(folder / "cache.db", timeout=PATIENCE)) as connection:
        index, files = connection.execute(VOLUME).fetchone()
    return index, files
