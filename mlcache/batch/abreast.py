"""Several flows at a time: as many as whatever computes can take."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Iterable
from contextvars import copy_context
from typing import Any

from mlcache.drive import ACTIONS, AWAITED, Parts, blocking, suspending
from mlcache.steps import Step

Flow = Coroutine[Step, Any, Any]


class Abreast(Step, frozen=True, eq=False):
    """Drive flows. Answered with their results, in the order in which they end.

    Where one raises no other begins; what has begun goes on to its end, and then the error is raised.

    Args:
        flows: made one after the other, when their turn comes.
        most: are under way at a time.
        advance: told of each that has ended.
    """

    flows: Iterable[Flow]
    most: int
    advance: Callable[[], object]


class _Line:
    """Where those who drive get their flows, each another one."""

    def __init__(self, step: Abreast) -> None:
        self._flows = iter(step.flows)
        self._advance = step.advance
        self._lock = threading.Lock()
        self._stopped = False
        self.results: list[Any] = []

    def next(self) -> Flow | None:
        """The next flow, if there is one and none has failed."""
        try:
            with self._lock:
                return None if self._stopped else next(self._flows, None)
        except BaseException:
            self.stop()
            raise

    def end(self, result: Any) -> None:
        """Note what came of one."""
        with self._lock:
            self.results.append(result)
            self._advance()

    def stop(self) -> None:
        """Let none begin from now on."""
        self._stopped = True

    def drive(self, parts: Parts) -> None:
        """Drive one flow after the other, in this thread."""
        while (flow := self.next()) is not None:
            try:
                self.end(blocking(flow, parts))
            except BaseException:
                self.stop()
                raise

    async def drive_suspending(self, parts: Parts) -> None:
        """Drive one flow after the other, in this task."""
        while (flow := self.next()) is not None:
            try:
                self.end(await suspending(flow, parts))
            except BaseException:
                self.stop()
                raise


def _abreast(step: Abreast, parts: Parts) -> list[Any]:
    line = _Line(step)
    if step.most == 1:
        line.drive(parts)
        return line.results
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(step.most, "mlcache-abreast") as threads:
        driven = [threads.submit(copy_context().run, line.drive, parts) for _ in range(step.most)]
        try:
            for each in driven:
                each.result()
        finally:
            line.stop()  # where it is this thread that was interrupted
    return line.results


async def _abreast_suspending(step: Abreast, parts: Parts) -> list[Any]:
    line = _Line(step)
    if step.most == 1:
        await line.drive_suspending(parts)
        return line.results
    import asyncio

    driven = [asyncio.create_task(line.drive_suspending(parts)) for _ in range(step.most)]
    try:
        await asyncio.gather(*driven)
    except BaseException:
        await asyncio.wait(driven)  # all of them cancelled, if we are
        raise
    return line.results


ACTIONS[Abreast] = _abreast
AWAITED[Abreast] = _abreast_suspending
