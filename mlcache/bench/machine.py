"""The machine: what measured, in words, and a yardstick of how fast it was."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import xxhash

from mlcache import clock

PACKAGES = (
    "mlcache", "numpy", "xxhash", "msgspec", "pandas", "cachetools", "diskcache", "joblib", "dogpile.cache",
    "redis", "hiredis",
)  # fmt: skip


def describe() -> dict[str, str]:
    """The machine and the Python that measure."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": f"{_cores()} cores",
        "memory": _memory(),
    }


def packages(names: Sequence[str] = PACKAGES) -> dict[str, str]:
    """The versions of what takes part, of those that are installed."""
    found: dict[str, str] = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def yardstick() -> float:
    """Seconds of some work that no cache has a part in: how fast the machine is at this moment."""
    whole = bytes(1_000_000)
    start = clock.ticks()
    total = 0
    for number in range(20_000):
        total += number * number % 7
    for _ in range(10):
        xxhash.xxh3_128_digest(whole)
    return clock.ticks() - start


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _memory() -> str:
    try:
        gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, ValueError, OSError):
        return "memory unknown"
    return f"{gigabytes:.0f} GiB of memory"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
