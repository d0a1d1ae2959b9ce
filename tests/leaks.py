"""What a test may leave behind: threads, files, processes, temporary files and shared memory."""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
import threading
from collections.abc import Callable
from multiprocessing import shared_memory
from pathlib import Path
from unittest.mock import patch

from mlcache import crew, threads
from mlcache.backends import open as opening

OPEN_FILES = Path("/proc/self/fd")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux shows it
JOBLIB = "joblib_memmapping_folder_"
"""How the folders begin that joblib makes there, with the number of the process that made them behind it."""
LASTING = ("resource_tracker", "forkserver", "resource_sharer", "loky")
"""Processes and threads that Python and joblib start once, and use again."""


class Belongings:
    """What this process has now, to be compared with later."""

    def __init__(self) -> None:
        self._before = _look()

    def leaked(self) -> dict[str, list[str]]:
        """What there is more of than at first, by its kind. Shared things of the library are ended before."""
        end_shared()
        if not self._more():
            return {}
        gc.collect()  # what lies in a circle of references lives until then
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and thread.ident not in self._before["threads"]:
                thread.join(2)
        return self._more()

    def _more(self) -> dict[str, list[str]]:
        more = {
            kind: sorted(name for ident, name in things.items() if self._before[kind].get(ident) != name)
            for kind, things in _look().items()
        }
        more["shared memory"] = [name for name in more["shared memory"] if _is_left(name)]
        return {kind: names for kind, names in more.items() if names}


def end_shared() -> None:
    """End what all functions of a process share: the drivers' threads and the stores with plain names."""
    opening.forget_shared()
    threads.close()
    crew.renew()


def _look() -> dict[str, dict[object, str]]:
    return {
        "threads": {thread.ident: thread.name for thread in threading.enumerate() if _is_ours(thread.name)},
        "open files": _if_there(OPEN_FILES, _open_files),
        "processes": _children(),
        "temporary files": {path: str(path) for path in Path(tempfile.gettempdir()).rglob("*")},
        "shared memory": _if_there(SHARED_MEMORY, _shared_memory),
    }


def _if_there(folder: Path, look: Callable[[], dict[object, str]]) -> dict[object, str]:
    return look() if folder.is_dir() else {}


def _open_files() -> dict[object, str]:
    found: dict[object, str] = {}
    for file in OPEN_FILES.iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            found[file.name] = str(file.readlink())
    return found


def _children() -> dict[object, str]:
    if not hasattr(os, "waitid") or not Path("/proc").is_dir():
        return {}
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return {}
    me = str(os.getpid())
    found = {process.name: _command(process) for process in Path("/proc").iterdir() if _parent(process) == me}
    return {number: command for number, command in found.items() if _is_ours(command)}


def _parent(process: Path) -> str:
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[1]
    except (OSError, IndexError):
        return ""  # no process, or none any more


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_text().replace("\0", " ").strip() or "zombie"
    except OSError:
        return "ended"


def _shared_memory() -> dict[object, str]:
    """What lies there, without semaphores, which come and go with anybody's processes."""
    return {file: str(file) for file in SHARED_MEMORY.iterdir() if not file.name.startswith("sem.")}


def _is_left(segment: str) -> bool:
    """Whether it is there, and no other process's: the folder is everybody's, such as a neighbour's tests.

    Segments that Python names are ours where this process named them or one of its children has them mapped.
    """
    name, me, children = Path(segment).name, str(os.getpid()), list(map(str, _children()))
    if name.startswith("psm_") and name not in _named:
        return any(segment in _mapped(Path("/proc", child)) for child in children)
    maker = name.removeprefix(JOBLIB).partition("_")[0]
    if name.startswith(JOBLIB) and maker not in (me, *children) and Path("/proc", maker).exists():
        return False
    others = [process for process in Path("/proc").glob("[0-9]*") if process.name not in (me, *children)]
    return not any(segment in _mapped(process) for process in others) and Path(segment).exists()


_named: set[str] = set()
"""Names that this process has given to shared memory."""


def _note_names() -> None:
    """Note them from now on."""
    make_name: Callable[[], str] = vars(shared_memory)["_make_filename"]

    def noted() -> str:
        name = make_name()
        _named.add(name.lstrip("/"))
        return name

    patch.object(shared_memory, "_make_filename", noted).start()


_note_names()


def _mapped(process: Path) -> str:
    try:
        return (process / "maps").read_text()
    except OSError:
        return ""


def _is_ours(name: str) -> bool:
    return not any(word in name for word in LASTING)
