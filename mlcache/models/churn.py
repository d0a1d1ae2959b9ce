"""Churn: models that come back soon after they were evicted, since there is too little room for them."""

from __future__ import annotations

from collections import deque

WINDOW = 50
"""Loads that are looked at."""

TOO_MANY = 25
"""Loads among them that brought back an evicted model, above which it is worth a warning."""

REMEMBERED = 1000
"""Evicted models whose return counts as churn."""


class Churn:
    """Counts loads that would not have been needed with more room. Its methods are called under a lock."""

    def __init__(self) -> None:
        self.evictions = 0
        self.returns = 0
        self._gone: dict[str, None] = {}
        self._loads: deque[bool] = deque(maxlen=WINDOW)
        self._told = False

    def evicted(self, model_id: str) -> None:
        """Note that a model went for want of room."""
        self.evictions += 1
        self._gone.pop(model_id, None)
        self._gone[model_id] = None
        if len(self._gone) > REMEMBERED:
            del self._gone[next(iter(self._gone))]

    def loaded(self, model_id: str) -> bool:
        """Note that a model was loaded; True, once, if too many of these were evicted before."""
        is_back = model_id in self._gone
        self._gone.pop(model_id, None)
        self.returns += is_back
        self._loads.append(is_back)
        tell = sum(self._loads) > TOO_MANY and not self._told
        self._told = self._told or tell
        return tell
