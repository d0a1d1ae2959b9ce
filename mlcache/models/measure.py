"""How much memory a model takes: measured once it is loaded, estimated before."""

from __future__ import annotations

import threading

from mlcache.models.protocols import Description, Model, Sized
from mlcache.sizes import size_of

FIRST_RATIO = 2.0
"""Bytes in memory for each byte in the store, as long as none was measured."""

SMALL = 1 << 20
"""Bytes in the store up to which a model may take a fraction of that in memory: most is the format's own."""

FADING = 0.9
"""How much of an extreme ratio counts still after the next load, which may have been of another kind."""


def size_of_model(model: Model) -> int:
    """Bytes that a model takes: what it says itself, else what its attributes take."""
    if isinstance(model, Sized) and callable(model.size):
        return max(int(model.size()), 1)
    return size_of(model)


class Sizes:
    """What models took when they were loaded last, and what others may take.

    The estimate for a model that was never loaded is what it takes in the store times the highest
    ratio seen lately: to set aside too much evicts a model early, too little breaks the bound. As no
    model is to be refused for an estimate, it gets all the room at most, unless it would not fit in
    there by the lowest ratio seen lately either.
    """

    def __init__(self, remembered: int = 100_000) -> None:
        self._known: dict[str, tuple[str, int | None, int]] = {}
        self._remembered = remembered
        self._ratio = 0.0
        self._lowest = 1.0
        self._largest = 0.0
        self._lock = threading.Lock()

    def expect(self, model_id: str, description: Description, room: int) -> int:
        """Bytes to set aside for a model, of the ``room`` for all, given what the store says of it."""
        version, stored, size = self._known.get(model_id, (None, None, 0))
        if (version, stored) == (description.version, description.size):
            return size
        if description.size is None:
            return int(self._largest)
        likely = int(description.size * (self._ratio or FIRST_RATIO))
        least = int(description.size * self._lowest) if description.size > SMALL else 0
        return max(min(likely, room), least)

    def grown(self, model_id: str, description: Description) -> int:
        """Bytes that another version will take if it has grown as it has in the store; 0 if nobody knows."""
        _, stored, size = self._known.get(model_id, (None, None, 0))
        return int(size * description.size / stored) if stored and description.size else 0

    def learn(self, model_id: str, description: Description, size: int) -> None:
        """Note what a model took."""
        with self._lock:
            self._known.pop(model_id, None)
            while len(self._known) >= self._remembered:
                del self._known[next(iter(self._known))]
            self._known[model_id] = description.version, description.size, size
            self._largest = max(size, self._largest * FADING)
            if description.size:
                ratio = size / description.size
                self._ratio = max(ratio, self._ratio * FADING)
                self._lowest = min(ratio, self._lowest / FADING, 1.0)

    def after_fork(self) -> None:
        """Release a lock that another thread held."""
        self._lock = threading.Lock()
