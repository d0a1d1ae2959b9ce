"""Two switches that every call looks at, at the price of one attribute.

``detours`` counts the reasons in this process to leave the fast path: a ``disabled()``
block in some thread or task, or a registered hook. Only where there is one does a call
look closer.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

detours = 0
"""Reasons to leave the fast path, counted over the process."""

_lock = threading.RLock()  # a finalizer may come at any time, and enter a block of its own
_disabled: ContextVar[bool] = ContextVar("mlcache_disabled", default=False)
_plain: ContextVar[bool] = ContextVar("mlcache_plain", default=False)
_plain_everywhere = False


@contextmanager
def detour() -> Iterator[None]:
    """Keep all calls off the fast path while the block runs."""
    _add(1)
    try:
        yield
    finally:
        _add(-1)


@contextmanager
def disabled() -> Iterator[None]:
    """Call the functions themselves while the block runs: no lookup, nothing kept.

    It holds for the thread or asyncio task that entered it, and for what these start
    with a copy of their context; others go on being cached.
    """
    token = _disabled.set(True)
    try:
        with detour():
            yield
    finally:
        _disabled.reset(token)


@contextmanager
def plain() -> Iterator[None]:
    """Let cached functions be the functions themselves while the block runs.

    More than ``disabled``: no cache is opened, nothing is counted, nothing goes to a worker. It is
    for what runs in a worker, whose parent has the cache.
    """
    token = _plain.set(True)
    try:
        with detour():
            yield
    finally:
        _plain.reset(token)


def be_plain() -> None:
    """Do as ``plain`` does, from now on and in all threads of this process."""
    global _plain_everywhere  # noqa: PLW0603 - it is a fact about the process
    _plain_everywhere = True
    _add(1)


def is_plain() -> bool:
    """Whether cached functions are the functions themselves here."""
    return _plain_everywhere or _plain.get()


def is_disabled() -> bool:
    """Whether caching is off here."""
    return _disabled.get() or is_plain()


def _add(number: int) -> None:
    global detours  # noqa: PLW0603 - one number for the process is what it is
    with _lock:
        detours += number
