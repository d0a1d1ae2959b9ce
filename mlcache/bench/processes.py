"""Processes that replay work side by side, each with the place opened for itself.

They live for all replays of one work, as starting one takes longer than a replay. Each plays its share
with one caller, and all begin their warm-up together.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from inspect import Signature
from multiprocessing.connection import Connection
from typing import Any

import msgspec
import numpy as np

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
    """Processes that have the work.

    Args:
        work: what is asked for.
        number: of processes.
        signature: of the function.
    """

    def __init__(self, work: Work, number: int, signature: Signature = ONE_ARGUMENT) -> None:
        context = multiprocessing.get_context("spawn")
        self._work = work if work.together else msgspec.structs.replace(work, warm=work.warm // number)
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        for _ in range(number):
            mine, its = context.Pipe()
            process = context.Process(target=_serve, args=(its, self._work, signature), daemon=True)
            process.start()
            its.close()
            self._pipes.append(mine)
            self._processes.append(process)

    def replay(self, spec: str, bound: int, repetition: int) -> Outcome:
        """One replay, each process playing its share.

        Raises:
            ReplayFailedError: it failed in one of them.
        """
        order, number = self._work.order(repetition), len(self._pipes)
        with new_folder() as folder:
            urls, name = complete(spec, bound, folder), new_name()
            for share, pipe in enumerate(self._pipes):
                numbers = order if self._work.together else order[share::number]
                pipe.send(Order(urls, name, numbers))
            ready = [pipe.recv() for pipe in self._pipes]
            failed = next((each for each in ready if each is not None), None)
            for pipe in self._pipes:
                pipe.send(failed)
            outcomes = [pipe.recv() for pipe in self._pipes]
            with opened(urls) as backends:
                forget(backends, name)
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


@contextmanager
def crew(work: Work, number: int, signature: Signature = ONE_ARGUMENT) -> Iterator[Crew]:
    """A crew that is ended at the end."""
    made = Crew(work, number, signature)
    try:
        yield made
    finally:
        made.close()


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
    while True:
        try:
            order = pipe.recv()
        except EOFError:
            return
        pipe.send(_obey(order, pipe, work, signature))


def _obey(order: Order, pipe: Connection, work: Work, signature: Signature) -> Outcome | str:
    """The outcome, or the error that stood in its way; in between, wait until all are ready."""
    with ExitStack() as stack:
        failed, backends = None, []
        try:
            backends = stack.enter_context(opened(order.urls))
        except Exception as error:  # noqa: BLE001 - is told by whoever waits
            failed = _said(error)
        pipe.send(failed)
        others = pipe.recv()
        if failed or others:
            return failed or str(others)
        try:
            return through(backends, work, ALONE, order.numbers, order.name, signature)
        except Exception as error:  # noqa: BLE001 - is told by whoever waits
            return _said(error)


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, ReplayFailedError) else f"{type(error).__name__}: {error}"
