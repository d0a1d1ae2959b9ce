"""Where the processes of a pool begin."""

from __future__ import annotations

import os
import signal
import socket


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

    ignore_the_terminal()
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

    ignore_the_terminal()
    with end:
        Worker(end).serve()


def ignore_the_terminal() -> None:
    """Leave Ctrl-C to the parent, and have no handlers of a program that this is a fork of."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
