"""Bounds on threads and the look at memory."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np  # whose BLAS is bounded
import pytest

from mlcache.offload import limits


def test_the_variables_bound_every_library() -> None:
    variables = limits.environment(3)
    assert set(variables.values()) == {"3"}
    assert {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"} <= set(variables)
    assert limits.environment(None) == {}


def blas_threads(bound: int | None) -> tuple[list[int], str | None]:
    """In another process, which has numpy's BLAS by now."""
    assert np
    from threadpoolctl import threadpool_info

    limits.limit_threads(bound)
    return [each["num_threads"] for each in threadpool_info()], os.environ.get("OMP_NUM_THREADS")


@pytest.mark.parametrize("bound", [1, None])
def test_libraries_that_are_imported_already_are_bounded(
    bound: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    with ProcessPoolExecutor(1, get_context("spawn")) as executor:
        threads, variable = executor.submit(blas_threads, bound).result()
    assert threads
    assert set(threads) == {bound or 2}
    assert variable == str(bound or 2)


def test_libraries_that_are_imported_later_are_bounded_where_threadpoolctl_is_missing() -> None:
    code = (
        "import os, sys; sys.modules['threadpoolctl'] = None\n"
        "from mlcache.offload import limits\n"
        "limits.limit_threads(2); print(os.environ['MKL_NUM_THREADS'])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "2\n"


HOLD = """
import sys, mmap
print(flush=True); sys.stdin.readline()
own = bytearray(64 << 20); own[::4096] = bytes(len(own[::4096]))
shared = mmap.mmap(-1, 64 << 20); shared[::4096] = bytes(len(shared[::4096]))
print(flush=True); sys.stdin.readline()
"""


@pytest.mark.parametrize("look", ["_memory_in_proc", "_memory_by_ps"])
def test_the_memory_of_another_process_is_its_own(look: str) -> None:
    measure = getattr(limits, look)
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        before = measure(child.pid)
        child.stdin.write(b"\n")
        child.stdin.flush()
        child.stdout.readline()
        grown = measure(child.pid) - before
        child.communicate(b"\n")
    assert grown >= 64 << 20
    if look == "_memory_in_proc":
        assert grown < 100 << 20  # shared memory does not count
    assert measure(child.pid) == 0


def test_this_process_has_memory() -> None:
    assert limits.memory_of(os.getpid()) > 1 << 20
