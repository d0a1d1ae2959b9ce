"""Entries to bytes and back: verified, and harmless to read."""

from __future__ import annotations

from mlcache.codec.frame import FORMAT_VERSION, FrameCodec, Metadata, read_metadata
from mlcache.codec.pickled import Signer
from mlcache.codec.protocol import Codec

__all__ = ["FORMAT_VERSION", "Codec", "FrameCodec", "Metadata", "Signer", "read_metadata"]
