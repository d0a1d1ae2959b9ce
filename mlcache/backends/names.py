"""The names of tiers, as users see them."""

from __future__ import annotations

from collections.abc import Sequence


def apart(names: Sequence[str]) -> list[str]:
    """The names, with a number behind those that have come before: ``disk``, ``disk 2``."""
    return [
        f"{name} {number}" if (number := names[: place + 1].count(name)) > 1 else name
        for place, name in enumerate(names)
    ]
