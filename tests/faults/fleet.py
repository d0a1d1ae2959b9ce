"""Processes of one service, which wait for orders and carry them out at the same time.

They are started once for many tests, as starting a Python takes longer than most of what is tested.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.faults.children import PATIENCE, command

PROGRAM = """
import asyncio, json, os, sys, threading, time, warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from mlcache import ml_cache

def cached(order):
    decorate = ml_cache(backend=order["backend"], name=order["name"], version="1", ignore=("order",))

    def note(x):
        with open(order["log"], "a") as file:
            file.write(f"{os.getpid()} {x}\\n")
        if order["raises"]:
            raise ValueError("no")
        return time.monotonic() + 30

    def compute(x):
        until = note(x)
        while not Path(order["gate"]).exists() and time.monotonic() < until:
            threading.Event().wait(0.002)
        return x * 2

    async def compute_suspending(x):
        until = note(x)
        while not Path(order["gate"]).exists() and time.monotonic() < until:
            await asyncio.sleep(0.002)
        return x * 2

    return decorate(compute_suspending if order["kind"] == "tasks" else compute)

def threads(order):
    function = cached(order)
    with ThreadPoolExecutor(order["callers"]) as pool:
        ask = lambda: [function(x) for x in range(order["keys"])]
        jobs = [pool.submit(ask) for _ in range(order["callers"])]
    return [job.result() for job in jobs]

def tasks(order):
    function = cached(order)

    async def main():
        calls = (function(x) for _ in range(order["callers"]) for x in range(order["keys"]))
        asked = asyncio.gather(*calls)
        while order["gives_up"] and not Path(order["log"]).exists():
            await asyncio.sleep(0.002)
        if order["gives_up"]:
            asked.cancel()
        answers = await asked
        return [answers[place:place + order["keys"]] for place in range(0, len(answers), order["keys"])]

    return asyncio.run(main())

print("ready", flush=True)
for line in sys.stdin:
    order = json.loads(line)
    warnings.simplefilter("ignore" if order["lenient"] else "error")
    os.environ["MLCACHE_WAIT"] = order["wait"]
    try:
        answers = globals()[order["kind"]](order)
        right = list(range(0, 2 * order["keys"], 2))
        said = "right" if all(answer == right for answer in answers) else f"wrong: {answers!r:.200}"
    except (Exception, asyncio.CancelledError) as error:
        said = f"{type(error).__name__}: {error}"
    print(json.dumps([said, time.monotonic()]), flush=True)
"""


class Order(NamedTuple):
    """What a process is told to do.

    Attributes:
        backend: of the function that is called.
        name: of the function: those of one name share their answers.
        log: a file, to which each execution adds a line.
        gate: a file; until it is there, the function takes its time.
        kind: ``threads``, or ``tasks`` for a coroutine function.
        callers: how many there are at once in each process.
        keys: each caller asks for so many.
        wait: how long to wait for other processes.
        raises: whether the function raises.
        gives_up: whether tasks are cancelled, with their event loop, once the function runs.
        lenient: whether warnings are no errors.
    """

    backend: str
    name: str
    log: Path
    gate: Path
    kind: str = "threads"
    callers: int = 1
    keys: int = 1
    wait: str = "60s"
    raises: bool = False
    gives_up: bool = False
    lenient: bool = False

    def runs(self) -> list[tuple[int, int]]:
        """The executions so far: in which process, and for which key."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [(int(process), int(key)) for process, key in map(str.split, lines)]


class Said(NamedTuple):
    """What a process answered: ``right``, or what was wrong, and when it was done, by the monotonic clock."""

    answer: str
    at: float


class Ship:
    """One process."""

    def __init__(self) -> None:
        pipe = subprocess.PIPE
        # Settings of the tests are none of mlcache, which would say so.
        env = {name: value for name, value in os.environ.items() if not name.startswith("MLCACHE_TEST_")}
        self._process = subprocess.Popen(command(PROGRAM), stdin=pipe, stdout=pipe, text=True, env=env)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def ready(self) -> Self:
        """Wait until it has started."""
        assert self._read() == "ready\n"
        return self

    def send(self, order: Order) -> None:
        """Tell it what to do."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order._asdict(), default=str) + "\n")
        self._process.stdin.flush()

    def said(self) -> Said:
        """Wait for its answer."""
        said: list[Any] = json.loads(self._read())
        return Said(*said)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate(timeout=PATIENCE)

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()
