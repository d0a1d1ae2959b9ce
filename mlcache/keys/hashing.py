"""The hash function under every key: 16 bytes over a buffer, or over a stream of buffers.

It is xxh3, which is as fast as memory can be read, and not made to withstand an attacker:
where inputs come from strangers, blake3 and a secret keep them from crafting two that share an
answer. Which one it is, is settled when a process first hashes something, which may be while a
function is decorated, and holds from then on.

Callers say ``hashing.hash128(...)``, never ``from mlcache.keys.hashing import hash128``, so
that another function can take its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import xxhash

from mlcache.errors import ConfigurationError, MissingExtraError

Buffer: TypeAlias = Any
"""What has a contiguous buffer: bytes, an array. Python has a type for it from 3.12 on."""


def _xxh3_stream(pieces: Iterable[Buffer]) -> bytes:
    hasher = xxhash.xxh3_128()
    for piece in pieces:
        hasher.update(piece)
    return hasher.digest()


def _settle_and_hash(buffer: Buffer) -> bytes:
    choose(*asked())
    return hash128(buffer)


def _settle_and_hash_stream(pieces: Iterable[Buffer]) -> bytes:
    choose(*asked())
    return hash128_stream(pieces)


def _nobody_asked() -> tuple[str, None]:
    return "xxh3", None


asked: Callable[[], tuple[str, str | None]] = _nobody_asked
"""Says what to ``choose`` when it is first needed; ``mlcache.settings`` puts its own in its place."""

hash128: Callable[[Buffer], bytes] = _settle_and_hash
"""16 bytes over one contiguous buffer. It lets other threads run meanwhile."""

hash128_stream: Callable[[Iterable[Buffer]], bytes] = _settle_and_hash_stream
"""The same 16 bytes as ``hash128`` gives for all the pieces in one."""


def choose(name: str, secret: str | None = None) -> None:
    """Say which hash function is under every key of this process, before the first one is made.

    Args:
        name: ``"xxh3"``, the default, or ``"blake3"``.
        secret: what the keys of blake3 depend on, so that only who knows it can make them.

    Raises:
        ConfigurationError: if the name is another one, or if xxh3 is given a secret to keep.
        MissingExtraError: if blake3 is not installed.
    """
    global hash128, hash128_stream  # as mlcache.clock, it is there to be set
    if name == "xxh3" and secret is None:
        hash128, hash128_stream = xxhash.xxh3_128_digest, _xxh3_stream
    elif name == "blake3":
        hash128, hash128_stream = _blake3(secret)
    else:
        problem = "xxh3 cannot be keyed by a secret" if name == "xxh3" else f"there is no hash {name!r}"
        raise ConfigurationError(f"{problem}: choose 'xxh3' without a secret, or 'blake3'")


def _blake3(secret: str | None) -> tuple[Callable[[Buffer], bytes], Callable[[Iterable[Buffer]], bytes]]:
    try:
        from blake3 import blake3
    except ImportError:
        raise MissingExtraError("MLCACHE_HASH=blake3", "blake3", "blake3") from None
    said = "" if secret is None else f"secret: {secret}"
    key = blake3(said.encode(), derive_key_context="mlcache 2026 keys of calls").digest()

    def over_stream(pieces: Iterable[Buffer]) -> bytes:
        hasher = blake3(key=key)
        for piece in pieces:
            hasher.update(_as_bytes(piece))
        return hasher.digest(16)

    return lambda buffer: over_stream((buffer,)), over_stream


def _as_bytes(buffer: Buffer) -> Buffer:
    """What blake3 takes: it refuses buffers of anything but bytes."""
    if isinstance(buffer, bytes):
        return buffer
    if hasattr(buffer, "dtype"):
        return buffer.reshape(-1).view("u1") if buffer.nbytes else b""
    view = memoryview(buffer)
    return view.cast("B") if view.nbytes else b""  # it casts no view of a shape with a zero in it
