"""Several processes on one cache folder, one of which may be killed."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from mlcache.backends.disk import Disk
from mlcache.backends.encoded import Encoded
from mlcache.codec import FrameCodec
from mlcache.testing.backends import key
from tests.faults.children import PATIENCE, command, run

WRITER = """
import sys
from mlcache.backends.disk import Disk
from mlcache.backends.encoded import Encoded
from mlcache.codec import FrameCodec
from mlcache.entry import Entry
from mlcache.testing.backends import key
store = Encoded(Disk(sys.argv[1], max_bytes=2**30), FrameCodec())
turn = 0
while True:
    for number in range(8):
        store.put(key(number), Entry(f"{turn} " * (10 + 100_000 * (number % 2)), 1.0))
    turn += 1
    print(turn, flush=True)
"""

MANY = """
import random, sys
from mlcache.backends.disk import Disk
from mlcache.backends.encoded import Encoded
from mlcache.codec import FrameCodec
from mlcache.entry import Entry
from mlcache.testing.backends import key
store = Encoded(Disk(sys.argv[1], max_bytes=2**30), FrameCodec())
me, whole = sys.argv[2], 0
print("ready", flush=True)
sys.stdin.readline()
for turn in range(40):
    number = random.randrange(4)
    size = 10 + 30_000 * (number % 2)
    store.put(key(number), Entry(f"{number} {me} {turn};" * size, 1.0))
    found = store.get(key(random.randrange(4)))
    if found is not None:
        text = found.value
        first, _, rest = text.partition(";")
        assert text == (first + ";") * text.count(";"), "a torn value"
        assert len(first.split()) == 3
        whole += 1
print(whole)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_writer_that_is_killed_leaves_whole_values_and_no_lock(tmp_path: Path, turns: int) -> None:
    with subprocess.Popen(command(WRITER, tmp_path / "cache"), stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        for _ in range(turns):
            assert writer.stdout.readline()
        os.kill(writer.pid, signal.SIGKILL)
        assert writer.wait(PATIENCE) == -signal.SIGKILL
    disk = Disk(tmp_path / "cache", max_bytes=2**30)
    store = Encoded(disk, FrameCodec())
    found = [store.get(key(number)) for number in range(8)]
    for number, entry in enumerate(found):
        assert entry is not None
        turn = int(entry.value.partition(" ")[0])
        assert turn >= turns - 1
        assert entry.value == f"{turn} " * (10 + 100_000 * (number % 2))
    disk.put(key(0), b"after", float("inf"))
    assert disk.get(key(0)) == b"after"
    assert disk.clear(key(0).namespace) == 8
    disk.close()


def test_eight_processes_on_the_same_keys_tear_no_value(tmp_path: Path) -> None:
    workers = [start(command(MANY, tmp_path / "cache", me)) for me in range(8)]
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        printed = [worker.communicate("go\n", PATIENCE) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    assert [errors for _, errors in printed] == [""] * 8
    assert sum(int(whole) for whole, _ in printed) > 8 * 20


def start(line: list[str]) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(line, text=True, stdin=pipe, stdout=pipe, stderr=pipe)


def test_a_new_process_finds_what_another_has_kept(tmp_path: Path) -> None:
    program = """
import sys, warnings
from mlcache import ml_cache

@ml_cache(backend=f"disk://{sys.argv[1]}", name="shared")
def double(x: int) -> int:
    return x * 2

results = [double.call_with_info(21) for _ in range(2)]
print([(result.value, result.status) for result in results])
"""
    folder = tmp_path / "cache"
    assert run(program, folder) == "[(42, 'miss'), (42, 'hit')]\n"
    assert run(program, folder) == "[(42, 'hit'), (42, 'hit')]\n"
