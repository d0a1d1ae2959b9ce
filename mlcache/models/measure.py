"""How much memory a model takes: measured once it is loaded, estimated before."""

from __future__ import annotations

import threading

from mlcache.models.protocols import Description, Model, Sized
from mlcache.sizes import size_of

FIRST_RATIO = 2.0
"""Bytes in memory for each byte in the store, as long as none was measured."""

FADING = 0.9
"""How much of the highest ratio counts still after the next load, which may have been of another kind."""


def size_of_model(model: Model) -> int:
    """Bytes that a model takes: what it says itself, else what its attributes take."""
    if isinstance(model, Sized) and callable(model.size):
        return max(int(model.size()), 1)
    return size_of(model)


class Sizes:
    """What models took when they were loaded last, and what others may take.

    The estimate for a model that was never loaded is what it takes in the store times the highest
    ratio seen lately: to set aside too much evicts a model early, too little breaks the bound.
    """

    def __init__(self, remembered: int = 100_000) -> None:
        self._known: dict[str, tuple[Description, int]] = {}
        self._remembered = remembered
        self._ratio = 0.0
        self._largest = 0.0
        self._lock = threading.Lock()

    def expect(self, model_id: str, description: Description) -> int:
        """Bytes that a model may take in memory, given what the store says of it."""
        before, size = self._known.get(model_id, (None, 0))
        if before == description:
            return size
        if description.size is None:
            return int(self._largest)
        return int(description.size * (self._ratio or FIRST_RATIO))

    def learn(self, model_id: str, description: Description, size: int) -> None:
        """Note what a model took."""
        with self._lock:
            self._known.pop(model_id, None)
            while len(self._known) >= self._remembered:
                del self._known[next(iter(self._known))]
            self._known[model_id] = description, size
            self._largest = max(size, self._largest * FADING)
            if description.size:
                self._ratio = max(size / description.size, self._ratio * FADING)

    def after_fork(self) -> None:
        """Release a lock that another thread held."""
        self._lock = threading.Lock()
