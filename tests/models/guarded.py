"""A repository between the cache and the store, which notes whatever the cache must never do."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from mlcache.models import Description, FsspecModelRepository


class GuardedModel:
    """A model that tells its guard when it is used or closed against the rules."""

    def __init__(self, guard: Guard, model_id: str, model: Any) -> None:
        self.version = model.version
        self._guard = guard
        self._model_id = model_id
        self._model = model
        self._using = 0
        self._is_closed = False

    def size(self) -> int:
        size: int = self._model.size()
        return size

    def predict(self, frame: Any, /) -> Any:
        self._use(1)
        try:
            return self._model.predict(frame)
        finally:
            self._use(-1)

    def close(self) -> None:
        with self._guard.lock:
            if self._using or self._is_closed:
                how = "in use" if self._using else "twice"
                self._guard.misuses.append(f"{self._model_id} was closed {how}")
            self._is_closed = True
            self._guard.count(-1, -self.size())

    def _use(self, change: int) -> None:
        with self._guard.lock:
            self._using += change
            if self._is_closed:
                self._guard.misuses.append(f"{self._model_id} was used after it was closed")


class Guard:
    """The models of ``repository``, guarded.

    Attributes:
        loads: of each model.
        misuses: uses after a close, closes in use, and loads of a model that was being loaded already.
        models: that are in memory, and the most that ever were.
        bytes: that they take, likewise.
    """

    def __init__(self, repository: FsspecModelRepository) -> None:
        self.loads: Counter[str] = Counter()
        self.misuses: list[str] = []
        self.models = self.most_models = self.bytes = self.most_bytes = 0
        self.lock = threading.RLock()
        self._repository = repository
        self._loading: set[str] = set()

    def describe(self, model_id: str, /) -> Description:
        return self._repository.describe(model_id)

    def get_model(self, model_id: str, /) -> GuardedModel:
        return self.fetch(model_id, self.describe(model_id))

    def fetch(self, model_id: str, described: Description, /) -> GuardedModel:
        with self.lock:
            if model_id in self._loading:
                self.misuses.append(f"{model_id} was loaded twice at a time")
            self._loading.add(model_id)
            self.loads[model_id] += 1
        try:
            model = GuardedModel(self, model_id, self._repository.fetch(model_id, described))
            self.count(1, model.size())
        finally:
            with self.lock:
                self._loading.discard(model_id)
        return model

    def count(self, models: int, size: int) -> None:
        with self.lock:
            self.models += models
            self.bytes += size
            self.most_models = max(self.most_models, self.models)
            self.most_bytes = max(self.most_bytes, self.bytes)

    def ping(self) -> None:
        self._repository.ping()
