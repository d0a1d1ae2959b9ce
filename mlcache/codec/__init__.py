"""Entries to bytes and back: verified, and harmless to read."""

from __future__ import annotations

from mlcache.codec.frame import FORMAT_VERSION, Metadata, read_metadata
from mlcache.codec.framecodec import FrameCodec
from mlcache.codec.protocol import Codec
from mlcache.codec.signer import Signer

__all__ = ["FORMAT_VERSION", "Codec", "FrameCodec", "Metadata", "Signer", "read_metadata"]
