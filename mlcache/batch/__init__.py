"""Batches: functions of many items, cached item by item and computed together."""

from __future__ import annotations

from mlcache.batch.options import Batch

__all__ = ["Batch"]
