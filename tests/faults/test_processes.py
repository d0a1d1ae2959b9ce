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
