"""Flights: the one computation that everybody who misses the same key waits for."""

from __future__ import annotations

from mlcache.flight.local import Flight, Flights, Job

__all__ = ["Flight", "Flights", "Job"]
