"""What a forked child has to put right.

A fork copies locks as they are, and nobody in the child will release one that another thread held.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forks(Protocol):
    """Something with a lock."""

    def after_fork(self) -> None:
        """Put right what the child got."""


_alive: weakref.WeakSet[Forks] = weakref.WeakSet()


def tend(thing: Forks) -> None:
    """Call ``thing.after_fork()`` in every child, as long as it lives."""
    _alive.add(thing)


def _after_fork() -> None:
    for thing in list(_alive):
        thing.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
