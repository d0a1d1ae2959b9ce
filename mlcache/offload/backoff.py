"""When a worker that died is replaced: at once the first time, then later and later, by chance spread out."""

from __future__ import annotations

import random

FIRST = 0.05
LONGEST = 10.0
"""Seconds between attempts, at first and at most."""
LONGEST_READY = 1.0
"""Seconds at most where workers start well, and it is calls that they die of: others are waiting."""
TRIES = 3
"""Starts that may fail one after another before calls are refused rather than kept waiting."""


class Backoff:
    """How long to wait, from how often it went wrong since it last went well."""

    def __init__(self) -> None:
        self.deaths = 0
        self.failed_starts = 0
        self.reason: BaseException | None = None

    def succeeded(self) -> None:
        """A call was answered."""
        self.deaths = 0

    def started(self) -> None:
        """A worker has loaded its resources."""
        self.failed_starts = 0
        self.reason = None

    def died(self) -> None:
        """A worker died that should not have."""
        self.deaths += 1

    def failed_to_start(self, reason: BaseException) -> None:
        """A worker died, or could not load its resources, before it took calls."""
        self.deaths += 1
        self.failed_starts += 1
        self.reason = reason

    @property
    def is_broken(self) -> bool:
        """Whether workers fail to start again and again."""
        return self.failed_starts >= TRIES

    def delay(self) -> float:
        """Seconds to wait before the next start: exponential, with jitter, so that many do not go in step."""
        if self.deaths <= 1:
            return 0.0
        bound = LONGEST if self.failed_starts else LONGEST_READY
        longest = min(bound, FIRST * 2.0 ** min(self.deaths - 2, 30))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
