"""What may befall a cache folder while the process runs: the calls go on, and no answer is wrong."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import signal
import sqlite3
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mlcache import CachedFunction, MlcacheWarning, clock, ml_cache
from mlcache.backends import concurrent, connections, disk
from mlcache.backends.disk import POLICIES, RETRY_AFTER, Disk
from mlcache.testing import FakeClock
from tests.faults.children import can_be_refused, can_mount, command, run

SMALL, LARGE = 10, 200_000
"""Lengths of values that lie in the index, and in a file of their own."""


class Case:
    """A function on a cache folder, that counts its calls."""

    def __init__(self, folder: Path, policy: str = POLICIES[0]) -> None:
        self.folder = folder
        self.disk = Disk(folder, max_bytes=2**28, policy=policy)
        self.calls: list[int] = []

        @ml_cache(backend=self.disk, ignore=["self"])
        def load(length: int) -> str:
            self.calls.append(length)
            return "x" * length

        self.load: CachedFunction[[int], str] = load

    def answers(self, *lengths: int) -> list[int]:
        """Call with each of them, check the answers, and say which were computed."""
        self.calls.clear()
        assert [self.load(length) for length in lengths] == ["x" * length for length in lengths]
        return self.calls.copy()

    def sql(self, statement: str, *parameters: Any) -> list[Any]:
        """Do something behind the back of the library."""
        connection = sqlite3.connect(self.folder / "cache.db")
        try:
            with connection:
                return connection.execute(statement, parameters).fetchall()
        finally:
            connection.close()

    def value_file(self) -> Path:
        (file,) = self.folder.rglob("*.val")
        return file


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    case = Case(tmp_path / "cache")
    yield case
    case.disk.close()


def one_warning(of: Callable[[], Any]) -> str:
    """Do something that warns once; the warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        of()
    (warning,) = caught
    assert warning.category is MlcacheWarning
    return str(warning.message)


def test_a_folder_that_is_removed_is_made_anew(case: Case) -> None:
    assert case.answers(SMALL, LARGE) == [SMALL, LARGE]
    shutil.rmtree(case.folder)
    case.answers(1, SMALL, LARGE)
    assert case.answers(1, SMALL, LARGE) == []
    other = Case(case.folder)
    assert 1 not in other.answers(1)
    other.disk.close()
    assert case.load.cache_info().errors == 0


@pytest.mark.parametrize("remade", [False, True])
def test_a_removed_folder_is_no_error_for_a_thread_that_comes_later(case: Case, remade: bool) -> None:  # noqa: FBT001
    case.answers(SMALL)
    shutil.rmtree(case.folder)
    if remade:
        case.folder.mkdir(mode=0o700)

    def looks() -> list[Any]:
        return [case.load.peek(SMALL), case.load.invalidate(SMALL), case.load.cache_info().currsize]

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(looks).result() == [None, False, 0]
    assert case.answers(SMALL, SMALL) == [SMALL]
    assert case.load.cache_info().errors == 0


def test_a_folder_that_becomes_a_file_is_done_without(case: Case) -> None:
    case.answers(SMALL)
    shutil.rmtree(case.folder)
    case.folder.touch()

    def calls_go_on() -> None:
        assert case.answers(1, 2, 1) == [1, 2, 1]

    assert "cannot be used" in one_warning(calls_go_on)
    assert case.load.cache_info().errors >= 3


def test_a_folder_that_was_repaired_is_used_again(case: Case) -> None:
    with FakeClock() as time:
        case.folder.touch()
        one_warning(lambda: case.answers(1, 2))
        case.folder.unlink()
        assert case.answers(1, 1) == [1, 1], "it is not tried at every call"
        time.advance(RETRY_AFTER)
        assert case.answers(1, 1) == [1]


def test_a_path_that_no_folder_can_have_is_told_of_once(tmp_path: Path) -> None:
    case = Case(tmp_path / "a\0b")
    assert "cannot be used" in one_warning(lambda: case.answers(1, 2, 1))
    case.disk.close()


def test_a_folder_of_another_user_is_done_without(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    case.answers(SMALL)
    case.disk.close()
    monkeypatch.setattr(os, "geteuid", lambda: case.folder.stat().st_uid + 1)
    assert "another user owns it" in one_warning(lambda: case.answers(1, 1))


@pytest.mark.skipif(not can_mount(), reason="nothing can be mounted here")
def test_what_is_on_a_read_only_file_system_is_found_and_nothing_is_kept_there(case: Case) -> None:
    case.answers(SMALL, LARGE)
    case.disk.close()
    printed = run(
        """
import sys
from pathlib import Path
from tests.faults.test_disk import Case, LARGE, SMALL, one_warning
case = Case(Path(sys.argv[1]))
print(case.answers(SMALL, LARGE, SMALL), case.load.cache_info().errors)
print(one_warning(lambda: print(case.answers(1, 1, 2))))
print(case.load.peek(1), case.load.cache_info().currsize, case.disk.usage().items)
""",
        case.folder,
        mount=f'mount --bind "{case.folder}" "{case.folder}"; mount -o remount,bind,ro "{case.folder}"',
    )
    found, computed, warning, nothing = printed.splitlines()
    assert found == "[] 0"
    assert computed == "[1, 1, 2]"
    assert "cannot be written" in warning
    assert nothing == "None 2 2"


@pytest.mark.skipif(not can_be_refused(), reason="this user may write everywhere")
def test_a_folder_that_may_be_written_again_is_written(case: Case) -> None:
    with FakeClock():
        case.answers(SMALL, LARGE)
    case.disk.close()
    printed = run(
        """
import sys
from pathlib import Path
from mlcache.backends.disk import RETRY_AFTER
from mlcache.testing import FakeClock
from tests.faults.test_disk import Case, LARGE, SMALL, one_warning
case = Case(Path(sys.argv[1]))
paths = [case.folder, *case.folder.rglob("*")]
for each in paths:
    each.chmod(0o500 if each.is_dir() else 0o400)
with FakeClock() as time:
    one_warning(lambda: print(case.answers(SMALL, 1, LARGE, 1)))
    for each in paths:
        each.chmod(0o700 if each.is_dir() else 0o600)
    time.advance(RETRY_AFTER)
    print(case.answers(1, 1, SMALL))
""",
        case.folder,
        modest=True,
    )
    assert printed.splitlines() == ["[1, 1]", "[1]"]


@pytest.mark.skipif(not can_be_refused(), reason="this user may write everywhere")
def test_a_folder_that_becomes_read_only_while_it_is_in_use_still_answers(case: Case) -> None:
    printed = run(
        """
import sys
from pathlib import Path
from tests.faults.test_disk import Case, LARGE, SMALL, one_warning
case = Case(Path(sys.argv[1]))
print(case.answers(SMALL, LARGE))
folders = [case.folder, *(each for each in case.folder.rglob("*") if each.is_dir())]
for each in folders:
    each.chmod(0o500)
one_warning(lambda: print(case.answers(LARGE + 1, LARGE + 1, LARGE + 2)))
print(case.answers(SMALL, LARGE))
for each in folders:
    each.chmod(0o700)
print(case.answers(LARGE + 1, LARGE + 1))
""",
        case.folder,
        modest=True,
    )
    computed, refused, kept, again = printed.splitlines()
    assert computed == f"[{SMALL}, {LARGE}]"
    assert refused == f"[{LARGE + 1}, {LARGE + 1}, {LARGE + 2}]"
    assert kept == "[]"
    assert again == f"[{LARGE + 1}]"


@pytest.mark.skipif(not can_mount(), reason="nothing can be mounted here")
def test_a_full_disk_still_answers(tmp_path: Path) -> None:
    printed = run(
        """
import sys, warnings
from pathlib import Path
from mlcache import MlcacheWarning
from tests.faults.test_disk import Case
case = Case(Path(sys.argv[1]) / "cache")
print(case.answers(10, 10))
with warnings.catch_warnings():
    warnings.simplefilter("ignore", MlcacheWarning)
    print(case.answers(3_000_000, 3_000_000, 20, 20))
print(case.answers(10))
files = list(Path(sys.argv[1]).rglob("*.val"))
print(sum(file.stat().st_size for file in files))
""",
        tmp_path,
        mount=f'mount -t tmpfs -o size=1m none "{tmp_path}"',
    )
    computed, more, again, rest = printed.splitlines()
    assert computed == "[10]"
    assert more.startswith("[3000000, 3000000, 20")
    assert again == "[]"
    assert rest == "0", "what did not fit was not left behind"


WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("writing", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def stopped_writer(folder: Path) -> Iterator[None]:
    """Another process, stopped while it wrote and ended afterwards."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command(WRITER, folder / "cache.db"), stdin=pipe, stdout=pipe) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"writing\n"
            writer.send_signal(signal.SIGSTOP)
            yield
        finally:
            writer.kill()


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="nothing can be stopped here")
@pytest.mark.parametrize("policy", ["least-recently-stored", "least-recently-used"])
def test_a_process_that_was_stopped_while_it_wrote_costs_one_wait(
    policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(concurrent, "LOCK_TIMEOUT", 1.0)
    case = Case(tmp_path / "cache", policy)
    case.answers(SMALL)
    with stopped_writer(case.folder):
        started = time.perf_counter()
        assert "database is locked" in one_warning(lambda: case.answers(1))
        first = time.perf_counter()
        assert case.answers(SMALL, *range(2, 5), SMALL) == [2, 3, 4]
        rest = time.perf_counter() - first
    assert rest < 1.0 <= first - started
    assert case.answers(1, 1) == [1]
    case.disk.close()


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="nothing can be stopped here")
def test_a_folder_that_took_long_to_fail_is_left_alone_for_longer(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(concurrent, "LOCK_TIMEOUT", 0.2)
    monkeypatch.setattr(connections, "PATIENCE", 0.2)
    monkeypatch.setattr(disk, "RATIO", 1000.0)
    case.answers(SMALL)
    newcomer = Case(case.folder)
    with stopped_writer(case.folder):
        assert "database is locked" in one_warning(lambda: newcomer.answers(SMALL))
    assert newcomer.disk._failure is not None
    assert newcomer.disk._failure[0] > clock.now() + 100


CANARY = "canary"


class Bomb:
    """Runs code when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.canary),)


def test_the_bomb_works(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Bomb(tmp_path / CANARY)))
    assert (tmp_path / CANARY).is_dir()


@pytest.mark.parametrize("mode", [0, 1, 2, 3, 4, 5, None, "4"])
@pytest.mark.parametrize("place", ["row", "file"])
def test_a_planted_pickle_is_never_loaded(case: Case, tmp_path: Path, mode: object, place: str) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / CANARY))
    case.answers(LARGE)
    case.value_file().write_bytes(bomb)
    if place == "row":
        case.sql("UPDATE Cache SET mode = ?, value = ?, filename = NULL", mode, bomb)
    else:
        case.sql("UPDATE Cache SET mode = ?", mode)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MlcacheWarning)
        assert case.answers(LARGE, LARGE) == [LARGE]
    assert not (tmp_path / CANARY).exists()


def test_a_planted_pickle_as_a_key_is_never_loaded(case: Case, tmp_path: Path) -> None:
    case.answers(SMALL)
    bomb = pickle.dumps(Bomb(tmp_path / CANARY))
    case.sql("INSERT INTO Cache(key, raw, tag) SELECT ?, 0, tag FROM Cache", bomb)
    assert len(list(case.disk.keys(case.load.cache_key(SMALL).namespace))) == 1
    assert case.answers(SMALL) == []
    assert not (tmp_path / CANARY).exists()


@pytest.mark.parametrize("key", [2**40, 1.5, "text", None])
def test_a_planted_key_of_another_type_is_no_key(case: Case, key: object) -> None:
    case.answers(SMALL)
    case.sql("INSERT INTO Cache(key, raw, tag) SELECT ?, 1, tag FROM Cache", key)
    own = case.load.cache_key(SMALL)
    assert list(case.disk.keys(own.namespace)) == [own]


@pytest.mark.parametrize("value", ["text", 7, 1.5, None, b"", b"mlc\x93 and no more", b"\x00" * 100])
def test_a_row_that_holds_no_frame_is_computed_anew(case: Case, value: object) -> None:
    case.answers(SMALL)
    case.sql("UPDATE Cache SET value = ?", value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MlcacheWarning)
        assert case.answers(SMALL, SMALL) == [SMALL]


def test_a_row_that_points_out_of_the_folder_neither_reads_nor_removes(case: Case, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    for name in (str(outside), "../outside"):
        case.answers(LARGE)
        shutil.copy(case.value_file(), outside)
        case.sql("UPDATE Cache SET filename = ?", name)
        assert case.answers(LARGE, LARGE) == [LARGE]
        case.load.invalidate(LARGE)
        assert outside.is_file()
        for file in case.folder.rglob("*.val"):
            file.unlink()


@pytest.mark.parametrize("left", [0, 1, 64, LARGE // 2, -1])
def test_a_truncated_value_is_computed_anew(case: Case, left: int) -> None:
    case.answers(LARGE)
    file = case.value_file()
    os.truncate(file, left if left >= 0 else file.stat().st_size - 1)
    one_warning(lambda: case.answers(LARGE))
    assert case.load.cache_info().errors > 0
    assert case.answers(LARGE) == []


def test_a_changed_value_is_computed_anew(case: Case) -> None:
    case.answers(LARGE)
    file = case.value_file()
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    one_warning(lambda: case.answers(LARGE))
    assert case.answers(LARGE) == []


def test_a_value_whose_file_is_gone_is_computed_anew(case: Case) -> None:
    case.answers(LARGE)
    case.value_file().unlink()
    assert case.answers(LARGE, LARGE) == [LARGE]


def test_a_file_in_place_of_the_index_that_is_none_is_done_without(case: Case) -> None:
    case.folder.mkdir(mode=0o700)
    (case.folder / "cache.db").write_bytes(b"this is no database" * 1000)
    assert "cannot be used" in one_warning(lambda: case.answers(SMALL, LARGE, SMALL))
    assert case.load.cache_info().errors > 0


@pytest.mark.parametrize("damage", ["truncated", "garbage", "garbage in the middle", "removed"])
def test_an_index_damaged_while_it_is_open_ends_no_process(tmp_path: Path, damage: str) -> None:
    printed = run(
        """
import os, sys, warnings
from pathlib import Path
from tests.faults.test_disk import Case
case = Case(Path(sys.argv[1]))
case.answers(*range(500))
case.sql("PRAGMA wal_checkpoint(TRUNCATE)")
file, damage = case.folder / "cache.db", sys.argv[2]
size = file.stat().st_size
if damage == "truncated":
    os.truncate(file, 100)
elif damage == "removed":
    file.unlink()
else:
    with open(file, "r+b") as database:
        database.seek(0 if damage == "garbage" else size // 3)
        database.write(b"garbage " * (size // 24))
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    case.answers(*range(600))
print("went on")
""",
        tmp_path / "cache",
        damage,
    )
    assert printed == "went on\n"


def test_strange_settings_in_the_index_are_done_without(case: Case) -> None:
    case.answers(SMALL)
    case.disk.close()
    case.sql("UPDATE Settings SET value = 'no such policy' WHERE key = 'eviction_policy'")
    case.sql("INSERT INTO Settings VALUES ('get', 'not callable')")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MlcacheWarning)
        computed = case.answers(SMALL, 1, 1)
    assert computed.count(1) == 1
    assert case.answers(SMALL, 1) == []
