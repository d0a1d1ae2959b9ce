"""The room that models may take, and what they do take."""

from __future__ import annotations

from collections.abc import Iterator

from mlcache.models.slot import Slot
from mlcache.units import show_size


class Room:
    """Bounds on the bytes and the number of models, and who counts. Its methods are called under a lock.

    Args:
        max_bytes: bound on the sizes of the models together.
        max_models: bound on their number; None: no bound.

    Attributes:
        bytes: that all take, or that are set aside for them.
    """

    def __init__(self, max_bytes: int, max_models: int | None) -> None:
        self.max_bytes = max_bytes
        self.max_models = max_models
        self.bytes = 0
        self._charged: dict[Slot, int] = {}

    def __len__(self) -> int:
        return len(self._charged)

    def __iter__(self) -> Iterator[Slot]:
        """All whose size counts, also those that take no more leases."""
        return iter(self._charged)

    def fits(self, size: int, models: int) -> bool:
        """Whether so many bytes and models more would be within the bounds."""
        too_many = self.max_models is not None and len(self) + models > self.max_models
        return self.bytes + size <= self.max_bytes and not (models and too_many)

    def charge(self, slot: Slot, size: int | None) -> None:
        """Count ``size`` bytes for a model from now on, or None for nothing at all."""
        self.bytes += (size or 0) - self._charged.pop(slot, 0)
        slot.size = size or 0
        if size is not None:
            self._charged[slot] = size

    def __str__(self) -> str:
        bound = show_size(self.max_bytes)
        return bound if self.max_models is None else f"{bound} or {self.max_models} models"
