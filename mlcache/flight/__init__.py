"""Flights: the one computation that everybody who misses the same key waits for."""

from __future__ import annotations

from mlcache.flight.aboard import aboard, is_needed_by, keys_computed_here, on_its_own, waiting_for
from mlcache.flight.flight import Flight
from mlcache.flight.job import Job
from mlcache.flight.local import Flights
from mlcache.flight.waking import together

__all__ = [
    "Flight", "Flights", "Job", "aboard", "is_needed_by", "keys_computed_here", "on_its_own",
    "together", "waiting_for",
]  # fmt: skip
