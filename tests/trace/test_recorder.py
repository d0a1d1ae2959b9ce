"""What the recorder writes, for calls of every kind and processes of every kind."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlcache import Batch, ConfigurationError, Expiry, MlcacheWarning, disabled, ml_cache, switch
from mlcache.testing import FakeClock
from mlcache.trace.format import NOT_KEPT, Records, read_trace
from mlcache.trace.reading import load
from mlcache.trace.recorder import BUFFER, PAUSE, Recorder, stop_all


def records_of(path: Path) -> Records:
    return np.concatenate(list(read_trace(path)))


def traces(folder: Path) -> list[Path]:
    return sorted(folder.glob("trace*"))


def test_every_answer_is_a_record_with_its_key_cost_size_and_time(tmp_path: Path) -> None:
    with FakeClock(1000.0) as time:

        @ml_cache(backend="lru?max_bytes=1MiB", ignore=["time"])
        def square(number: int) -> bytes:
            time.advance(0.5)
            return bytes(number)

        with Recorder(tmp_path / "trace"):
            square(100)
            square(100)
            square(7_000)
            key = square.cache_key(100)
    records = records_of(tmp_path / "trace")
    assert records["time"].tolist() == [1000.5, 1000.5, 1001.0]
    assert records["cost"].tolist() == [0.5, 0.5, 0.5]
    assert records["size"][0] == records["size"][1] == pytest.approx(100, abs=100)
    assert records["size"][2] == pytest.approx(7_000, abs=100)
    digest = int.from_bytes(key.digest[:8], "little")
    assert records["key"].tolist() == [digest, digest, records["key"][2]]
    assert records["key"][2] != digest


def test_a_trace_has_nothing_of_the_arguments_answers_and_names(tmp_path: Path) -> None:
    @ml_cache(backend="lru?max_bytes=1MiB")
    def confidential(text: str) -> str:
        return f"answer to {text}"

    with Recorder(tmp_path / "trace"):
        confidential("the patient's name")
    data = (tmp_path / "trace").read_bytes()
    assert len(data) == 16 + 24
    assert not any(word in data for word in (b"patient", b"answer", b"confid"))
    assert (tmp_path / "trace").stat().st_mode & 0o777 == 0o600


def test_stale_answers_and_those_of_async_functions_are_recorded(tmp_path: Path) -> None:
    @ml_cache(backend="lru?max_bytes=1MiB", ttl=Expiry(10, stale=100))
    async def double(number: int) -> int:
        return 2 * number

    async def main(time: FakeClock) -> None:
        await double(1)
        time.advance(50)
        await double(1)
        await asyncio.sleep(0)

    with FakeClock() as time, Recorder(tmp_path / "trace"):
        asyncio.run(main(time))
    records = records_of(tmp_path / "trace")
    assert len(records) >= 2
    assert len(set(records["key"].tolist())) == 1
    assert not np.isnan(records["size"]).any()


def test_each_item_of_a_batch_is_recorded(tmp_path: Path) -> None:
    @ml_cache(backend="lru?max_bytes=1MiB", batch=Batch("numbers"))
    def squares(numbers: list[int]) -> list[int]:
        return [number**2 for number in numbers]

    with Recorder(tmp_path / "trace"):
        squares([1, 2, 3])
        squares([2, 3, 4])
    workload = load([tmp_path / "trace"]).workload
    assert len(workload) == 6
    assert len(workload.asked) == 4
    assert (workload.sizes > 0).all()


def test_followers_of_a_computation_are_recorded(tmp_path: Path) -> None:
    @ml_cache(backend="lru?max_bytes=1MiB")
    async def slow(number: int) -> int:
        await asyncio.sleep(0)
        return number

    async def main() -> None:
        await asyncio.gather(*(slow(1) for _ in range(4)))

    with Recorder(tmp_path / "trace"):
        asyncio.run(main())
    records = records_of(tmp_path / "trace")
    assert len(records) == 4
    assert np.isnan(records["cost"]).sum() == 3
    assert len(load([tmp_path / "trace"]).workload) == 4


def test_values_that_are_not_kept_are_marked(tmp_path: Path) -> None:
    @ml_cache(backend="lru?max_bytes=1MiB", when=lambda value: value > 1)
    def same(number: int) -> int:
        return number

    with Recorder(tmp_path / "trace"):
        for number in (1, 1, 2, 2):
            same(number)
    assert (records_of(tmp_path / "trace")["size"] == NOT_KEPT).sum() == 2
    recorded = load([tmp_path / "trace"])
    assert (len(recorded.workload), recorded.not_kept) == (2, 2)


def test_calls_past_the_cache_and_after_the_end_are_not_recorded(tmp_path: Path) -> None:
    @ml_cache(backend="lru?max_bytes=1MiB")
    def same(number: int) -> int:
        return number

    with Recorder(tmp_path / "trace"), disabled():
        same(1)
    same(2)
    assert (tmp_path / "trace").stat().st_size == 16
    assert switch.detours == 0


def test_records_are_written_when_a_second_has_passed_or_the_buffer_is_full(tmp_path: Path) -> None:
    @ml_cache(backend="lru?max_bytes=1MiB")
    def same(number: int) -> int:
        return number

    with FakeClock() as time, Recorder(tmp_path / "trace"):
        same(1)
        assert (tmp_path / "trace").stat().st_size == 16
        time.advance(PAUSE)
        same(1)
        assert len(records_of(tmp_path / "trace")) == 2
        for _ in range(BUFFER // 24 + 1):
            same(1)
        assert (tmp_path / "trace").stat().st_size > BUFFER


def test_nothing_is_written_over_a_file_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "trace").write_text("precious")
    with Recorder(tmp_path / "trace") as recorder:
        assert recorder.path != tmp_path / "trace"
    assert (tmp_path / "trace").read_text() == "precious"
    assert len(traces(tmp_path)) == 2


def test_where_nothing_can_be_written_recording_ends_with_a_warning(tmp_path: Path) -> None:
    @ml_cache(backend="lru?max_bytes=1MiB")
    def same(number: int) -> int:
        return number

    (tmp_path / "folder").mkdir()
    with FakeClock() as time, Recorder(tmp_path / "folder" / "trace"):
        (tmp_path / "folder" / "trace").unlink()
        (tmp_path / "folder").rmdir()
        time.advance(PAUSE)
        with pytest.warns(MlcacheWarning, match="nothing more is recorded to .*trace"):
            assert same(1) == 1
        assert same(1) == 1
        assert switch.detours == 0


def test_the_variable_starts_it_at_the_first_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @ml_cache(backend="lru?max_bytes=1MiB")
    def same(number: int) -> int:
        return number

    @ml_cache(backend="lru?max_bytes=1MiB")
    def other(number: int) -> int:
        return number

    monkeypatch.setenv("MLCACHE_TRACE", str(tmp_path / "trace"))
    try:
        same(1)
        same(1)
        other(1)
    finally:
        stop_all()
    assert len(records_of(tmp_path / "trace")) == 3
    assert traces(tmp_path) == [tmp_path / "trace"]


def test_a_file_that_cannot_be_made_is_an_error_at_the_first_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @ml_cache(backend="lru?max_bytes=1MiB")
    def same(number: int) -> int:
        return number

    monkeypatch.setenv("MLCACHE_TRACE", str(tmp_path / "missing" / "trace"))
    with pytest.raises(ConfigurationError, match="MLCACHE_TRACE a file in a folder that is there"):
        same(1)


@pytest.mark.parametrize("place", ["", "/"])
def test_a_folder_in_place_of_a_file_is_told(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @ml_cache(backend="lru?max_bytes=1MiB")
    def same(number: int) -> int:
        return number

    monkeypatch.setenv("MLCACHE_TRACE", place or str(tmp_path))
    with pytest.raises(ConfigurationError, match="MLCACHE_TRACE a file in a folder that is there"):
        same(1)
    assert list(tmp_path.parent.glob(f"{tmp_path.name}.*")) == []


FULL_DISK = """
import os, resource, sys, warnings
from mlcache import ml_cache

def same(number):
    return number

first, other = (ml_cache(backend="lru?max_bytes=1MiB")(same) for _ in range(2))

def fill():
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    if sys.argv[1] == "forked":
        first(0)
        if child := os.fork():
            sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    fill()
    assert [first(1), first(2), other(1), other(2)] == [1, 2, 1, 2]
assert [str(each.message).partition(" to ")[0] for each in told] == ["nothing more is recorded"], told
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a bound of the size of files")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize(("when", "files"), [("at once", 0), ("forked", 1)])
def test_on_a_full_disk_calls_go_on_with_one_warning_and_no_empty_files(
    when: str, files: int, tmp_path: Path
) -> None:
    environment = os.environ | {"MLCACHE_TRACE": str(tmp_path / "trace")}
    subprocess.run([sys.executable, "-c", FULL_DISK, when], env=environment, check=True)
    assert len(traces(tmp_path)) == files


SERVICE = """
import os, signal, sys
from mlcache import ml_cache
from mlcache.testing import FakeClock

@ml_cache(backend="lru?max_bytes=1MiB")
def same(number):
    return number

time = FakeClock().__enter__()
for number in range(10):
    same(number % 3)
time.advance(1)
same(7)
same(8)
if sys.argv[1] == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("end", "records"), [("exit", 12), ("kill", 11)])
def test_a_process_writes_at_its_end_and_loses_a_second_when_killed(
    tmp_path: Path, end: str, records: int
) -> None:
    environment = os.environ | {"MLCACHE_TRACE": str(tmp_path / "trace")}
    subprocess.run([sys.executable, "-c", SERVICE, end], env=environment, check=end == "exit")
    assert len(records_of(tmp_path / "trace")) == records


def call_in_child(function: Any, number: int) -> None:
    function(number)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_children_write_files_of_their_own(tmp_path: Path) -> None:
    @ml_cache(backend="lru?max_bytes=1MiB")
    def same(number: int) -> int:
        return number

    context: Any = multiprocessing.get_context("fork")
    with Recorder(tmp_path / "trace"):
        same(1)
        children = [context.Process(target=call_in_child, args=(same, number)) for number in (1, 2, 3)]
        for child in children:
            child.start()
        for child in children:
            child.join()
            child.close()
        same(4)
    assert [len(records_of(path)) for path in traces(tmp_path)] == [2, 1, 1, 1]
    workload = load(traces(tmp_path)).workload
    assert (len(workload), len(workload.asked)) == (5, 4)
