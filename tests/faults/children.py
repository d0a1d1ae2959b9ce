"""Other processes for tests: programs that import mlcache, and file systems of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
"""Seconds after which a process is taken to hang."""


def command(program: str, *arguments: object) -> list[str]:
    """What runs ``program`` with the Python and the mlcache of this one."""
    path = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    return [sys.executable, "-W", "error", "-c", path + program, *map(str, arguments)]


MODEST = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""Has the superuser bound by the permissions of files as everybody is."""


def run(
    program: str,
    *arguments: object,
    mount: str | None = None,
    modest: bool = False,
    patience: float = PATIENCE,
) -> str:
    """What ``program`` printed; it must not fail.

    Args:
        program: Python.
        arguments: for its ``sys.argv``.
        mount: shell commands that come first, in a name space for mounts of its own.
        modest: whether the permissions of files bind it, whoever runs it.
        patience: seconds after which it is taken to hang.
    """
    line = command(program, *arguments)
    if modest and _is_superuser():
        line = [*MODEST, *line]
    if mount is not None:
        line = ["unshare", "--map-root-user", "--mount", "sh", "-ec", mount + '\nexec "$@"', "sh", *line]
    done = subprocess.run(line, capture_output=True, text=True, timeout=patience, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def can_mount() -> bool:
    """Whether this user may mount something that only one process sees."""
    if shutil.which("unshare") is None or shutil.which("mount") is None or not hasattr(os, "geteuid"):
        return False
    line = ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(line, capture_output=True, check=False).returncode == 0


def _is_superuser() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


@cache
def can_be_refused() -> bool:
    """Whether a program can be run that the permissions of files bind."""
    if not _is_superuser():
        return hasattr(os, "geteuid")
    if shutil.which(MODEST[0]) is None:
        return False
    return subprocess.run([*MODEST, "true"], capture_output=True, check=False).returncode == 0
