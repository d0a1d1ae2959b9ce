"""The nursery: a small process that starts workers, and is their parent.

It has one thread and never runs code of users, so it can always fork, always notices the death of a
worker at once, knows what it died of, and ends a worker without a race for its number. When the
program that it belongs to ends, however it ends, it kills all workers, busy or idle.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import warnings

ORDER = struct.Struct("<cI")
"""What it is told: to start a worker, whose socket comes along, or to kill one; and its number."""
START, KILL = b"s", b"k"

REPORT = struct.Struct("<IIi")
"""What it tells: the number of a worker, its process, and how that ended."""
BORN = -(1 << 31)
"""In place of how it ended: it has been started."""
UNBORN = BORN + 1
"""In place of how it ended: no process could be started; its number is that of the error."""


class Nursery:
    """The processes of the workers, by number.

    Args:
        control: where orders come from and reports go to.
        forks: whether a worker is a fork of it; else it is a fresh interpreter.
        parent: the process it belongs to.
    """

    def __init__(self, control: socket.socket, *, forks: bool, parent: int) -> None:
        self._control = control
        self._forks = forks
        self._parent = parent
        self._processes: dict[int, int] = {}
        self._signals, self._notify = socket.socketpair()
        for end in (self._signals, self._notify):
            end.setblocking(False)  # noqa: FBT003 - its signature
        self._watch = _watch(parent)

    def serve(self) -> socket.socket | None:
        """Do as ordered until the parent has ended. In a forked worker: its socket, at once."""
        signal.set_wakeup_fd(self._notify.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _nothing)
        poll = select.poll()
        for source in (self._control, self._signals, self._watch):
            if source is not None:
                poll.register(source, select.POLLIN)
        while os.getppid() == self._parent:
            ready = {number for number, _ in poll.poll()}
            if self._signals.fileno() in ready:
                self._signals.recv(4096)
                self._report_deaths()
            if self._control.fileno() in ready:
                order = self._order()
                if order is None:
                    break
                if (mine := self._obey(*order)) is not None:
                    self._leave()
                    return mine
        self._kill_all()
        self._leave()
        return None

    def _leave(self) -> None:
        """Close what it has, at its end or in a forked worker."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for end in (self._signals, self._notify, self._control):
            end.close()
        if self._watch is not None:
            os.close(self._watch)

    def _order(self) -> tuple[bytes, int, int | None] | None:
        data, files, _, _ = socket.recv_fds(self._control, ORDER.size, 1)
        while data and len(data) < ORDER.size and (more := self._control.recv(ORDER.size - len(data))):
            data += more
        if len(data) < ORDER.size:
            return None
        kind, number = ORDER.unpack(data)
        return kind, number, files[0] if files else None

    def _obey(self, kind: bytes, number: int, file: int | None) -> socket.socket | None:
        if kind == KILL:
            if (process := self._processes.get(number)) is not None:
                os.kill(process, signal.SIGKILL)
            return None
        if file is None:  # no descriptor is left here
            self._report(number, 0, UNBORN)
            return None
        end = socket.socket(fileno=file)
        try:
            process = self._bear(end)
        except OSError as error:
            self._report(number, error.errno or 0, UNBORN)
            end.close()
            return None
        if process == 0:
            return end
        end.close()
        self._processes[number] = process
        self._report(number, process, BORN)
        return None

    def _bear(self, end: socket.socket) -> int:
        """Start a process for the worker at ``end``; 0 in that process itself."""
        if not self._forks:
            child = spawn("worker", end)
            child.returncode = 0  # so that subprocess leaves it to us to wait for it
            return child.pid
        me = os.getpid()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of libraries' own threads
            process = os.fork()
        if process == 0:
            end_with_parent(me)
        return process

    def _report_deaths(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                for number, process in list(self._processes.items()):
                    if process == ended[0]:
                        del self._processes[number]
                        self._report(number, process, os.waitstatus_to_exitcode(ended[1]))

    def _report(self, number: int, process: int, status: int) -> None:
        with contextlib.suppress(OSError):  # the parent has ended, which the loop notices
            self._control.sendall(REPORT.pack(number, process, status))

    def _kill_all(self) -> None:
        for process in self._processes.values():
            os.kill(process, signal.SIGKILL)
        for process in self._processes.values():
            os.waitpid(process, 0)


def spawn(
    role: str, end: socket.socket, environment: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """A fresh interpreter that imports what this one could, and is a nursery or a worker at ``end``."""
    start = f"from mlcache.offload.boot import {role}; {role}({end.fileno()})"
    texts = [place for place in sys.path if isinstance(place, str)]  # Python passes over all else, as a Path
    code = f"import sys; sys.path[:] = {texts!r}; {start}"
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001 - no other way
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, *flags, "-c", code],
        stdin=subprocess.DEVNULL,
        pass_fds=[end.fileno()],
        env=environment,
    )


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, where it can; end if that has happened."""
    if sys.platform == "linux":
        import ctypes

        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _nothing(*_: object) -> None:
    """A handler, so that a child's end wakes the loop."""


def _watch(parent: int) -> int | None:
    """A descriptor that tells when the parent has ended, even if a copy of it still holds its sockets."""
    try:
        return os.pidfd_open(parent)
    except (AttributeError, OSError):
        return None
