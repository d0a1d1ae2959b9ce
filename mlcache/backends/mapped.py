"""Large files mapped into memory, so that only what is looked at is ever read.

A map does not hold its file open, so there may be thousands of maps in a process that may open no
more than a thousand files. ``mmap.mmap`` would: before Python 3.13 it keeps a descriptor of its own
until it is closed. Hence the two functions of C themselves.

NumPy refuses to write to a map, but not everybody asks NumPy: torch and SciPy's ``overwrite_a`` write
to an array whatever its flags say. Pages that allow no writing would end the process for that; these
are private, so whoever writes has a copy of the pages in question, and the file stays as it is.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import sys
import weakref
from collections import OrderedDict
from collections.abc import Callable
from io import FileIO
from typing import Any

import msgspec
import numpy as np

from mlcache import clock

SMALLEST = 256 * 1024
"""Bytes of a file from which on mapping it takes less time than reading it."""

MOST_MAPS = 16_384
"""How many there may be at once. Linux gives a process 65,530, and its allocator needs some, too."""

MOST_VERIFIED = 8192
"""How many files are remembered as verified."""

SETTLED_NS = 100_000_000
"""Nanoseconds after which another change of a file shows in its times, whose clock may tick each 10 ms."""


class MappedFile(msgspec.Struct, frozen=True):
    """What is in a file.

    Args:
        path: of the file.
        state: its inode, its size, and when its content and its inode were changed, in nanoseconds.
        data: its bytes, which NumPy does not write to. They stay as long as anything refers to them,
            also where the file is removed.
    """

    path: str
    state: tuple[int, int, int, int]
    data: memoryview


def read_file(path: str, *, mapping: bool = True) -> bytes | MappedFile:
    """What is in a file: mapped into memory if it is large and ``mapping`` is not ruled out.

    Whoever maps a file must own it: if it is cut short, or its disk fails, the process that next
    looks at the part in question is ended by a signal.

    Raises:
        OSError: it cannot be read.
    """
    with FileIO(path) as file:
        if mapping:
            status = os.fstat(file.fileno())
            pages = _map(file.fileno(), status.st_size) if status.st_size >= SMALLEST else None
            if pages is not None:
                state = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
                return MappedFile(path, state, np.asarray(pages).data)
        return file.readall()


class Verified:
    """The files that were found whole, for as long as they stay as they were."""

    def __init__(self) -> None:
        self._states: OrderedDict[str, tuple[int, int, int, int]] = OrderedDict()

    def has(self, file: MappedFile) -> bool:
        """Whether this very file, unchanged since, was found whole."""
        return self._states.get(file.path) == file.state

    def note(self, file: MappedFile) -> None:
        """Remember that it was found whole, unless it was changed so lately that its times may not tell."""
        if file.state[-1] + SETTLED_NS < clock.now() * 1e9:
            self._states[file.path] = file.state
            if len(self._states) > MOST_VERIFIED:
                self._states.popitem(last=False)


class _Pages:
    """The pages of a file in memory, given back when the last array or view of them is gone."""

    def __init__(self, address: int, size: int, unmap: Callable[[int, int], int]) -> None:
        self._unmap = functools.partial(unmap, address, size)
        # NumPy's way to share memory; True is for read-only.
        self.__array_interface__ = {
            "version": 3,
            "typestr": "|u1",
            "shape": (size,),
            "data": (address, True),
        }
        _alive.add(self)

    def __del__(self) -> None:
        self._unmap()


_alive: weakref.WeakSet[_Pages] = weakref.WeakSet()


def _map(descriptor: int, size: int) -> _Pages | None:
    """The pages of an open file; None where they cannot be had, so that it has to be read."""
    functions = _functions()
    if functions is None or len(_alive) >= MOST_MAPS:
        return None
    map_, unmap = functions
    protection = mmap.PROT_READ | mmap.PROT_WRITE
    address = map_(None, size, protection, mmap.MAP_PRIVATE, descriptor, 0)
    return None if address == _FAILED else _Pages(address, size, unmap)


_FAILED = ctypes.c_void_p(-1).value


@functools.cache
def _functions() -> tuple[Any, Any] | None:
    """The functions ``mmap`` and ``munmap`` of POSIX; None on other systems.

    Windows has its own, but removes no file that is mapped.
    """
    if os.name != "posix" or sys.maxsize < 2**32:
        return None
    library = ctypes.CDLL(None)
    map_, unmap = library.mmap, library.munmap
    map_.restype = ctypes.c_void_p
    map_.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_int64]
    unmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return map_, unmap
