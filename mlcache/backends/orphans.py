"""Files in a cache folder that no row of its index knows of.

A process that is killed between writing a file and its row, or between deleting a row and its file,
leaves one behind. It counts for no bound, so it has to be looked for.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from mlcache import clock

EVERY = 86_400.0
"""Seconds between two searches of one folder, whoever makes them: each looks at every file."""

ABANDONED = 3600.0
"""Seconds after which a file without a row is nobody's; the row of one that is being written comes sooner."""


def remove_orphans(directory: Path, known: Callable[[], Iterable[str]]) -> None:
    """Remove what was left behind in a folder, if nobody has looked lately and if it can be done.

    Args:
        directory: of the index.
        known: the files that rows know of, as paths within the folder.
    """
    mark = directory / "searched"
    with suppress(OSError, sqlite3.Error):
        if 0 <= _age(mark) < EVERY:
            return
        mark.touch(mode=0o600)
        os.utime(mark, (clock.now(), clock.now()))
        old = [file for file in directory.glob("??/??/*.val") if _age(file) > ABANDONED]
        kept = set(known()) if old else set()
        for file in old:
            if str(file.relative_to(directory)) not in kept:
                file.unlink(missing_ok=True)


def _age(file: Path) -> float:
    """Seconds since a file was written; a negative number for one that is not there."""
    try:
        return clock.now() - file.stat().st_mtime
    except FileNotFoundError:
        return -1.0
