"""Computing somewhere else: in worker processes, or in what runs work already; nothing here caches."""

from __future__ import annotations
