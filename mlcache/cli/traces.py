"""Traces that are named on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlcache.errors import ConfigurationError

if TYPE_CHECKING:
    from mlcache.trace.reading import Recorded


def recorded(paths: list[Path], sample: float = 1.0) -> Recorded:
    """What the traces of one service hold, as ``mlcache.trace.reading.load`` gives it.

    Raises:
        ConfigurationError: a file is not there, or cannot be read.
        TraceError: one is no trace, or there is no call in all of them.
    """
    from mlcache.trace.reading import load

    for path in paths:
        if not path.is_file():
            raise ConfigurationError(f"there is no trace {path}: give files that MLCACHE_TRACE wrote")
    try:
        return load(paths, sample=sample)
    except OSError as error:
        which = error.filename or ", ".join(map(str, paths))
        raise ConfigurationError(f"{which} cannot be read: {error.strerror}") from error
