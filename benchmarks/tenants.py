"""Tenants with a real model each, of kinds that differ widely in size and in how long they take to load.

All are trained on scikit-learn's bundled sets. A pipeline or boosted trees in skops' format take little
memory and long to load, since each object in the file is built by itself; the rows that nearest neighbours
keep and the weights of a network are large arrays, which are there at once. There are as many of each kind,
and how busy a tenant is has nothing to do with the kind of its model.
"""

from __future__ import annotations

import itertools
import statistics
import warnings
from collections.abc import Callable, Sequence
from time import thread_time
from typing import Any, NamedTuple

import numpy as np

from benchmarks.report import duration
from mlcache.models import FsspecModelRepository, Model, OnnxModel, SklearnModel
from mlcache.models.measure import size_of_model
from mlcache.units import show_size

EXPONENT = 1.1
TRUSTED = ["sklearn._loss.link.Interval", "sklearn._loss.link.LogitLink", "sklearn.tree._tree.Tree"]
ROWS = 5


class Kind(NamedTuple):
    """What is trained for some of the tenants, on which set, and in which format it is stored."""

    name: str
    data: str
    estimator: Callable[[int], Any]
    ending: str = ".skops"


class Cost(NamedTuple):
    """What a model takes in memory, and how much of a processor's time it takes to load."""

    bytes: float
    seconds: float


class Work(NamedTuple):
    """What tenants ask and what the right answers are, by the id of their model, the busiest first.

    Attributes:
        frames: that are asked about.
        answers: of each tenant's own model.
        costs: of each model.
        about: what a model of each kind costs.
    """

    frames: dict[str, Any]
    answers: dict[str, Any]
    costs: dict[str, Cost]
    about: str

    @property
    def bytes(self) -> int:
        """What all models take in memory."""
        return int(sum(cost.bytes for cost in self.costs.values()))

    def requests(self, count: int, seed: int) -> list[str]:
        """Ids of models, of which the n-th is asked for 1 / n^1.1 times as often as the first."""
        ids = list(self.frames)
        return np.random.default_rng(seed).choice(ids, count, p=weights(len(ids))).tolist()


def weights(number: int) -> Any:
    """The shares of so many tenants in all requests, the busiest first."""
    each = 1 / np.arange(1, number + 1) ** EXPONENT
    return each / each.sum()


def prepare(store: FsspecModelRepository, tenants: int) -> Work:
    """Train a model for each tenant, and store it."""
    kinds = _kinds()
    work, told = Work({}, {}, {}, ""), dict[str, list[Cost]]()
    for number in np.random.default_rng(0).permutation(tenants).tolist():
        kind, model_id = kinds[number % len(kinds)], f"model-{number}"
        own, stored, work.frames[model_id] = _train(kind, number)
        store.put_model(model_id, stored, ending=None if stored is own else kind.ending)
        work.answers[model_id] = own.predict(work.frames[model_id])
        work.costs[model_id] = _cost(store, model_id)
        told.setdefault(kind.name, []).append(work.costs[model_id])
    return work._replace(about="; ".join(itertools.starmap(_told, sorted(told.items()))))


def _train(kind: Kind, number: int) -> tuple[Model, Model | bytes, Any]:
    """A model trained on half of the rows, how it is stored, and some of the other rows."""
    from sklearn import datasets

    data: Any = getattr(datasets, f"load_{kind.data}")()
    rows = np.random.default_rng(number).random(len(data.data)) < 1 / 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a network could be trained for longer
        estimator = kind.estimator(number).fit(data.data[rows], data.target[rows])
    frame = data.data[~rows][:ROWS]
    if kind.ending == ".onnx":
        stored = _as_onnx(estimator, frame)
        return OnnxModel(stored), stored, frame
    model = SklearnModel(estimator)
    return model, model, frame


def _as_onnx(estimator: Any, frame: Any) -> bytes:
    from skl2onnx import to_onnx

    converted: Any = to_onnx(estimator, frame[:1].astype(np.float32))
    return bytes(converted.SerializeToString())


def _cost(store: FsspecModelRepository, model_id: str) -> Cost:
    """The lesser of two loads: the first of all reads modules, too."""
    return min(_load(store, model_id), _load(store, model_id))


def _load(store: FsspecModelRepository, model_id: str) -> Cost:
    started = thread_time()
    model = store.get_model(model_id)
    return Cost(size_of_model(model), thread_time() - started)


def _told(name: str, costs: Sequence[Cost]) -> str:
    size, seconds = (statistics.median(each) for each in zip(*costs, strict=True))
    return f"{name}: {show_size(int(size))}, {duration(seconds)}"


def _kinds() -> list[Kind]:
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    def boosted(seed: int) -> Any:
        return GradientBoostingClassifier(n_estimators=30, random_state=seed)

    def network(seed: int) -> Any:
        return MLPClassifier((256, 128), max_iter=5, random_state=seed)

    return [
        Kind("pipeline", "breast_cancer", lambda _: make_pipeline(StandardScaler(), LogisticRegression())),
        Kind("boosted trees", "breast_cancer", boosted),
        Kind("forest", "digits", lambda seed: RandomForestClassifier(10, random_state=seed)),
        Kind("support vectors", "digits", lambda _: SVC()),
        Kind("neighbours", "digits", lambda _: KNeighborsClassifier()),
        Kind("network in ONNX", "digits", network, ".onnx"),
    ]
