"""What several tests of the pool need."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path


def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until something is true, and fail if that takes too long."""
    for _ in range(int(seconds / 0.005)):
        if true():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it did not come about")


def is_alive(process: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def told(path: Path) -> list[int]:
    """The processes that wrote themselves down with ``tasks.tell``."""
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def children() -> set[int]:
    """All processes that descend from this one."""
    found: set[int] = set()
    waiting = [os.getpid()]
    while waiting:
        parent = waiting.pop()
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                new = {int(each) for each in task.read_text().split()} - found
                found |= new
                waiting.extend(new)
    return found
