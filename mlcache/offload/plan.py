"""What a pool was asked to be, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a pool, as ``Pool`` describes them, in seconds and bytes; infinity for no limit."""

    workers: int
    resources: Mapping[str, Callable[[], Any]]
    timeout: float
    max_queue: float
    max_queue_bytes: float
    when_full: str
    start_method: str
    threads: int
    max_calls: float
    max_memory: float
    recycle: float
    load_timeout: float
