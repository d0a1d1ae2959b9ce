"""Where the processes of a pool begin."""

from __future__ import annotations

import os
import signal
import socket
import sys
from functools import partial


def nursery(file: int) -> None:
    """Be a nursery that forks workers (``worker`` in each of these), at the socket ``file``."""
    import numpy as np  # every worker needs it: imported once, with its threads limited

    from mlcache.offload import worker as _  # the same

    del np, _
    serve(socket.socket(fileno=file), forks=True)


def spawning_nursery(file: int) -> None:
    """Be a nursery that starts a fresh interpreter for each worker."""
    serve(socket.socket(fileno=file), forks=False)


def serve(control: socket.socket, *, forks: bool) -> None:
    """Be a nursery at ``control`` until the parent ends; or one of its workers, until that ends."""
    from mlcache.offload.nursery import Nursery

    heed_only_the_parent()
    with control:
        end = Nursery(control, forks=forks, parent=os.getppid()).serve()
    if end is not None:
        work(end)


def worker(file: int) -> None:
    """Be a worker at the socket ``file``, in an interpreter of its own."""
    from mlcache.offload.nursery import end_with_parent

    end_with_parent(os.getppid())
    work(socket.socket(fileno=file))


def work(end: socket.socket) -> None:
    """Be a worker until the parent says stop or ends."""
    from mlcache.offload.worker import Worker

    heed_only_the_parent()
    _draw_other_numbers()
    with end:
        Worker(end).serve()


def _draw_other_numbers() -> None:
    """Forks have numpy's generator as it was; Python's own sees to itself."""
    if (random := sys.modules.get("numpy.random")) is not None:
        random.seed()


def heed_only_the_parent() -> None:
    """Leave the signals that are sent to a whole group of processes to the parent, whose end is ours, too.

    Ctrl-C is one, and SIGTERM where a service is stopped: its parent may go on until what it took is
    answered. A mask of signals comes along from whoever started the pool, and would hide our children's ends.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, partial(_pass_over, os.getpid()))
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _pass_over(process: int, number: int, _: object) -> None:
    """A handler, as what is ignored would be ignored in the processes that a function starts, too."""
    if os.getpid() != process:  # a fork that a function made
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
