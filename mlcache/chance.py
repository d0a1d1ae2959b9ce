"""The only place that draws random numbers."""

from __future__ import annotations


def draw() -> float:
    """A random number from 0 up to, but not including, 1."""
    import random  # which few programs need

    return random.random()  # noqa: S311 - no secret
