"""Crowds: many callers who ask for the same answer at once, as threads, as tasks or in several processes."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from time import perf_counter
from typing import IO, Any

from benchmarks.peers import PEERS, Function, Place, counted, counted_suspending


class Crowd:
    """So many threads of this process.

    Args:
        size: how many.
        stack: ends them.
    """

    def __init__(self, size: int, stack: ExitStack) -> None:
        self._threads = stack.enter_context(ThreadPoolExecutor(size))
        self._size = size

    def ask(self, function: Function, number: int) -> tuple[set[Any], float]:
        """The answers to all who ask at once, and when the last had his."""
        together = threading.Barrier(self._size)

        def ask(_: int) -> tuple[Any, float]:
            together.wait()
            return function(number), perf_counter()

        answers = list(self._threads.map(ask, range(self._size)))
        return {answer for answer, _ in answers}, max(at for _, at in answers)


class Tasks:
    """So many tasks of one event loop.

    Args:
        size: how many.
        stack: ends the loop.
    """

    def __init__(self, size: int, stack: ExitStack) -> None:
        self._runner = stack.enter_context(asyncio.Runner())
        self._size = size

    def ask(self, function: Function, number: int) -> tuple[set[Any], float]:
        """As ``Crowd.ask``."""

        async def ask() -> tuple[Any, float]:
            return await function(number), perf_counter()

        async def all_ask() -> list[tuple[Any, float]]:
            return await asyncio.gather(*(ask() for _ in range(self._size)))

        answers = self._runner.run(all_ask())
        return {answer for answer, _ in answers}, max(at for _, at in answers)


class Processes:
    """Processes of so many threads each, or tasks where the function is a coroutine function.

    Args:
        number: of processes.
        size: threads, or tasks, of each.
        stack: ends them.
    """

    def __init__(self, number: int, size: int, stack: ExitStack) -> None:
        self._size = size
        line = [sys.executable, "-m", "benchmarks.crowd"]
        pipe = subprocess.PIPE
        self._all = [subprocess.Popen(line, stdin=pipe, stdout=pipe, text=True) for _ in range(number)]
        stack.callback(self._end)

    def ask(self, peer: str, place: Place, number: int) -> tuple[set[Any], float]:
        """As ``Crowd.ask``, of the function that the peer of that name has decorated in each process."""
        order = {"peer": peer, "place": asdict(place), "size": self._size, "number": number}
        for process in self._all:
            _pipe(process.stdin).write(json.dumps(order) + "\n")
            _pipe(process.stdin).flush()
        replies = [json.loads(_pipe(process.stdout).readline() or _ENDED) for process in self._all]
        for reply in replies:
            if "error" in reply:
                raise RuntimeError(reply["error"])
        return {each for reply in replies for each in reply["answers"]}, max(reply["at"] for reply in replies)

    def _end(self) -> None:
        for process in self._all:
            process.communicate()


_ENDED = '{"error": "a process has ended"}'


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise ValueError("the process was started without this pipe")
    return pipe


class Member:
    """One of those processes: it does what it is told, line by line."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._functions: dict[tuple[str, str], tuple[Crowd | Tasks, Function]] = {}

    def serve(self) -> None:
        """Until there are no more lines."""
        with self._stack:
            for line in sys.stdin:
                order = json.loads(line)
                try:
                    crowd, function = self._function(order["peer"], Place(**order["place"]), order["size"])
                    answers, at = crowd.ask(function, order["number"])
                    reply: dict[str, Any] = {"answers": list(answers), "at": at}
                except Exception as error:  # noqa: BLE001 - it is told in the table
                    reply = {"error": f"{type(error).__name__}: {error}"}
                print(json.dumps(reply), flush=True)

    def _function(self, name: str, place: Place, size: int) -> tuple[Crowd | Tasks, Function]:
        key = name, place.folder
        if key not in self._functions:
            peer = PEERS[name]
            make = counted_suspending if peer.suspends else counted
            crowd = Tasks(size, self._stack) if peer.suspends else Crowd(size, self._stack)
            self._functions[key] = crowd, peer.decorate(make(place), place, self._stack)
        return self._functions[key]


if __name__ == "__main__":
    Member().serve()
