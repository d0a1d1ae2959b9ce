"""A backend of bytes, seen as one of entries."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import numpy as np
import pytest

from mlcache.backends.encoded import Encoded
from mlcache.backends.protocol import Locks
from mlcache.codec import FrameCodec
from mlcache.entry import Entry, Key
from mlcache.errors import BackendError, CannotEncodeError, CorruptEntryError
from mlcache.sealing import SEALS
from mlcache.testing.backends import key

KEY = key(1)


class Plain:
    """The least that a backend of bytes can be."""

    name = "plain"
    holds: ClassVar[Literal["bytes"]] = "bytes"
    blocking = True

    def __init__(self) -> None:
        self.kept: dict[bytes, tuple[bytes, float]] = {}

    def get(self, key: Key) -> bytes | None:
        found = self.kept.get(key.digest)
        return None if found is None else found[0]

    def put(self, key: Key, data: bytes, expires_at: float) -> None:
        self.kept[key.digest] = (data, expires_at)

    def delete(self, key: Key) -> bool:
        return self.kept.pop(key.digest, None) is not None


def test_entries_come_back_with_their_times() -> None:
    inner = Plain()
    store = Encoded(inner, FrameCodec())
    store.put(KEY, Entry({"a": [1, 2]}, 10.0, 20.0, 30.0, 1.5, 100))
    found = store.get(KEY)
    assert found is not None
    assert (found.value, found.created, found.cost) == ({"a": [1, 2]}, 10.0, 1.5)
    assert (found.fresh_until, found.stale_until) == (20.0, 30.0)
    assert inner.kept[KEY.digest][1] == 30.0, "the hint is when it is dead, not when it is stale"
    assert store.get(key(2)) is None
    assert store.delete(KEY) is True


def test_what_is_read_cannot_be_changed() -> None:
    store = Encoded(Plain(), FrameCodec())
    store.put(KEY, Entry(np.arange(5), 0.0))
    found = store.get(KEY)
    assert found is not None
    with pytest.raises(ValueError, match="read-only"):
        found.value[0] = 9
    with pytest.raises(ValueError, match="WRITEABLE"):
        found.value.flags.writeable = True


def test_what_is_read_is_sealed_as_was_asked_for() -> None:
    store = Encoded(Plain(), FrameCodec(), SEALS["copy"])
    store.put(KEY, Entry([np.arange(5)], 0.0))
    found = store.get(KEY)
    assert found is not None
    assert found.renew is not None
    mine = found.renew(found.value)
    mine[0][0] = 9
    assert found.renew(found.value)[0][0] == 0


def test_what_cannot_be_written_is_an_error_and_leaves_what_was() -> None:
    inner = Plain()
    store = Encoded(inner, FrameCodec())
    store.put(KEY, Entry("old", 0.0))
    with pytest.raises(CannotEncodeError):
        store.put(KEY, Entry(lambda: None, 0.0))
    found = store.get(KEY)
    assert found is not None
    assert found.value == "old"


def test_what_is_no_frame_is_an_error() -> None:
    inner = Plain()
    inner.put(KEY, b"garbage", math.inf)
    with pytest.raises(CorruptEntryError):
        Encoded(inner, FrameCodec()).get(KEY)


def test_it_can_do_no_more_than_what_is_within() -> None:
    store = Encoded(Plain(), FrameCodec())
    assert (store.name, store.blocking) == ("plain", True)
    assert not isinstance(store, Locks)
    assert list(store.keys(KEY.namespace)) == []
    assert store.count(KEY.namespace) == 0
    assert store.usage().items == 0
    store.close()
    with pytest.raises(BackendError, match="plain cannot forget all"):
        store.clear(KEY.namespace)
