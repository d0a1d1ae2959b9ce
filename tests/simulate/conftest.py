"""What multiprocessing starts once and keeps, so that no test is blamed for it."""

from __future__ import annotations

from multiprocessing import resource_tracker

resource_tracker.ensure_running()
