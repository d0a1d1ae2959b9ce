"""Warnings that point at the line of the user's that called, however deep in this package they are made."""

from __future__ import annotations

import os
import sys
import warnings

from mlcache.errors import MlcacheWarning

_OURS = (f"{__file__.rpartition(os.sep)[0]}{os.sep}", "<mlcache:")
"""What the file names of our frames begin with; the second are those of compiled text."""


def warn(message: str) -> None:
    """Warn whoever called this package; the outermost frame, where that is a thread of ours."""
    # Python has ``skip_file_prefixes`` for this from 3.12 on.
    frame, level = sys._getframe(), 1  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as ``warnings`` does
    while frame.f_code.co_filename.startswith(_OURS) and frame.f_back is not None:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, MlcacheWarning, stacklevel=level)
