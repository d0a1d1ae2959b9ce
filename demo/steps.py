"""The steps of the demo: each uses the cache and proves that the answers are the model's own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Barrier
from typing import Any, Self

import numpy as np
import pandas as pd

from demo import model
from mlcache import ml_cache

CALLERS = 16
HITS = 9


@dataclass(frozen=True)
class Step:
    """A line of the table: what was done, how long it took, how often the model ran, what to notice."""

    what: str
    seconds: float
    runs: int
    note: str


class Watch:
    """Takes the time of a ``with`` block and counts how often the model ran in it."""

    seconds = 0.0

    def __enter__(self) -> Self:
        self.runs = -len(model.RUNS)
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._start
        self.runs += len(model.RUNS)

    def step(self, what: str, note: str = "") -> Step:
        """The line of the table."""
        return Step(what, self.seconds, self.runs, note)


@dataclass
class Proof:
    """Compares every answer that came through the cache with the model's own, to the last bit."""

    compared: int = 0
    wrong: list[str] = field(default_factory=list)

    def check(self, what: str, answers: list[Any], right: list[Any]) -> None:
        """Compare the answers one by one."""
        self.compared += len(answers)
        if len(answers) != len(right) or not all(map(_same, answers, right)):
            self.wrong.append(what)


def _same(answer: Any, right: Any) -> bool:
    if isinstance(right, pd.DataFrame):
        return isinstance(answer, pd.DataFrame) and answer.equals(right)
    return bool(answer.dtype == right.dtype and np.array_equal(answer, right))


def arrays(folder: str, proof: Proof) -> Iterator[Step]:
    """A cold call, a hit in memory, and a hit on disk in a new process."""
    classify = model.kept_on_disk(folder)
    request = model.requests(1, size=64)[0]
    right = model.probabilities(request)
    yield from _miss_and_hit("array", classify, request, right, proof)
    yield _in_a_new_process(folder, proof, right)


def _miss_and_hit(what: str, function: Any, request: Any, right: Any, proof: Proof) -> Iterator[Step]:
    """The first call, and the median of some more with copies of the same content."""

    def ask() -> tuple[Watch, Any]:
        argument = request.copy()
        with Watch() as watch:
            result = function.call_with_info(argument)
        proof.check(what, [result.value], [right])
        return watch, result

    watch, result = ask()
    yield watch.step(f"{what}, cold call", result.status)
    hits = sorted((ask() for _ in range(HITS)), key=lambda hit: hit[0].seconds)
    watch, result = hits[HITS // 2]
    yield watch.step(f"{what}, memory hit", result.status)


def _in_a_new_process(folder: str, proof: Proof, right: Any) -> Step:
    what = "array, disk, new process"
    command = [sys.executable, "-m", "demo.child", folder]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    answer = json.loads(output)
    proof.check(what, [np.array(answer["value"])], [right])
    trained = "model trained" if answer["trained"] else "no model trained"
    return Step(what, answer["seconds"], answer["runs"], f"{answer['status']}, {trained}")


def frames(proof: Proof) -> Iterator[Step]:
    """A cold call and a hit with data frames."""
    label = ml_cache(ttl="1h")(model.table)
    pixels = pd.DataFrame(model.requests(1, size=400)[0]).add_prefix("pixel_")
    right = model.table(pixels)
    yield from _miss_and_hit("data frame", label, pixels, right, proof)


def threads(proof: Proof) -> Iterator[Step]:
    """Many threads that miss the same key at once."""
    classify = ml_cache(ttl="1h")(model.probabilities)
    request = model.requests(1)[0]
    together = Barrier(CALLERS)

    def call(_: int) -> Any:
        together.wait()
        return classify(request)

    with ThreadPoolExecutor(CALLERS) as pool, Watch() as watch:
        answers = list(pool.map(call, range(CALLERS)))
    what = f"{CALLERS} threads miss one key"
    proof.check(what, answers, [model.probabilities(request)] * CALLERS)
    yield watch.step(what, _once(watch))


def tasks(proof: Proof) -> Iterator[Step]:
    """Many tasks of one event loop that miss the same key at once."""
    request = model.requests(1)[0]

    @ml_cache(ttl="1h")
    async def classify(images: Any) -> Any:
        return await asyncio.to_thread(model.probabilities, images)

    async def call_all() -> list[Any]:
        return await asyncio.gather(*(classify(request) for _ in range(CALLERS)))

    with Watch() as watch:
        answers = asyncio.run(call_all())
    what = f"{CALLERS} tasks miss one key"
    proof.check(what, answers, [model.probabilities(request)] * CALLERS)
    yield watch.step(what, _once(watch))


def _once(watch: Watch) -> str:
    return "computed once for all" if watch.runs == 1 else f"computed {watch.runs} times"


def traffic(proof: Proof) -> Iterator[Step]:
    """Repeated requests, some far more frequent than others, without the cache and with it."""
    images = model.requests(40)[1:]  # the first has been asked for above
    popularity = 1.0 / np.arange(1, len(images) + 1)
    drawn = np.random.default_rng(0).choice(len(images), 200, p=popularity / popularity.sum())
    classify = ml_cache(ttl="1h")(model.probabilities)
    with Watch() as plain:
        right = [model.probabilities(images[number]) for number in drawn]
    yield plain.step(f"{len(drawn)} requests, no cache", f"for {len(set(drawn))} images")
    with Watch() as cached:
        answers = [classify(images[number]) for number in drawn]
    what = f"{len(drawn)} requests, cached"
    proof.check(what, answers, right)
    hits = classify.cache_info().hits
    yield cached.step(what, f"{hits} hits: {plain.seconds / cached.seconds:.1f} × as fast")
