"""Keys and values for tests of backends, and how they are kept and read."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mlcache import clock
from mlcache.entry import Entry, Key

THREADS = 8
"""How many work at once in ``in_threads``."""


def key(number: int, namespace: str = "app.f@1") -> Key:
    """One of many keys of a namespace."""
    digest = hashlib.blake2b(f"{namespace}/{number}".encode(), digest_size=16).digest()
    return Key(namespace, digest)


def payload(number: int, variant: int = 0) -> bytes:
    """Some kilobytes that are like no other."""
    return f"{number}/{variant} ".encode() * 300


def write(backend: Any, key: Key, data: bytes, expires_at: float = math.inf) -> None:
    """Keep ``data``, in an entry or as it is."""
    backend.put(key, *arguments(backend, data, expires_at))


def read(backend: Any, key: Key) -> bytes | None:
    """What is kept, out of its entry."""
    return content(backend, backend.get(key))


def arguments(backend: Any, data: bytes, expires_at: float) -> tuple[Any, ...]:
    """What ``put`` takes beside the key: an entry, or data as it is with its deadline."""
    if backend.holds == "bytes":
        return data, expires_at
    size = len(data) if isinstance(data, bytes) else 0
    return (Entry(data, clock.now(), expires_at, expires_at, 0.5, size),)


def content(backend: Any, found: Any) -> bytes | None:
    """The data in what ``get`` returned; an error is raised."""
    if isinstance(found, Exception):
        raise found
    if found is None:
        return None
    return bytes(found.value if backend.holds == "entries" else found)


def in_threads(work: Callable[[int], None]) -> None:
    """Do ``work`` in eight threads at once, each with a number of its own; the first error is raised."""
    with ThreadPoolExecutor(THREADS) as threads:
        for done in [threads.submit(work, worker) for worker in range(THREADS)]:
            done.result()
