"""The parent's side of the nursery: orders workers, and hears of their births and deaths."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator

from mlcache import clock
from mlcache.offload import limits
from mlcache.offload.nursery import KILL, ORDER, REPORT, START, spawn

METHODS = ("forkserver", "spawn", "fork")
GRACE = 1.0
"""Seconds that a nursery is given to end its workers and itself."""


class Nursery:
    """A process that starts workers for this one.

    Args:
        method: ``"forkserver"``: workers are forks of a fresh interpreter; ``"spawn"``: each is a
            fresh interpreter; ``"fork"``: they are forks of this process, as it is now.
        threads: that numerical libraries may use in each worker.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, method: str, threads: int) -> None:
        self._control, theirs = socket.socketpair()
        self._reports = bytearray()
        self._process: subprocess.Popen[bytes] | int
        try:
            if method == "fork":
                self._process = _fork(self._control, theirs)
            else:
                self._process = _spawn(method, theirs, threads)
        except BaseException:
            self._control.close()
            raise
        finally:
            theirs.close()
        self._control.setblocking(False)  # noqa: FBT003 - its signature

    def fileno(self) -> int:
        """The descriptor that reports arrive at."""
        return self._control.fileno()

    def start(self, number: int) -> socket.socket:
        """Order a worker, and return this end of its socket.

        Raises:
            OSError: no descriptor is left, or the nursery has ended.
        """
        ours, theirs = socket.socketpair()
        try:
            for end in (ours, theirs):  # so that a call never waits for the worker to read it
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
            socket.send_fds(self._control, [ORDER.pack(START, number)], [theirs.fileno()])
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)  # noqa: FBT003 - the same
        return ours

    def kill(self, number: int) -> None:
        """Order a worker's end, which is reported, too."""
        with contextlib.suppress(OSError):  # the nursery has ended, and its workers with it
            self._control.send(ORDER.pack(KILL, number))

    def reports(self) -> Iterator[tuple[int, int, int]]:
        """What has been reported: number, process and status, as ``nursery.REPORT`` has them.

        Raises:
            EOFError: after the last one, if the nursery has ended.
        """
        ended = False
        try:
            while data := self._control.recv(4096):
                self._reports += data
            ended = True
        except BlockingIOError:
            pass
        except OSError:
            ended = True
        whole = len(self._reports) - len(self._reports) % REPORT.size
        taken = bytes(self._reports[:whole])
        del self._reports[:whole]
        yield from REPORT.iter_unpack(taken)
        if ended:
            raise EOFError

    def forget(self) -> None:
        """Close what a fork of this process has of it; the nursery is not its child."""
        self._control.close()
        if isinstance(self._process, subprocess.Popen):
            self._process.returncode = 0

    def close(self) -> None:
        """End it, and all workers with it."""
        self._control.close()
        if isinstance(self._process, subprocess.Popen):
            try:
                self._process.wait(GRACE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        else:
            with contextlib.suppress(ChildProcessError):
                _wait_for(self._process)


def _spawn(method: str, end: socket.socket, threads: int) -> subprocess.Popen[bytes]:
    role = "nursery" if method == "forkserver" else "spawning_nursery"
    return spawn(role, end, {**os.environ, **limits.environment(threads)})


def _fork(ours: socket.socket, theirs: socket.socket) -> int:
    """A copy of this process that is a nursery, and never returns to what this one was doing."""
    from mlcache.offload import boot, worker

    del worker  # but imported: a thread that imports while we fork would leave its locks to the child
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()  # what is in its buffer would be written by the workers, too
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there are threads, and it is asked for
        process = os.fork()
    if process:
        return process
    try:
        ours.close()
        boot.serve(theirs, forks=True)
    finally:
        os._exit(0)


def _wait_for(process: int) -> None:
    """Wait for a child to end, and kill it if it takes long: a fork of a threaded program may be stuck."""
    ends = clock.ticks() + GRACE
    while not os.waitpid(process, os.WNOHANG)[0]:
        if clock.ticks() > ends:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return
        select.select([], [], [], 0.002)
