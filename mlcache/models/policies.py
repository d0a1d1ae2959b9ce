"""Which model goes first when there is no more room.

A rank is computed for each model that may go, and the lowest goes: there are tens or hundreds of models
in a process, and what follows is a load that takes milliseconds.
"""

from __future__ import annotations

from typing import Any, Protocol

from mlcache.errors import ConfigurationError
from mlcache.models.slot import Slot

COST_FLOOR = 1e-4
"""Seconds that loading a model costs at least."""


class Policy(Protocol):
    """An order among models."""

    def rank(self, slot: Slot) -> Any:
        """The model with the lowest rank goes first."""
        ...

    def used(self, slot: Slot) -> None:
        """Note that a model was asked for, or was loaded."""
        ...

    def evicted(self, slot: Slot) -> None:
        """Note that a model went."""
        ...


class Lru:
    """The least recently used goes first."""

    def rank(self, slot: Slot) -> Any:
        """The order of last use."""
        return slot.order

    def used(self, slot: Slot) -> None:
        """The slot knows."""

    def evicted(self, slot: Slot) -> None:
        """Nothing is remembered."""


class Lfu(Lru):
    """The least frequently used goes first, of several the one that has been so for longest."""

    def rank(self, slot: Slot) -> Any:
        """The number of uses."""
        return slot.uses, slot.order


class Gdsf(Lru):
    """The model goes first that saves the least loading time for the memory that it takes.

    Its priority is ``inflation + uses × seconds to load ÷ bytes``, and ``inflation`` rises to the
    priority of each model that goes, so that what was used often but long ago gives way
    (L. Cherkasova, Improving WWW Proxies Performance with Greedy-Dual-Size-Frequency Caching
    Policy, HPL-98-69R1, 1998).
    """

    def __init__(self) -> None:
        self._inflation = 0.0

    def rank(self, slot: Slot) -> Any:
        """The priority."""
        return slot.priority, slot.order

    def used(self, slot: Slot) -> None:
        """Raise the priority."""
        weight = max(slot.cost, COST_FLOOR) / max(slot.size, 1)
        slot.priority = self._inflation + slot.uses * weight

    def evicted(self, slot: Slot) -> None:
        """Let what stays age."""
        self._inflation = max(self._inflation, slot.priority)


_POLICIES: dict[str, type[Lru]] = {"lru": Lru, "lfu": Lfu, "gdsf": Gdsf}


def policy_of(name: str) -> Policy:
    """A policy by its name.

    Raises:
        ConfigurationError: there is none of that name.
    """
    if name not in _POLICIES:
        raise ConfigurationError(f"policy is {name!r}: give one of {', '.join(_POLICIES)}")
    return _POLICIES[name]()
