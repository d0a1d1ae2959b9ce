"""Many processes write and read the same entries, small and large, and nobody ever sees half of one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.children import PATIENCE, run
from tests.redis.servers import Server

PROCESSES = 16
OPERATIONS = int(os.environ.get("MLCACHE_TEST_OPERATIONS", "8000"))
"""How often all of them together write or read. 100,000 take a minute or two."""

PROGRAM = """
import random, sys
import numpy as np
from mlcache import open_backend
from mlcache.backends.encoded import Encoded
from mlcache.codec import FrameCodec
from mlcache.entry import Entry
from mlcache.testing.backends import key
from tests.faults.forks import all_at_once

SIZES = [3, 300, 7_000, 50_000]  # in the index, in a file, in a file that is mapped
url, processes, turns = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

def work(me):
    backend = open_backend(url)
    store = Encoded(backend, FrameCodec())
    choose = random.Random(me)
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
    return f"{torn} {found > turns / 2}"

open_backend(url).close()  # imports what it takes, once for all
all_at_once(processes, work)
"""


def _on_disk(folder: Path, _: contextlib.ExitStack) -> str:
    return f"disk://{folder}/cache"


def _on_redis(_: Path, stack: contextlib.ExitStack) -> str:
    return f"{stack.enter_context(Server()).url}?timeout=30s&connect_timeout=30s"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("place", [_on_disk, _on_redis])
def test_many_processes_see_no_torn_value(
    place: Callable[[Path, contextlib.ExitStack], str], tmp_path: Path
) -> None:
    with contextlib.ExitStack() as stack:
        url, turns = place(tmp_path, stack), OPERATIONS // PROCESSES
        printed = run(PROGRAM, url, PROCESSES, turns, patience=PATIENCE + OPERATIONS / 200)
    assert printed == "0 True\n" * PROCESSES
