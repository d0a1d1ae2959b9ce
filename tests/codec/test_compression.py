from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcache.codec import FrameCodec, Signer, read_metadata
from mlcache.codec.compression import MAX_RATIO, compress, decompress
from mlcache.codec.frame import COMPRESSED, seal
from mlcache.entry import Entry
from mlcache.errors import CannotEncodeError, CorruptEntryError, MissingExtraError
from tests.codec.likeness import CODEC, round_trip, same
from tests.codec.samples import SMALL

zstandard = pytest.importorskip("zstandard")
SHRINKING = FrameCodec(compress=True)


@pytest.mark.parametrize("name", SMALL)
def test_what_was_compressed_comes_back(name: str) -> None:
    value = [SMALL[name], "a" * 1000, np.zeros(100)]
    frame = SHRINKING.encode(Entry(value, 1.0))
    assert read_metadata(frame).compressed
    assert len(frame) < len(CODEC.encode(Entry(value, 1.0)))
    # Reading takes it without having been told.
    assert same(CODEC.decode(frame).value, value)


def test_what_does_not_shrink_is_left_to_be_read_in_place() -> None:
    noise = np.frombuffer(np.random.default_rng(0).bytes(100_000), np.uint8)
    frame = SHRINKING.encode(Entry(noise, 1.0))
    assert not read_metadata(frame).compressed
    assert np.shares_memory(SHRINKING.decode(frame).value, np.frombuffer(frame, np.uint8))
    assert not read_metadata(SHRINKING.encode(Entry(1, 1.0))).compressed


def test_arrays_are_read_only_there_too() -> None:
    assert not round_trip(np.zeros(1000), SHRINKING).flags.writeable


def test_a_pickle_is_compressed_too() -> None:
    codec = FrameCodec(signer=Signer(b"k" * 32), compress=True)
    frame = codec.encode(Entry([object, np.zeros(1000)], 1.0))
    assert read_metadata(frame).compressed
    assert read_metadata(frame).pickled
    assert same(codec.decode(frame).value[1], np.zeros(1000))
    with pytest.raises(CorruptEntryError):
        CODEC.decode(frame)


@given(st.binary(max_size=100), st.integers(1, 50_000))
def test_compression_is_undone(seed: bytes, times: int) -> None:
    data = seed * times
    packed = compress(data)
    if packed is not None:
        assert len(packed) * MAX_RATIO >= len(data)
        assert decompress(memoryview(packed)) == data


def test_the_most_compressible_comes_back_in_bounds() -> None:
    frame = SHRINKING.encode(Entry(np.zeros(50_000_000, np.uint8), 1.0))
    assert 50_000_000 / MAX_RATIO <= len(frame) < 60_000
    assert not SHRINKING.decode(frame).value.any()


@pytest.mark.parametrize("extra", [b"", b"\0" * 10])
def test_a_bomb_is_refused_before_it_expands(extra: bytes) -> None:
    import tracemalloc

    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(100_000_000)) + extra
    frame = seal(Entry(None, 1.0), COMPRESSED, bomb, [])
    tracemalloc.start()
    with pytest.raises(CorruptEntryError, match="claim to expand"):
        CODEC.decode(frame)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("body", [b"", b"not compressed", bytes(1000)])
def test_what_is_not_compressed_is_refused(body: bytes) -> None:
    with pytest.raises(CorruptEntryError):
        CODEC.decode(seal(Entry(None, 1.0), COMPRESSED, body, []))


def test_a_frame_of_unknown_length_is_refused() -> None:
    body = zstandard.ZstdCompressor(write_content_size=False).compress(b"\xc0")
    with pytest.raises(CorruptEntryError, match="claim to expand to -1"):
        CODEC.decode(seal(Entry(None, 1.0), COMPRESSED, body, []))


def test_without_the_package_it_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = SHRINKING.encode(Entry("a" * 1000, 1.0))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingExtraError, match=r"mlcache\[zstd\]"):
        FrameCodec(compress=True)
    with pytest.raises(CorruptEntryError, match="zstd"):
        CODEC.decode(frame)
    value: Any = "a" * 1000
    with pytest.raises(CannotEncodeError):
        SHRINKING.encode(Entry(value, 1.0))
