"""Predictions of many models in the memory of a few, beside a plain LRU cache, no cache and room for all.

Each tenant has a model of its own, stored in skops' format in a local folder: three in four are small, the
fourth is a forest, which is larger and takes longer to load. Threads ask as tenants whose popularity falls
by Zipf's law. All contenders are given the same requests in turns, and every answer is held against the
model's own.
"""

from __future__ import annotations

import functools
import statistics
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from benchmarks.harness import Case, Result, WrongAnswerError
from benchmarks.plot import Panel, svg
from benchmarks.report import Report, duration
from mlcache.errors import MlcacheWarning
from mlcache.models import CachedModelRepository, FsspecModelRepository, SklearnModel

THREADS = 4
EXPONENT = 1.1
OURS, OURS_LRU, PLAIN = "mlcache", "mlcache, lru", "cachetools.LRUCache"
NONE, ALL = "no cache", "all preloaded"

Ask = Callable[[str, Any], Any]
"""Takes the id of a model and a frame, and gives the predictions."""


class Size(NamedTuple):
    """How much is measured: tenants, shares of all models' bytes, rounds, and requests in each."""

    tenants: int
    shares: tuple[float, ...]
    rounds: int
    requests: int


FULL = Size(60, (0.1, 0.2, 0.4, 0.7, 1.0), 5, 200)
QUICK = Size(8, (0.5,), 1, 30)


def run(*, quick: bool) -> Report:
    """Measure every budget, or with ``quick`` one budget once."""
    size = QUICK if quick else FULL
    with tempfile.TemporaryDirectory() as folder:
        store = FsspecModelRepository(folder, trusted=["sklearn.tree._tree.Tree"])
        work = _prepare(store, size.tenants)
        cases = [_measure(store, work, size, share) for share in size.shares]
        store.close()
    about = (
        f"{size.tenants} models of {work.bytes / 1e6:.1f} MB together, {THREADS} threads, Zipf with exponent "
        f"{EXPONENT}; seconds are those that a request takes of the whole"
    )
    return ModelsReport("models", about, cases, shares=size.shares)


class Work(NamedTuple):
    """What tenants ask about, what the right answers are, and the memory that all models take."""

    frames: dict[str, Any]
    answers: dict[str, Any]
    bytes: int

    def requests(self, count: int, seed: int) -> list[str]:
        """Ids of models, by popularity."""
        ids = list(self.frames)
        weights = 1 / np.arange(1, len(ids) + 1) ** EXPONENT
        return np.random.default_rng(seed).choice(ids, count, p=weights / weights.sum()).tolist()


def _prepare(store: FsspecModelRepository, tenants: int) -> Work:
    from sklearn.datasets import load_breast_cancer

    data: Any = load_breast_cancer()
    work = Work({}, {}, 0)
    for number in range(tenants):
        model_id, rows = f"model-{number}", np.random.default_rng(number).random(len(data.data)) < 0.5  # noqa: PLR2004
        model = SklearnModel(_estimator(number).fit(data.data[rows], data.target[rows]))
        store.put_model(model_id, model)
        work.frames[model_id] = data.data[~rows][:5]
        work.answers[model_id] = model.predict(work.frames[model_id])
        work = work._replace(bytes=work.bytes + model.size())
    return work


def _estimator(number: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.naive_bayes import GaussianNB
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if number % 4 == 3:  # noqa: PLR2004 - every fourth
        return RandomForestClassifier(10, random_state=number)
    return make_pipeline(StandardScaler(), GaussianNB())


# --- the contenders


def _ours(policy: str, store: FsspecModelRepository, _: Work, budget: int, stack: ExitStack) -> Ask:
    models = stack.enter_context(CachedModelRepository(store, max_bytes=budget, policy=policy))

    def ask(model_id: str, frame: Any) -> Any:
        with models.lease(model_id) as model:
            return model.predict(frame)

    return ask


def _plain(store: FsspecModelRepository, _: Work, budget: int, __: ExitStack) -> Ask:
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


def _none(store: FsspecModelRepository, _: Work, __: int, ___: ExitStack) -> Ask:
    return lambda model_id, frame: store.get_model(model_id).predict(frame)


def _all(store: FsspecModelRepository, work: Work, _: int, __: ExitStack) -> Ask:
    models = {model_id: store.get_model(model_id) for model_id in work.frames}
    return lambda model_id, frame: models[model_id].predict(frame)


CONTENDERS: dict[str, Callable[[FsspecModelRepository, Work, int, ExitStack], Ask]] = {
    OURS: functools.partial(_ours, "gdsf"),
    OURS_LRU: functools.partial(_ours, "lru"),
    PLAIN: _plain,
    NONE: _none,
    ALL: _all,
}


# --- the measuring


@dataclass
class Served(Result):
    """Seconds a request, one sample a round, and how long single requests took in all rounds.

    Attributes:
        rate: requests a second, the median of the rounds.
        p50: seconds that half of the requests took at most.
        p99: seconds that 99 of 100 took at most.
    """

    rate: float = 0.0
    p50: float = 0.0
    p99: float = 0.0


def _measure(store: FsspecModelRepository, work: Work, size: Size, share: float) -> Case:
    """All contenders with one budget, in turns, after a round that nobody times."""
    budget = max(int(work.bytes * share), 1)
    case = Case(f"memory for {share:.0%} of the models' bytes", [Served(name) for name in CONTENDERS])
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore", MlcacheWarning)  # that the room is little is what is measured
        asks = {name: make(store, work, budget, stack) for name, make in CONTENDERS.items()}
        waits: dict[str, list[float]] = {name: [] for name in asks}
        for turn in range(size.rounds + 1):
            requests = work.requests(size.requests, turn)
            for name, ask in asks.items():
                # Without a cache each request is a load, and fewer of them are as fast.
                share_of = requests[: len(requests) // 3] if name == NONE else requests
                taken, seconds = _round(ask, work, share_of)
                if turn:
                    case.result(name).samples.append(seconds)
                    waits[name] += taken
    for result in case.results:
        _sum_up(result, waits[result.contender])
    return case


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


def _sum_up(result: Any, waits: list[float]) -> None:
    result.rate = statistics.median(1 / seconds for seconds in result.samples)
    result.p50, result.p99 = (float(each) for each in np.quantile(waits, (0.5, 0.99)))
    p50, p99 = duration(result.p50), duration(result.p99)
    result.remark = f"{result.rate:.0f} requests/s, p50 {p50}, p99 {p99}"


@dataclass(frozen=True)
class ModelsReport(Report):
    """A report that draws rates and waits over the memory budget.

    Args:
        shares: the budgets, as shares of all models' bytes.
    """

    shares: Sequence[float] = ()

    def write_json(self, path: Path) -> None:
        """Everything, and beside it the drawing, under the same name with ``.svg``."""
        super().write_json(path)
        path.with_suffix(".svg").write_text(self.drawing(), encoding="utf-8")

    def drawing(self) -> str:
        """Requests a second, and the wait of the slowest hundredth, over the budget."""
        panels = [("requests a second", "rate", 1.0), ("p50, ms", "p50", 1e3), ("p99, ms", "p99", 1e3)]
        x = [100 * share for share in self.shares]
        return svg("memory for models, % of all models' bytes", x, [self._panel(*each) for each in panels])

    def _panel(self, title: str, field: str, factor: float) -> Panel:
        lines = {
            name: [factor * getattr(case.result(name), field) for case in self.cases] for name in CONTENDERS
        }
        return Panel(title, lines)
