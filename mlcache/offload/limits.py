"""Bounds on a worker: how many threads its numerical libraries use, and how much memory it has."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_VARIABLES = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"),
    *("VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMEXPR_MAX_THREADS", "NUMBA_NUM_THREADS"),
    *("RAYON_NUM_THREADS", "POLARS_MAX_THREADS"),
)


def environment(threads: int | None) -> dict[str, str]:
    """The variables that bound the threads of libraries which are imported after they are set.

    Args:
        threads: for each library; None: as many as it likes.
    """
    return {} if threads is None else dict.fromkeys(_VARIABLES, str(threads))


def limit_threads(threads: int | None) -> None:
    """Bound the threads of libraries that are imported already; by threadpoolctl, where it is installed."""
    if threads is None:
        return
    os.environ.update(environment(threads))  # for what is imported later
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        pass
    else:
        threadpool_limits(threads)
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)


def memory_of(process: int) -> int:
    """Bytes of memory that are the process's own, without what it shares with others; 0 if it has ended."""
    if Path("/proc/self/statm").exists():
        return _memory_in_proc(process)
    return _memory_by_ps(process)


def _memory_in_proc(process: int) -> int:
    try:
        pages = Path(f"/proc/{process}/statm").read_bytes().split()
    except OSError:
        return 0
    return (int(pages[1]) - int(pages[2])) * _page_size()


@functools.cache
def _page_size() -> int:
    return os.sysconf("SC_PAGE_SIZE")


def _memory_by_ps(process: int) -> int:
    """Where there is no ``/proc``: what shares memory is counted, too."""
    command = ["ps", "-o", "rss=", "-p", str(process)]
    try:
        shown = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - a fixed program
    except OSError:
        return 0
    return int(shown.stdout or 0) * 1024
