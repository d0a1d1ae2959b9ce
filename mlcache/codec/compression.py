"""Compression by Zstandard (RFC 8878), of which reading never takes more memory than is told beforehand."""

from __future__ import annotations

from types import ModuleType

from mlcache.errors import MissingExtraError

MAX_RATIO = 1024
"""To how many times its size something may expand. Zstandard alone would let 1 KB become 30 MB."""

_WORTHWHILE = 0.9
"""Above this share of the original size, reading in place is worth more than the bytes saved."""


def zstandard() -> ModuleType:
    """The package, imported on first use.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import zstandard as package
    except ImportError as error:
        raise MissingExtraError("compression", "zstandard", "zstd") from error
    return package


def compress(data: bytes) -> bytes | None:
    """``data`` compressed, or None where that saves too little."""
    packed: bytes = zstandard().ZstdCompressor().compress(data)
    if len(packed) > len(data) * _WORTHWHILE:
        return None
    # Bytes after the end are ignored, and keep the ratio within the limit.
    return packed.ljust(-(-len(data) // MAX_RATIO), b"\0")


def decompress(data: memoryview) -> bytes:
    """What was compressed.

    Raises:
        ValueError: it would expand more than anything that :func:`compress` makes.
    """
    package = zstandard()
    size = package.frame_content_size(data)
    if not 0 <= size <= MAX_RATIO * len(data):
        raise ValueError(f"{len(data)} compressed bytes claim to expand to {size}")
    raw: bytes = package.ZstdDecompressor().decompress(data)
    return raw
