"""Python starts one process with the first that is spawned, and keeps it: it is no test's."""

from __future__ import annotations

from multiprocessing import resource_tracker

resource_tracker.ensure_running()
