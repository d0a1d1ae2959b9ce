"""The hash function under every key: 16 bytes of xxh3 over a buffer, or over a stream of buffers.

Callers say ``hashing.hash128(...)``, never ``from mlcache.keys.hashing import hash128``, so that
another function can take its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import xxhash

Buffer: TypeAlias = Any
"""What has a contiguous buffer: bytes, an array. Python has a type for it from 3.12 on."""

hash128: Callable[[Buffer], bytes] = xxhash.xxh3_128_digest
"""16 bytes over one contiguous buffer. It lets other threads run meanwhile."""


def _stream(pieces: Iterable[Buffer]) -> bytes:
    hasher = xxhash.xxh3_128()
    for piece in pieces:
        hasher.update(piece)
    return hasher.digest()


hash128_stream: Callable[[Iterable[Buffer]], bytes] = _stream
"""The same 16 bytes as ``hash128`` gives for all the pieces in one."""
