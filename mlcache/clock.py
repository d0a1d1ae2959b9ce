"""The time: the only place that reads it.

Deadlines are wall-clock timestamps, because they are compared across processes and
hosts. Costs are differences of a monotonic clock. Callers say ``clock.now()``, never
``from mlcache.clock import now``, so that a test can set the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable

now: Callable[[], float] = time.time
"""Seconds since the epoch."""

ticks: Callable[[], float] = time.perf_counter
"""Seconds of a clock that never goes back, for measuring how long something took."""
