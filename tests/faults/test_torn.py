"""Many processes write and read the same entries, small and large, and nobody ever sees half of one."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.children import PATIENCE, command
from tests.redis.servers import Server

PROCESSES = 16
OPERATIONS = int(os.environ.get("MLCACHE_TEST_OPERATIONS", "16000"))
"""How often all of them together write or read. 100,000 take a minute or two."""

WORKER = """
import random, sys
import numpy as np
from mlcache import open_backend
from mlcache.backends.encoded import Encoded
from mlcache.codec import FrameCodec
from mlcache.entry import Entry
from mlcache.testing.backends import key

SIZES = [3, 300, 7_000, 50_000]  # in the index, in a file, in a file that is mapped
backend = open_backend(sys.argv[1])
store = Encoded(backend, FrameCodec())
me, turns = int(sys.argv[2]), int(sys.argv[3])
choose = random.Random(me)
print("ready", flush=True)
sys.stdin.readline()
torn = found = 0
for turn in range(turns):
    number = choose.randrange(8)
    size = SIZES[number % 4]
    if turn % 10 == 0:
        store.put(key(number), Entry(np.full(size, number * 1_000_000 + turn, np.int64), 1.0))
        continue
    entry = store.get(key(number))
    if entry is not None:
        found += 1
        array = entry.value
        whole = array.shape == (size,) and (array == array[0]).all() and array[0] // 1_000_000 == number
        torn += not whole
backend.close()
print(torn, found > turns / 2)
"""


def _on_disk(folder: Path, _: contextlib.ExitStack) -> str:
    return f"disk://{folder}/cache"


def _on_redis(_: Path, stack: contextlib.ExitStack) -> str:
    return f"{stack.enter_context(Server()).url}?timeout=30s&connect_timeout=30s"


@pytest.mark.parametrize("place", [_on_disk, _on_redis])
def test_many_processes_see_no_torn_value(
    place: Callable[[Path, contextlib.ExitStack], str], tmp_path: Path
) -> None:
    pipe = subprocess.PIPE
    with contextlib.ExitStack() as stack:
        url = place(tmp_path, stack)
        lines = [command(WORKER, url, each, OPERATIONS // PROCESSES) for each in range(PROCESSES)]
        workers = [
            stack.enter_context(subprocess.Popen(line, text=True, stdin=pipe, stdout=pipe, stderr=pipe))
            for line in lines
        ]
        for worker in workers:
            stack.callback(worker.kill)
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        printed = [worker.communicate(timeout=PATIENCE + OPERATIONS / 200) for worker in workers]
    assert printed == [("0 True\n", "")] * PROCESSES
