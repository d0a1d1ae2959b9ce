"""Models that notice when they are misused, and a repository of them that does as it is told."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from mlcache.errors import ModelStoreError, UnknownModelError
from mlcache.models import CachedModelRepository, Description


class MisuseError(AssertionError):
    """A model that was used after it was closed, or closed while it was used."""


class Watched:
    """A model that adds its number to each row. It holds ``size`` bytes by its own account."""

    def __init__(self, model_id: str, version: str, size: int, closed: Callable[[Watched], None]) -> None:
        self.model_id = model_id
        self.seen_version = version
        self.using = 0
        self.is_closed = False
        self._size = size
        self._closed = closed
        self._lock = threading.Lock()

    def size(self) -> int:
        return self._size

    @contextmanager
    def used(self) -> Iterator[None]:
        with self._lock:
            self.using += 1
        try:
            yield
        finally:
            with self._lock:
                self.using -= 1

    def predict(self, frame: Any, /) -> Any:
        with self.used():
            if self.is_closed:
                raise MisuseError(f"{self.model_id} was used after it was closed")
            return np.asarray(frame) + float(self.model_id)

    def close(self) -> None:
        if self.is_closed or self.using:
            raise MisuseError(f"{self.model_id} was closed {'twice' if self.is_closed else 'in use'}")
        self.is_closed = True
        self._closed(self)


class Store:
    """A repository of ``Watched`` models, which counts what is loaded and what is in memory."""

    def __init__(self, sizes: dict[str, int], *, known_sizes: bool = True) -> None:
        self.sizes = sizes
        self.versions = dict.fromkeys(sizes, "1")
        self.loads: Counter[str] = Counter()
        self.describes = 0
        self.is_down = False
        self.before_load: Callable[[str], object] = lambda _: None
        self.bytes = self.most_bytes = self.most_models = 0
        self.loading: Counter[str] = Counter()
        self.most_loading = 0
        self.doubled: list[str] = []
        self.alive: set[Watched] = set()
        self._known_sizes = known_sizes
        self._lock = threading.Lock()

    def describe(self, model_id: str, /) -> Description:
        self.describes += 1
        self._check(model_id)
        size = self.sizes[model_id] if self._known_sizes else None
        return Description(self.versions[model_id], size)

    def get_model(self, model_id: str, /) -> Watched:
        self._check(model_id)
        with self._lock:
            self.loads[model_id] += 1
            self.loading[model_id] += 1
            self.most_loading = max(self.most_loading, sum(self.loading.values()))
            if self.loading[model_id] > 1:
                self.doubled.append(model_id)
            self.bytes += self.sizes[model_id]
            self.most_bytes = max(self.most_bytes, self.bytes)
        try:
            self.before_load(model_id)
            model = Watched(model_id, self.versions[model_id], self.sizes[model_id], self._gone)
        except BaseException:
            with self._lock:
                self.bytes -= self.sizes[model_id]
            raise
        finally:
            with self._lock:
                self.loading[model_id] -= 1
        with self._lock:
            self.alive.add(model)
            self.most_models = max(self.most_models, len(self.alive))
        return model

    def _check(self, model_id: str) -> None:
        if self.is_down:
            raise ModelStoreError("the store is down")
        if model_id not in self.sizes:
            raise UnknownModelError(f"there is no model {model_id!r}")

    def _gone(self, model: Watched) -> None:
        with self._lock:
            self.bytes -= model.size()
            self.alive.remove(model)


def a_store(count: int, size: int = 100) -> Store:
    return Store({str(number): size for number in range(count)})


def cached(store: Any, **options: Any) -> CachedModelRepository:
    """A cache whose estimates are exact after its first load; nothing is checked unless asked for."""
    defaults: dict[str, Any] = {"check_every": None, "wait": 30}
    return CachedModelRepository(store, **(defaults | options))
