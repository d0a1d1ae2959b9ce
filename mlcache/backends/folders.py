"""Folders of caches: where they are, whose they are, and whether they are still there."""

from __future__ import annotations

import os
from pathlib import Path

from mlcache.errors import BackendError, ConfigurationError, MissingExtraError

FileId = tuple[int, int] | None


def default_directory() -> Path:
    """The folder for caches of this user on this platform."""
    try:
        import platformdirs
    except ImportError:
        raise MissingExtraError("backend 'disk'", "platformdirs", "disk") from None
    return Path(platformdirs.user_cache_dir("mlcache"))


def absolute(directory: str | os.PathLike[str]) -> Path:
    """``directory`` from the root on, ``~`` read as the user's home.

    Raises:
        ConfigurationError: it is relative, and this process's working directory has been removed.
    """
    path = Path(directory).expanduser()
    try:
        return path.absolute()
    except FileNotFoundError:
        raise ConfigurationError(
            f"the folder {path} is relative, and the working directory has been removed: give an absolute one"
        ) from None


def claim(directory: Path) -> None:
    """Make the folder for its owner alone, or see that it is ours.

    Raises:
        BackendError: another user owns it.
        OSError: it cannot be made.
    """
    if not directory.exists():
        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "geteuid") and directory.stat().st_uid != os.geteuid():
        raise BackendError("another user owns it")


def file_id(path: Path) -> FileId:
    """What tells a file from another one that has taken its place; None if it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
