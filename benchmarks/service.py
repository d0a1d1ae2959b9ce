"""A light endpoint of an asyncio service, beside a model that is all Python: what its requests wait.

The service is a process of its own. Two clients ask its model one thing after another, never twice the same,
so that nothing comes out of the cache. Beside them the light endpoint is asked every ten milliseconds,
whether it has answered or not; a request counts from when it was due. The percentiles are of each round,
and all ways of computing take turns, round by round, in one run.
"""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks.harness import Case, Result, WrongAnswerError
from benchmarks.plot import Panel, svg
from benchmarks.report import Report
from benchmarks.service_app import WAYS, model
from benchmarks.targets import targets

PERCENTILES = (50, 95, 99)
EVERY = 0.01
"""Seconds between requests to the light endpoint."""
CONNECTIONS = 16
MODEL_CLIENTS = 2
MODEL = "the model, per request"


@dataclass
class Round:
    """What one round of one service saw, in seconds, and the last question to the model with its answer."""

    light: list[float] = field(default_factory=list)
    heavy: list[float] = field(default_factory=list)
    answer: tuple[int, float] | None = None


def run(*, quick: bool) -> Report:
    """Measure all services by turns, or with ``quick`` each once and for a moment."""
    rounds, seconds = (1, 0.5) if quick else (6, 4.0)
    seen: dict[str, list[Round]] = {way: [] for way in WAYS}
    with ExitStack() as stack:
        ports = {way: _start(way, stack) for way in WAYS}
        numbers = itertools.count(1)
        for turn in range(rounds):
            for way in list(WAYS)[:: -1 if turn % 2 else 1]:
                seen[way].append(_checked(asyncio.run(_load(ports[way], seconds, numbers))))
    cases = [*(_case(percent, seen) for percent in PERCENTILES), _of_model(seen)]
    about = f"a light endpoint asked every 10 ms, beside {MODEL_CLIENTS} clients of a CPU-bound model"
    return ServiceReport("service", about, cases, targets("service", cases))


def _start(way: str, stack: ExitStack) -> int:
    command = [sys.executable, "-m", "benchmarks.service_app", way]
    service = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    stack.enter_context(service)
    if service.stdin is None or service.stdout is None:
        raise RuntimeError("the service has no pipes")
    stack.callback(service.stdin.close)
    return int(service.stdout.readline())


def _checked(seen: Round) -> Round:
    """The round, if the model's last answer in it is right; only now, as this process measured until then."""
    if seen.answer is None or seen.answer[1] != model(seen.answer[0]):
        raise WrongAnswerError(f"WRONG: the model answered {seen.answer}")
    return seen


# --- the clients


class Connection:
    """One that is kept open, and asks one thing at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._turn = asyncio.Lock()

    async def get(self, path: str) -> str:
        """The body of the answer."""
        async with self._turn:
            self._writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
            return (await self._reader.readexactly(length)).decode()

    async def close(self) -> None:
        """Close it."""
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


async def _load(port: int, seconds: float, numbers: Iterator[int]) -> Round:
    """One round: the model's clients are busy until the light endpoint's last request is answered."""
    seen = Round()
    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS + MODEL_CLIENTS)]
    connections = [Connection(*each) for each in streams]
    over = asyncio.Event()
    askers = [_ask_model(each, over, numbers, seen) for each in connections[CONNECTIONS:]]
    busy = [asyncio.ensure_future(asker) for asker in askers]
    await _ask_light(connections[:CONNECTIONS], seconds, seen)
    over.set()
    await asyncio.gather(*busy)
    for each in connections:
        await each.close()
    return seen


async def _ask_model(
    connection: Connection, over: asyncio.Event, numbers: Iterator[int], seen: Round
) -> None:
    while not over.is_set():
        number = next(numbers)
        started = perf_counter()
        answer = await connection.get(f"/model/{number}")
        seen.heavy.append(perf_counter() - started)
        seen.answer = number, float(answer)


async def _ask_light(connections: list[Connection], seconds: float, seen: Round) -> None:
    start = perf_counter() + 0.2  # by then the model is busy
    asked = []
    for number in range(int(seconds / EVERY)):
        due = start + number * EVERY
        await asyncio.sleep(max(due - perf_counter(), 0))
        asked.append(asyncio.ensure_future(_ask_once(connections[number % len(connections)], due, seen)))
    await asyncio.gather(*asked)


async def _ask_once(connection: Connection, due: float, seen: Round) -> None:
    if await connection.get("/light") != "ok":
        raise ValueError("the light endpoint answered something else")
    seen.light.append(perf_counter() - due)


# --- what it comes to


def _case(percent: int, seen: dict[str, list[Round]]) -> Case:
    results = [
        Result(way, [float(np.percentile(each.light, percent)) for each in rounds])
        for way, rounds in seen.items()
    ]
    return Case(f"light endpoint, p{percent}", results)


def _of_model(seen: dict[str, list[Round]]) -> Case:
    results = [
        Result(way, [float(np.median(each.heavy)) for each in rounds], remark=f"{_rate(rounds)} requests")
        for way, rounds in seen.items()
    ]
    return Case(MODEL, results)


def _rate(rounds: list[Round]) -> int:
    return sum(len(each.heavy) for each in rounds)


class ServiceReport(Report):
    """A report that draws the light endpoint's percentiles."""

    def write_json(self, path: Path) -> None:
        """Everything, and beside it the drawing, under the same name with ``.svg``."""
        super().write_json(path)
        path.with_suffix(".svg").write_text(self.drawing(), encoding="utf-8")

    def drawing(self) -> str:
        """How long the light endpoint's requests took, over the share of them that took no longer."""
        light = self.cases[: len(PERCENTILES)]
        lines = {way: [1e3 * case.result(way).median for case in light] for way in WAYS}
        return svg("percentile of requests", PERCENTILES, [Panel("light endpoint beside a model, ms", lines)])
