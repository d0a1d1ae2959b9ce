"""Predictions of many models in the memory of a few, beside a plain LRU cache, no cache and room for all.

Threads ask as tenants whose popularity falls by Zipf's law, and whose models lie in a local folder. All
contenders are given the same requests in turns, and every answer is held against the model's own. Beside
the times, which two loads at once make longer for each other, stand how often a model was loaded and the
time that processors took for it: these tell policies apart also on a busy machine.
"""

from __future__ import annotations

import functools
import gc
import itertools
import statistics
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any, NamedTuple

import numpy as np

from benchmarks import policies, tenants
from benchmarks.harness import Case, Result, WrongAnswerError
from benchmarks.plot import Panel, svg
from benchmarks.report import Report, duration
from benchmarks.tenants import Work
from mlcache.errors import MlcacheWarning
from mlcache.models import CachedModelRepository, Description, FsspecModelRepository, Model
from mlcache.units import show_size

THREADS = 4
POLICIES = ("gdsf", "lru", "lfu")

Ask = Callable[[str, Any], Any]
"""Takes the id of a model and a frame, and gives the predictions."""


class Size(NamedTuple):
    """How much is measured: tenants, shares of all models' bytes, rounds, and requests in each."""

    tenants: int
    shares: tuple[float, ...]
    rounds: int
    requests: int


FULL = Size(48, (0.1, 0.2, 0.4, 0.7, 1.0), 4, 100)
QUICK = Size(12, (0.5,), 1, 30)


def run(*, quick: bool) -> Report:
    """Measure every budget, or with ``quick`` one budget once."""
    size = QUICK if quick else FULL
    with tempfile.TemporaryDirectory() as folder:
        store = FsspecModelRepository(folder, trusted=tenants.TRUSTED)
        work = tenants.prepare(store, size.tenants)
        cases = _measure(store, work, size)
        store.close()
    about = (
        f"{size.tenants} models of {show_size(work.bytes)} together, {THREADS} threads, Zipf with exponent "
        f"{tenants.EXPONENT}; seconds are those that a request takes of the whole.\n"
        f"What a model takes in memory, and what CPU time it takes to load: {work.about}"
    )
    more = policies.compare(work.costs, POLICIES, policies.QUICK if quick else policies.FULL)
    return ModelsReport("models", about, [*cases, *more], shares=size.shares)


class Watched:
    """The store as one contender sees it.

    Args:
        store: that is asked.

    Attributes:
        loads: how many.
        seconds: of a processor's time that these took.
    """

    def __init__(self, store: FsspecModelRepository) -> None:
        self.loads = 0
        self.seconds = 0.0
        self._store = store
        self._lock = threading.Lock()

    def describe(self, model_id: str, /) -> Description:
        """As the store."""
        with self._timed(loads=0):
            return self._store.describe(model_id)

    def get_model(self, model_id: str, /) -> Model:
        """As the store."""
        with self._timed(loads=1):
            return self._store.get_model(model_id)

    def fetch(self, model_id: str, described: Description, /) -> Model:
        """As the store."""
        with self._timed(loads=1):
            return self._store.fetch(model_id, described)

    @contextmanager
    def _timed(self, *, loads: int) -> Iterator[None]:
        started = thread_time()
        yield
        with self._lock:
            self.seconds += thread_time() - started
            self.loads += loads


# --- the contenders


def _ours(policy: str, store: Watched, _: Work, budget: int, stack: ExitStack) -> Ask:
    # Nor do the others look for newer versions; it would at each model in each round, as turns are long.
    models = stack.enter_context(
        CachedModelRepository(store, max_bytes=budget, policy=policy, check_every=None)
    )

    def ask(model_id: str, frame: Any) -> Any:
        with models.lease(model_id) as model:
            return model.predict(frame)

    return ask


def _plain(store: Watched, _: Work, budget: int, __: ExitStack) -> Ask:
    """What one writes first: a cache of models under a lock, which is not held while one is loaded."""
    from cachetools import LRUCache

    models: Any = LRUCache(budget, getsizeof=_size_of)
    lock = threading.Lock()

    def ask(model_id: str, frame: Any) -> Any:
        with lock:
            model: Any = models.get(model_id)
        if model is None:
            model = store.get_model(model_id)
            with lock:
                if model.size() <= budget:
                    models[model_id] = model
        return model.predict(frame)

    return ask


def _size_of(model: Any) -> int:
    size: int = model.size()
    return size


def _none(store: Watched, _: Work, __: int, ___: ExitStack) -> Ask:
    return lambda model_id, frame: store.get_model(model_id).predict(frame)


def _all(store: Watched, work: Work, _: int, __: ExitStack) -> Ask:
    models = {model_id: store.get_model(model_id) for model_id in work.frames}
    return lambda model_id, frame: models[model_id].predict(frame)


Make = Callable[[Watched, Work, int, ExitStack], Ask]
"""Given a store, what will be asked, the budget, and what ends it."""

BOUNDED: dict[str, Make] = {
    **{f"mlcache, {policy}": functools.partial(_ours, policy) for policy in POLICIES},
    "cachetools.LRUCache": _plain,
}
UNBOUNDED: dict[str, Make] = {"no cache": _none, "all preloaded": _all}


# --- the measuring


@dataclass
class Served(Result):
    """Seconds a request, one sample a round, and what became of the requests of all rounds.

    Attributes:
        rate: requests a second, the median of the rounds.
        p50: seconds that half of the requests took at most.
        p99: seconds that 99 of 100 took at most.
        churn: loads for each request, all of models that had been loaded before.
        loading: seconds of a processor's time that loading took for each request.
    """

    rate: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    churn: float = 0.0
    loading: float = 0.0


class Lane:
    """One contender, its store and what it has done.

    Args:
        result: where that is told.
        ask: how it answers.
        store: that it loads from.
    """

    def __init__(self, result: Served, ask: Ask, store: Watched) -> None:
        self.result = result
        self._ask = ask
        self._store = store
        self._waits: list[float] = []
        self._loads = 0
        self._loading = 0.0

    def serve(self, work: Work, requests: Sequence[str], *, counts: bool) -> None:
        """Answer requests; only what ``counts`` is measured."""
        loads, loading = self._store.loads, self._store.seconds
        gc.collect()  # what others have left behind
        waits, seconds = _round(self._ask, work, requests)
        if counts:
            self.result.samples.append(seconds)
            self._waits += waits
            self._loads += self._store.loads - loads
            self._loading += self._store.seconds - loading

    def sum_up(self) -> None:
        """Tell it in the result."""
        result, number = self.result, len(self._waits)
        result.rate = statistics.median(1 / seconds for seconds in result.samples)
        result.p50, result.p99 = (float(each) for each in np.quantile(self._waits, (0.5, 0.99)))
        result.churn, result.loading = self._loads / number, self._loading / number
        p50, p99, loading = (duration(each) for each in (result.p50, result.p99, result.loading))
        result.remark = (
            f"{result.rate:.0f} requests/s, p50 {p50}, p99 {p99}; {result.churn:.0%} load again, "
            f"CPU time for that {loading} a request"
        )


def _measure(store: FsspecModelRepository, work: Work, size: Size) -> list[Case]:
    """All contenders with all budgets in turns, so that noise is theirs alike; nobody times the first."""
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore", MlcacheWarning)  # that the room is little is what is measured
        budgets = {share: max(int(work.bytes * share), 1) for share in size.shares}
        bounded = {
            share: [_lane(name, store, work, budget, stack) for name in BOUNDED]
            for share, budget in budgets.items()
        }
        others = [_lane(name, store, work, 0, stack) for name in UNBOUNDED]
        lanes = [*itertools.chain(*bounded.values()), *others]
        for turn in range(size.rounds + 1):
            # Nobody can spare a model's first load: before what is timed, each is asked for once.
            first = [] if turn else list(work.frames)[::-1]
            requests = [*first, *work.requests(size.requests, turn)]
            for lane in lanes[:: -1 if turn % 2 else 1]:
                lane.serve(work, requests, counts=turn > 0)
    for lane in lanes:
        lane.sum_up()
    return [
        Case(f"memory for {share:.0%} of the models' bytes", [lane.result for lane in [*mine, *others]])
        for share, mine in bounded.items()
    ]


def _lane(name: str, store: FsspecModelRepository, work: Work, budget: int, stack: ExitStack) -> Lane:
    watched, make = Watched(store), {**BOUNDED, **UNBOUNDED}[name]
    return Lane(Served(name), make(watched, work, budget, stack), watched)


def _round(ask: Ask, work: Work, requests: Sequence[str]) -> tuple[list[float], float]:
    """How long each request took, and the time of the whole by their number."""
    left = iter(requests)
    lock, taken = threading.Lock(), list[float]()

    def go() -> None:
        for model_id in _shared(left, lock):
            started = perf_counter()
            answer = ask(model_id, work.frames[model_id])
            taken.append(perf_counter() - started)
            if not np.array_equal(answer, work.answers[model_id]):
                raise WrongAnswerError(f"WRONG: {model_id} answers otherwise")

    with ThreadPoolExecutor(THREADS) as pool:
        started = perf_counter()
        for each in [pool.submit(go) for _ in range(THREADS)]:
            each.result()
        return taken, (perf_counter() - started) / len(requests)


def _shared(left: Iterator[str], lock: threading.Lock) -> Iterator[str]:
    while True:
        with lock:
            model_id = next(left, None)
        if model_id is None:
            return
        yield model_id


@dataclass(frozen=True)
class ModelsReport(Report):
    """A report that draws rates and waits over the memory budget.

    Args:
        shares: the budgets, as shares of all models' bytes, of the first cases.
    """

    shares: Sequence[float] = ()

    def write_json(self, path: Path) -> None:
        """Everything, and beside it the drawing, under the same name with ``.svg``."""
        super().write_json(path)
        path.with_suffix(".svg").write_text(self.drawing(), encoding="utf-8")

    def drawing(self) -> str:
        """Rates, waits and the work of loading, over the budget."""
        x = [100 * share for share in self.shares]
        return svg("memory for models, % of all models' bytes", x, [self._panel(*each) for each in PANELS])

    def _panel(self, title: str, field: str, factor: float, least: float) -> Panel:
        lines = {
            name: [
                max(factor * getattr(case.result(name), field), least)
                for case in self.cases[: len(self.shares)]
            ]
            for name in (*BOUNDED, *UNBOUNDED)
        }
        return Panel(title, lines)


PANELS = (
    ("requests a second (more is better)", "rate", 1.0, 0.0),
    ("p50, ms (less is better)", "p50", 1e3, 0.0),
    ("p99, ms (less is better)", "p99", 1e3, 0.0),
    ("loading, CPU ms a request (0.1 is 0.1 or less)", "loading", 1e3, 0.1),
)
"""What is drawn: the title, the field, the factor to its unit, and the least that the scale can show."""
