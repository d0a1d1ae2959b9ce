"""The versions of models that were seen lately, also of models that have gone from memory since."""

from __future__ import annotations

from mlcache import clock

REMEMBERED = 100_000
"""Models whose version is remembered; of more, those seen first are forgotten."""


class Versions:
    """What version each model had when it was looked at last."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, float]] = {}

    def note(self, model_id: str, version: str) -> None:
        """Remember that a model has a version now."""
        while len(self._seen) >= REMEMBERED:
            self._seen.pop(next(iter(self._seen)), None)
        self._seen[model_id] = version, clock.ticks()

    def get(self, model_id: str, within: float | None) -> str | None:
        """The version of a model, if it was looked at within so many seconds (None: ever)."""
        version, seen = self._seen.get(model_id, (None, 0.0))
        return version if within is None or clock.ticks() - seen < within else None

    def forget(self, model_id: str) -> None:
        """Remember nothing of a model."""
        self._seen.pop(model_id, None)
