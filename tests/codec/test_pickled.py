from __future__ import annotations

import pickle
import sys
import threading
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from mlcache.codec import FrameCodec, Signer
from mlcache.codec.frame import PICKLED, seal
from mlcache.entry import Entry
from mlcache.errors import CannotEncodeError, CorruptEntryError
from tests.codec.likeness import CODEC, round_trip, same
from tests.codec.samples import SMALL

SIGNER = Signer(b"k" * 32)
SIGNED = FrameCodec(signer=SIGNER)
OTHER = FrameCodec(signer=Signer(b"l" * 32))


@dataclass
class Model:
    name: str
    weights: Any


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


WATCH: list[str] = []
_watching = threading.Event()


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if event == "pickle.find_class" and _watching.is_set():
        WATCH.append(f"{args[0]}.{args[1]}")


sys.addaudithook(_hook)


@pytest.fixture
def looked_up() -> Iterator[list[str]]:
    """What any unpickler looks up by name from here on."""
    WATCH.clear()
    _watching.set()
    yield WATCH
    _watching.clear()


def forge(places: list[tuple[int, bytes]], signature: bytes, versions: dict[str, str] | None = None) -> bytes:
    """A frame with a right checksum that holds a pickle with that signature."""
    node = [[[offset, len(data)] for offset, data in places], versions or {}, signature]
    return seal(Entry(None, 1.0), PICKLED, msgspec.msgpack.encode(node), places)


def parts(frame: bytes) -> tuple[list[Any], bytes]:
    """The node of a pickled frame and its buffers."""
    length = int.from_bytes(frame[56:64], "little")
    return msgspec.msgpack.decode(frame[64 : 64 + length]), frame[-(-(64 + length) // 64) * 64 :]


def test_a_pickle_comes_back_with_its_arrays_in_place() -> None:
    value: list[Any] = [
        Model("a", np.arange(1000.0)),
        {"b": Model("c", np.ones((20, 30), order="F"))},
    ]
    frame = SIGNED.encode(Entry(value, 1.0))
    back = SIGNED.decode(frame).value
    assert same(back[0].weights, value[0].weights)
    assert same(back[1]["b"].weights, value[1]["b"].weights)
    assert np.shares_memory(back[0].weights, np.frombuffer(frame, np.uint8))
    assert not back[0].weights.flags.writeable


def test_shared_references_stay_shared_in_a_pickle() -> None:
    model = Model("a", None)
    first, second = round_trip([model, model], SIGNED)
    assert first is second


def test_without_a_signer_nothing_is_pickled(tmp_path: Path) -> None:
    with pytest.raises(CannotEncodeError, match=r"Model.*MLCACHE_SECRET"):
        CODEC.encode(Entry([1, Model("a", 1)], 1.0))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "value", [lambda: 1, threading.Lock(), (x for x in "a"), types.SimpleNamespace(f=lambda: 1)]
)
def test_what_cannot_be_pickled_is_named(value: Any) -> None:
    with pytest.raises(CannotEncodeError, match=type(value).__qualname__):
        SIGNED.encode(Entry(value, 1.0))


def test_a_hostile_pickle_never_runs(tmp_path: Path, looked_up: list[str]) -> None:
    target = tmp_path / "made"
    data = pickle.dumps(Payload(target))
    wrong = [b"", b"\0" * 32, OTHER._signer.sign([data]), SIGNER.sign([data])]  # type: ignore[union-attr]
    for signature in wrong:
        for codec in (CODEC, SIGNED, OTHER):
            with pytest.raises(CorruptEntryError, match=r"pickle|read"):
                codec.decode(forge([(0, data)], signature))
    assert not looked_up
    assert not target.exists()
    pickle.loads(data)
    assert target.exists()
    assert looked_up


class Hasty(Signer):
    """Verifies, and then has somebody else write over what was verified."""

    def __init__(self, key: bytes, frame: bytearray, at: int, other: bytes) -> None:
        super().__init__(key)
        self.part = memoryview(frame)[at:]
        self.other = other

    def verify(self, signature: bytes, parts: Iterable[bytes | memoryview]) -> bool:
        verified = super().verify(signature, parts)
        self.part[:] = self.other[: len(self.part)]
        return verified


def test_what_was_verified_is_what_is_loaded(tmp_path: Path) -> None:
    target = tmp_path / "made"
    frame = bytearray(SIGNED.encode(Entry(Model("a", "b" * 1000), 1.0)))
    bomb = pickle.dumps(Payload(target)) * 100
    at = bytes(frame).index(b"\x80\x05")
    signer = Hasty(b"k" * 32, frame, at, bomb)
    assert FrameCodec(signer=signer).decode(memoryview(frame)).value == Model("a", "b" * 1000)
    assert bytes(frame[at : at + 100]) == bomb[:100]
    assert not target.exists()


def test_another_key_or_none_reads_nothing(looked_up: list[str]) -> None:
    frame = SIGNED.encode(Entry(Model("a", 1), 1.0))
    with pytest.raises(CorruptEntryError, match="not signed with"):
        OTHER.decode(frame)
    with pytest.raises(CorruptEntryError, match="no MLCACHE_SECRET"):
        CODEC.decode(frame)
    assert not looked_up
    assert SIGNED.decode(frame).value == Model("a", 1)
    assert looked_up


def test_every_byte_of_pickle_and_buffers_is_signed(looked_up: list[str]) -> None:
    node, buffers = parts(SIGNED.encode(Entry(Model("a", np.arange(10, dtype="u1")), 1.0)))
    places, versions, signature = node
    pieces = [(offset, buffers[offset : offset + size]) for offset, size in places]
    assert isinstance(SIGNED.decode(forge(pieces, signature, versions)).value, Model)
    looked_up.clear()
    for which, (offset, data) in enumerate(pieces):
        for place in range(len(data)):
            damaged = bytearray(data)
            damaged[place] ^= 1
            changed = [*pieces[:which], (offset, bytes(damaged)), *pieces[which + 1 :]]
            with pytest.raises(CorruptEntryError, match="not signed"):
                SIGNED.decode(forge(changed, signature, versions))
    assert not looked_up


def test_where_the_parts_lie_is_signed(looked_up: list[str]) -> None:
    node, buffers = parts(SIGNED.encode(Entry([object, np.arange(9.0), np.arange(9.0)[::-1].copy()], 1.0)))
    (first, second, third), versions, signature = node
    moved = [[first, third, second], [first, second], [second, first, third], [first, second, third, third]]
    moved += [[first, [second[0], second[1] + third[1]], [third[0], 0]]]
    for places in moved:
        tree = msgspec.msgpack.encode([places, versions, signature])
        with pytest.raises(CorruptEntryError, match="not signed"):
            SIGNED.decode(seal(Entry(None, 1.0), PICKLED, tree, [(0, buffers)]))
    assert not looked_up


def test_a_tree_is_not_taken_for_a_pickle_nor_the_other_way_round(looked_up: list[str]) -> None:
    node, buffers = parts(SIGNED.encode(Entry(Model("a", 1), 1.0)))
    for flags, tree in [(0, node), (PICKLED, ["list", [1], True]), (PICKLED, 5), (PICKLED, None)]:
        with pytest.raises(CorruptEntryError):
            SIGNED.decode(seal(Entry(None, 1.0), flags, msgspec.msgpack.encode(tree), [(0, buffers)]))
    assert not looked_up


@pytest.mark.parametrize("name", SMALL)
def test_what_needs_no_pickle_uses_none(name: str, looked_up: list[str]) -> None:
    for codec in (CODEC, SIGNED):
        round_trip(SMALL[name], codec)
    assert not looked_up


def test_another_version_of_a_library_is_refused(
    monkeypatch: pytest.MonkeyPatch, looked_up: list[str]
) -> None:
    module = types.ModuleType("library")
    monkeypatch.setitem(sys.modules, "library", module)
    module.__version__ = "1.0"  # type: ignore[attr-defined]
    module.Thing = type("Thing", (), {"__module__": "library"})  # type: ignore[attr-defined]
    frame = SIGNED.encode(Entry([{"a": module.Thing()}], 1.0))
    assert type(SIGNED.decode(frame).value[0]["a"]) is module.Thing
    looked_up.clear()
    module.__version__ = "1.1"  # type: ignore[attr-defined]
    with pytest.raises(CorruptEntryError, match=r"library 1\.0, and here is 1\.1"):
        SIGNED.decode(frame)
    assert not looked_up


def test_what_is_gone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = SIGNED.encode(Entry(Model("a", 1), 1.0))
    monkeypatch.delattr(sys.modules[Model.__module__], "Model")
    with pytest.raises(CorruptEntryError, match="Model"):
        SIGNED.decode(frame)
