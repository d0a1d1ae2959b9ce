"""Little shared memory, no descriptor left: a clear error for who asks for too much, nothing broken."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from mlcache import Pool
from mlcache.errors import WorkerDied, WorkerStartError
from tests.offload import tasks
from tests.offload.helpers import until

ROOT = Path(__file__).parents[2]
TINY = "mount -t tmpfs -o size=1m tmpfs /dev/shm"
PROGRAM = """
import os, sys
import numpy as np
from mlcache import Pool
from tests.offload import tasks
if "portable" in sys.argv:
    del os.memfd_create  # as on systems that have none
assert os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize == 1 << 20
with Pool(2) as pool:
    for size in (1000, 100_000, 3_000_000, 9_000_000):
        array = np.arange(size)
        assert (pool.submit(tasks.echo, array).result(60) == array).all(), size
assert os.listdir("/dev/shm") == []
print("fine")
"""


def can_mount() -> bool:
    unshare = shutil.which("unshare")
    return unshare is not None and not subprocess.call(
        [unshare, "--mount", "sh", "-c", TINY], stderr=subprocess.DEVNULL
    )


@pytest.mark.skipif(not can_mount(), reason="no right to mount a file system of its own")
@pytest.mark.parametrize("way", ["memfd", "portable"])
def test_a_tiny_dev_shm_does_not_matter(way: str) -> None:
    script = f'{TINY} && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", sys.executable, "-c", PROGRAM, way]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=100, check=False)
    assert (done.stdout, done.returncode) == ("fine\n", 0), done.stderr


def test_without_memfd_arrays_travel_just_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    with Pool(1) as pool:
        for size in (5000, 500_000, 6_000_000):
            array = np.arange(size)
            assert (pool.submit(tasks.echo, array).result(20) == array).all()


@contextmanager
def no_descriptors() -> Iterator[None]:
    """This process cannot open anything."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    highest = max(int(file.name) for file in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, hard))
    try:
        try:
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for file in held:
            os.close(file)


def test_a_pool_that_cannot_start_for_want_of_descriptors_starts_later() -> None:
    with Pool(1) as pool:
        with no_descriptors(), pytest.raises(OSError, match="Too many open files"):
            pool.submit(tasks.echo, 1)
        assert pool.submit(tasks.echo, 1).result(20) == 1


def test_calls_that_need_no_descriptor_work_and_others_say_what_is_missing() -> None:
    with Pool(1) as pool:
        worker = pool.submit(tasks.pid).result(20)
        array = np.ones(100_000)
        assert pool.submit(tasks.echo, array).result(20).nbytes == array.nbytes
        with no_descriptors():
            assert pool.submit(tasks.echo, array).result(20).nbytes == array.nbytes
            assert isinstance(pool.submit(tasks.zeros, 5).exception(20), OSError)
            with pytest.raises(OSError, match="Too many open files"):
                pool.submit(tasks.echo, np.ones(2 << 20))
            assert pool.submit(tasks.echo, array).result(20).nbytes == array.nbytes
        assert pool.submit(tasks.zeros, 5).result(20).nbytes == 5 << 20
        assert pool.submit(np.sum, np.ones(2 << 20)).result(20) == 2 << 20
        assert pool.submit(tasks.pid).result(20) == worker
        assert pool.metrics().queued == 0


def test_a_worker_that_dies_without_descriptors_is_replaced_later() -> None:
    with Pool(1) as pool:
        worker = pool.submit(tasks.pid).result(20)
        with no_descriptors():
            os.kill(worker, signal.SIGKILL)
            # One descriptor of the dead worker's is free, and a new one takes two: it cannot be started.
            error = pool.submit(tasks.pid).exception(20)
            assert isinstance(error, WorkerStartError | WorkerDied)
        until(lambda: pool.health().ready)
        assert pool.submit(tasks.pid).result(20) != worker
        assert not pool.health().degraded
