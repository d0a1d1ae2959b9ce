"""Processes that replay work side by side, each with the place opened for itself.

They live for all replays of one work, as starting one takes longer than a replay. Each plays its share
with one caller. All begin their warm-up together, and in a stampede every call: whoever is there says so
through its pipe, and waits until all are.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from inspect import Signature
from multiprocessing.connection import Connection
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlcache.bench.callers import ONE_ARGUMENT, Callers, Outcome, ReplayFailedError, forget, through
from mlcache.bench.places import complete, new_folder, new_name, opened
from mlcache.bench.replay import Replay
from mlcache.bench.work import Work

ALONE = Callers("threads", 1)


class Order(msgspec.Struct):
    """What each process is told: the URLs of the place, the name that all share, and its own calls."""

    urls: list[str]
    name: str
    numbers: Any


class Crew:
    """Processes that have the work. Where one ends by itself, all are started anew for the next replay.

    Args:
        work: what is asked for.
        number: of processes.
        signature: of the function.
    """

    def __init__(self, work: Work, number: int, signature: Signature = ONE_ARGUMENT) -> None:
        self._work = work if work.together else msgspec.structs.replace(work, warm=work.warm // number)
        self._number, self._signature = number, signature
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []

    def replay(self, spec: str, bound: int, repetition: int) -> Outcome:
        """One replay, each process playing its share.

        Raises:
            ReplayFailedError: it failed in one of them, or one ended.
        """
        if not self._processes:
            self._start()
        with new_folder() as folder:
            urls, name = complete(spec, bound, folder), new_name()
            try:
                outcomes = self._obeyed(urls, name, self._work.order(repetition))
            except (EOFError, OSError) as error:  # a pipe that has no other end any more
                raise ReplayFailedError(self._ended()) from error
            finally:
                _forget(urls, name)
        for each in outcomes:
            if isinstance(each, str):
                raise ReplayFailedError(each)
        return _together(outcomes)

    def close(self) -> None:
        """End the processes."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(10)
            if process.is_alive():
                process.kill()
                process.join()
            process.close()
        self._pipes, self._processes = [], []

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        for _ in range(self._number):
            mine, its = context.Pipe()
            process = context.Process(target=_serve, args=(its, self._work, self._signature), daemon=True)
            process.start()
            its.close()
            self._pipes.append(mine)
            self._processes.append(process)

    def _obeyed(self, urls: list[str], name: str, order: NDArray[np.int64]) -> list[Any]:
        """What came of it in each process; meanwhile, let all go on together whenever all are waiting."""
        for share, pipe in enumerate(self._pipes):
            numbers = order if self._work.together else order[share :: self._number]
            pipe.send(Order(urls, name, numbers))
        said = [pipe.recv() for pipe in self._pipes]
        while waiting := [share for share, each in enumerate(said) if each is None]:
            failed = next((each for each in said if each is not None), None)
            for share in waiting:
                self._pipes[share].send(failed)
            for share in waiting:
                said[share] = self._pipes[share].recv()
        return said

    def _ended(self) -> str:
        """Which process ended, and how; the others, who may wait for it, are ended with it."""
        ready = multiprocessing.connection.wait([each.sentinel for each in self._processes], timeout=10)
        gone: list[str] = []
        for number, each in enumerate(self._processes, 1):
            if each.sentinel in ready:
                each.join()  # its files are closed a moment before its status is known
                gone.append(f"process {number}, {_status(each.exitcode)}")
            each.kill()
        self.close()
        return f"{', '.join(gone) or 'a process'}, ended in the middle of a replay"


def _status(code: int) -> str:
    return f"by signal {-code}" if code < 0 else f"with status {code}"


@contextmanager
def crew(work: Work, number: int, signature: Signature = ONE_ARGUMENT) -> Iterator[Crew]:
    """A crew that is ended at the end."""
    made = Crew(work, number, signature)
    try:
        yield made
    finally:
        made.close()


def _forget(urls: list[str], name: str) -> None:
    """Remove what a replay has left. A place that fails at that has failed before, and that is told."""
    with suppress(Exception), opened(urls) as backends:
        forget(backends, name)


def _together(outcomes: list[Outcome]) -> Outcome:
    replays = [each.replay for each in outcomes]
    return Outcome(
        Replay(
            np.concatenate([each.numbers for each in replays]),
            np.concatenate([each.latencies for each in replays]),
            np.concatenate([each.ran for each in replays]),
            max(each.seconds for each in replays),
        ),
        list(dict.fromkeys(remark for each in outcomes for remark in each.remarks)),
        sum(each.wrong for each in outcomes),
    )


def _serve(pipe: Connection, work: Work, signature: Signature) -> None:
    """Do what the pipe says until it is closed."""
    with suppress(EOFError, BrokenPipeError):
        while True:
            order = pipe.recv()
            pipe.send(_obey(order, pipe, work, signature))


def _obey(order: Order, pipe: Connection, work: Work, signature: Signature) -> Outcome | str:
    """The outcome, or the error that stood in its way; in between, wait until all are ready."""

    def meet() -> None:
        pipe.send(None)
        failed = pipe.recv()
        if failed is not None:
            raise ReplayFailedError(str(failed))

    try:
        with opened(order.urls) as backends:
            meet()
            return through(backends, work, ALONE, order.numbers, order.name, signature, meet)
    except EOFError:  # the pipe was closed
        raise
    except Exception as error:  # noqa: BLE001 - is told by whoever waits
        return _said(error)


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, ReplayFailedError) else f"{type(error).__name__}: {error}"
