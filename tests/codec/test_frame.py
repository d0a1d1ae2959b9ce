from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from mlcache.codec import FORMAT_VERSION, FrameCodec, Signer, frame, read_metadata
from mlcache.entry import Entry
from mlcache.errors import CorruptEntryError
from tests.codec.likeness import CODEC, same
from tests.codec.samples import SMALL

GOLDEN = Path(__file__).parent / "golden"
SIGNED = FrameCodec(signer=Signer(b"k" * 32))
SHRINKING = FrameCodec(compress=True)

FRAMES = {
    "plain": (CODEC, CODEC.encode(Entry("some text", 1.0, 2.0, 3.0, 4.0, 5))),
    "mixed": (CODEC, CODEC.encode(Entry({"a": np.arange(30), "b": [1, "x"], "c": np.arange(3.0)}, 1.0))),
    "pickled": (SIGNED, SIGNED.encode(Entry([1j, object, np.arange(20)], 1.0))),
    "compressed": (SHRINKING, SHRINKING.encode(Entry([np.zeros(300), "abc" * 100], 1.0))),
}


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_every_byte_flipped_is_found(name: str, flip: int) -> None:
    codec, data = FRAMES[name]
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= flip
        with pytest.raises(CorruptEntryError):
            codec.decode(bytes(damaged))


@pytest.mark.parametrize("name", FRAMES)
def test_truncation_at_every_length_is_found(name: str) -> None:
    codec, data = FRAMES[name]
    for length in range(len(data)):
        with pytest.raises(CorruptEntryError):
            codec.decode(data[:length])
        with pytest.raises(CorruptEntryError):
            codec.decode(memoryview(data)[:length])


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("more", [b"\0", b"\0" * 64, b"x" * 1000])
def test_bytes_too_many_are_found(name: str, more: bytes) -> None:
    codec, data = FRAMES[name]
    with pytest.raises(CorruptEntryError, match="checksum"):
        codec.decode(data + more)


@pytest.mark.parametrize("name", FRAMES)
def test_damage_is_refused_or_harmless_even_where_the_checksum_is_not_looked_at(name: str) -> None:
    codec, data = FRAMES[name]
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 0xFF
        try:
            entry = codec.decode(bytes(damaged), verified=True)
        except CorruptEntryError:
            continue
        assert isinstance(entry, Entry)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptEntryError):
        CODEC.decode(data)
    with pytest.raises(CorruptEntryError):
        CODEC.decode(frame.MAGIC + struct.pack("<H", FORMAT_VERSION) + data)


@given(
    st.floats(),
    st.floats(),
    st.floats(),
    st.floats(),
    st.integers(1, 2**64 - 1),
)
def test_metadata_comes_back_and_is_read_from_the_head_alone(
    created: float, fresh: float, stale: float, cost: float, size: int
) -> None:
    fields = (created, fresh, stale, cost, size)
    data = CODEC.encode(Entry([1, 2], *fields))
    entry = CODEC.decode(data)
    head = read_metadata(data[:64])
    assert same((entry.created, entry.fresh_until, entry.stale_until, entry.cost, entry.size), fields)
    assert same((head.created, head.fresh_until, head.stale_until, head.cost, head.size), fields)
    assert (head.version, head.pickled, head.compressed) == (FORMAT_VERSION, False, False)


def test_metadata_tells_what_the_frame_is() -> None:
    found = {name: read_metadata(data) for name, (_, data) in FRAMES.items()}
    assert [name for name, head in found.items() if head.pickled] == ["pickled"]
    assert [name for name, head in found.items() if head.compressed] == ["compressed"]
    with pytest.raises(CorruptEntryError, match="too few"):
        read_metadata(b"")
    with pytest.raises(CorruptEntryError, match="does not begin"):
        read_metadata(b"x" * 64)


def test_defaults_come_back() -> None:
    entry = CODEC.decode(CODEC.encode(Entry(1, 5.0)))
    assert (entry.fresh_until, entry.stale_until, entry.cost) == (math.inf, math.inf, 0.0)
    assert entry.renew is None


def test_the_size_is_that_of_the_frame_where_it_is_not_known() -> None:
    data = CODEC.encode(Entry("abc", 1.0))
    assert CODEC.decode(data).size == len(data)
    assert CODEC.decode(CODEC.encode(Entry("abc", 1.0, size=7))).size == 7


def test_any_contiguous_buffer_is_read() -> None:
    data = CODEC.encode(Entry([1, np.arange(25)], 1.0))
    data += bytes(-len(data) % 8)
    body = bytearray(data)
    struct.pack_into("<Q", body, 8, xxhash.xxh3_64_intdigest(body[16:], FORMAT_VERSION << 16))
    kinds: list[Any] = [bytes, bytearray, memoryview, lambda data: memoryview(data).cast("d")]
    for kind in kinds:
        assert same(CODEC.decode(kind(bytes(body))).value, [1, np.arange(25)])
    twice = memoryview(bytes(byte for byte in body for _ in range(2)))
    with pytest.raises(CorruptEntryError):
        CODEC.decode(twice[::2])


def test_an_unknown_version_is_refused() -> None:
    data = bytearray(CODEC.encode(Entry(1, 1.0)))
    unknown = max(frame.READABLE) + 1
    struct.pack_into("<H", data, 4, unknown)
    struct.pack_into("<Q", data, 8, xxhash.xxh3_64_intdigest(data[16:], unknown << 16))
    with pytest.raises(CorruptEntryError, match=f"version {unknown}"):
        CODEC.decode(bytes(data))


def test_what_an_old_version_wrote_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    old = {name: CODEC.encode(Entry(value, 1.0)) for name, value in SMALL.items()}
    monkeypatch.setattr(frame, "FORMAT_VERSION", FORMAT_VERSION + 1)
    monkeypatch.setattr(frame, "READABLE", frame.READABLE | {FORMAT_VERSION + 1})
    for name, value in SMALL.items():
        new = CODEC.encode(Entry(value, 1.0))
        assert new != old[name]
        assert same(CODEC.decode(old[name]).value, value)
        assert same(CODEC.decode(new).value, value)


@pytest.mark.parametrize("name", SMALL)
def test_frames_of_every_readable_version_are_read(name: str) -> None:
    for version in frame.READABLE:
        data = (GOLDEN / f"{name} v{version}.frame").read_bytes()
        entry = CODEC.decode(data)
        assert same(entry.value, SMALL[name])
        assert (entry.created, entry.fresh_until, entry.stale_until) == (1.5, 2.5, 3.5)
        assert (entry.cost, entry.size) == (0.25, 100)


@pytest.mark.parametrize("name", [name for name in SMALL if name != "containers"])
def test_what_is_written_changes_only_with_the_version(name: str) -> None:
    """To be mended by a new version, never by new golden frames. (The order of a set changes.)"""
    golden = (GOLDEN / f"{name} v{FORMAT_VERSION}.frame").read_bytes()
    assert CODEC.encode(_entry(SMALL[name])) == golden


def _entry(value: Any) -> Entry:
    return Entry(value, 1.5, 2.5, 3.5, 0.25, 100)


def write_golden_frames() -> None:
    """Once for each version, when it is new."""
    GOLDEN.mkdir(exist_ok=True)
    for name, value in SMALL.items():
        (GOLDEN / f"{name} v{FORMAT_VERSION}.frame").write_bytes(CODEC.encode(_entry(value)))


if __name__ == "__main__":
    write_golden_frames()
