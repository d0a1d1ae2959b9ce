"""What a backend must pass that takes many keys at once: for each it does what it does for one alone."""

# These are tests: pytest asserts, their names say what they are about, and what they expect are literals.
# ruff: noqa: S101, D102, PLR2004

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from mlcache.backends.protocol_many import DeletesMany, LocksMany, Many, SupersedesMany
from mlcache.entry import Key
from mlcache.errors import CorruptEntryError
from mlcache.testing.samples import arguments, content, in_threads, key, payload, read, write


class ManyConformance:
    """Tests of the small protocols that are about many keys; skipped for a backend that has none of them."""

    most: ClassVar[int] = 10_000
    """Keys in one call."""

    def _make(self, folder: Path) -> Any:
        raise NotImplementedError

    def _only_if(self, condition: object, why_not: str) -> None:
        raise NotImplementedError

    def _make_many(self, folder: Path) -> Any:
        backend = self._make(folder)
        self._only_if(isinstance(backend, Many), "it takes one key at a time")
        return backend

    def test_many_are_found_in_the_order_of_their_keys(self, tmp_path: Path) -> None:
        backend = self._make_many(tmp_path)
        for number in range(0, 40, 2):
            write(backend, key(number), payload(number))
        order = [17, 4, 4, 38, 3, 0, 4, 100]
        assert read_many(backend, [key(number) for number in order]) == [
            payload(number) if number in range(0, 40, 2) else None for number in order
        ]

    def test_many_are_kept_as_each_would_be(self, tmp_path: Path) -> None:
        backend = self._make_many(tmp_path)
        write(backend, key(3), b"old")
        items = {key(number): payload(number) for number in range(30)}
        assert write_many(backend, items.items()) == [None] * 30
        assert {at: read(backend, at) for at in items} == items

    def test_of_one_key_kept_twice_the_last_stays(self, tmp_path: Path) -> None:
        backend = self._make_many(tmp_path)
        items = [(key(1), b"first"), (key(2), b"other"), (key(1), payload(1)), (key(1), b"last")]
        assert write_many(backend, items) == [None] * 4
        assert read_many(backend, [key(1), key(2)]) == [b"last", b"other"]

    def test_of_no_key_nothing_is_asked(self, tmp_path: Path) -> None:
        backend = self._make_many(tmp_path)
        assert list(backend.get_many([])) == []
        assert list(backend.put_many([])) == []
        if isinstance(backend, DeletesMany):
            assert list(backend.delete_many([])) == []

    def test_many_of_all_sizes_come_back_whole(self, tmp_path: Path) -> None:
        backend = self._make_many(tmp_path)
        sizes = (70_000, 0, 300_000, 1, 64, 40_000, 70_001)
        items = [(key(number), bytes([number]) * size) for number, size in enumerate(sizes)]
        assert write_many(backend, items) == [None] * len(sizes)
        assert write_many(backend, items[::-1]) == [None] * len(sizes)
        assert read_many(backend, [at for at, _ in items]) == [data for _, data in items]

    def test_many_of_several_namespaces_are_apart(self, tmp_path: Path) -> None:
        backend = self._make_many(tmp_path)
        items = [(key(1, f"app.f@{version}"), payload(version)) for version in range(4)]
        write_many(backend, items[:3])
        assert read_many(backend, [at for at, _ in items]) == [*(data for _, data in items[:3]), None]

    def test_many_expired_ones_are_found_as_they_were_or_not_at_all(self, tmp_path: Path) -> None:
        backend = self._make_many(tmp_path)
        write_many(backend, [(key(0), payload(0)), (key(1), payload(1))], expires_at=0.0)
        write_many(backend, [(key(1), payload(2))])
        found = read_many(backend, [key(0), key(1)])
        assert found[0] in (None, payload(0))
        assert found[1] == payload(2)

    def test_many_are_deleted_as_each_would_be(self, tmp_path: Path) -> None:
        backend = self._make(tmp_path)
        self._only_if(isinstance(backend, DeletesMany), "it deletes one key at a time")
        for number in range(10):
            write(backend, key(number), payload(number, number) * (20 if number == 4 else 1))
        order = [4, 20, 2, 4, 9]
        assert list(backend.delete_many([key(number) for number in order])) == [
            True,
            False,
            True,
            False,
            True,
        ]
        there = [number for number in range(10) if read(backend, key(number)) is not None]
        assert there == [0, 1, 3, 5, 6, 7, 8]

    def test_thousands_at_once(self, tmp_path: Path) -> None:
        backend = self._make_many(tmp_path)
        items = [(key(number), b"%d" % number) for number in range(self.most)]
        keys = [at for at, _ in items]
        assert set(write_many(backend, items)) == {None}
        assert read_many(backend, [*keys, key(self.most)]) == [*(data for _, data in items), None]
        if isinstance(backend, DeletesMany):
            assert all(backend.delete_many(keys[1:]))
            assert read_many(backend, keys) == [b"0", *[None] * (self.most - 1)]

    def test_what_cannot_be_read_spoils_no_other(self, tmp_path: Path) -> None:
        backend, encoded = self._make_encoded(tmp_path)
        write_many(encoded, [(key(number), payload(number)) for number in range(4)])
        backend.put(key(1), b"no frame", math.inf)
        backend.put(key(2), payload(2) * 100, math.inf)
        found = encoded.get_many([key(number) for number in range(5)])
        assert [type(each) for each in found[1:3]] == [CorruptEntryError] * 2
        assert [content(encoded, found[place]) for place in (0, 3, 4)] == [payload(0), payload(3), None]

    def test_what_cannot_be_written_spoils_no_other(self, tmp_path: Path) -> None:
        _, encoded = self._make_encoded(tmp_path)
        unfit: Any = (each for each in "no frame for this")
        items = [(key(0), payload(0)), (key(1), unfit), (key(2), payload(2))]
        told = write_many(encoded, items)
        assert [told[0], told[2]] == [None, None]
        assert isinstance(told[1], Exception)
        assert read_many(encoded, [at for at, _ in items]) == [payload(0), None, payload(2)]

    def test_many_threads_find_many_whole(self, tmp_path: Path) -> None:
        backend = self._make_many(tmp_path)
        keys = [key(number) for number in range(8)]

        def work(worker: int) -> None:
            for _ in range(4):
                assert set(write_many(backend, [(at, payload(worker)) for at in keys])) == {None}
                found = read_many(backend, keys[::-1])
                assert set(found) <= {payload(other) for other in range(8)}

        in_threads(work)

    def test_many_locks_are_taken_as_each_would_be(self, tmp_path: Path) -> None:
        backend = self._make(tmp_path)
        self._only_if(isinstance(backend, LocksMany), "it takes one lock at a time")
        taken = backend.lock(key(3))
        assert taken.acquire()
        mine, others = ([backend.lock(key(number)) for number in range(6)] for _ in range(2))
        expected = [True, True, True, False, True, True]
        assert [bool(each) for each in backend.acquire_many(mine)] == expected
        assert not any(backend.acquire_many(others))
        assert not any(backend.release_many(others))
        assert not backend.lock(key(0)).acquire()
        assert not any(backend.release_many(mine))
        assert [bool(each) for each in backend.acquire_many(others)] == expected
        backend.release_many([*others, taken])
        assert list(backend.acquire_many([])) == list(backend.release_many([])) == []

    def test_who_holds_many_locks_is_told_what_was_superseded(self, tmp_path: Path) -> None:
        backend = self._make(tmp_path)
        self._only_if(isinstance(backend, SupersedesMany), "it supersedes one key at a time")
        locks = [backend.lock(key(number)) for number in range(4)]
        assert all(lock.acquire() for lock in locks)
        assert list(backend.supersede_many([key(1), key(3), key(9)])) == [None] * 3
        assert list(backend.supersede_many([])) == []
        assert [bool(lock.release()) for lock in locks] == [False, True, False, True]

    def _make_encoded(self, folder: Path) -> tuple[Any, Any]:
        """A backend of bytes, and the same with entries in frames."""
        from mlcache.backends.encoded import Encoded
        from mlcache.codec import FrameCodec

        backend = self._make_many(folder)
        if isinstance(backend, Encoded):
            return backend.inner, backend
        self._only_if(backend.holds == "bytes", "it holds entries, of which all can be kept")
        return backend, Encoded(backend, FrameCodec())


def write_many(backend: Any, items: Any, expires_at: float = math.inf) -> list[Exception | None]:
    """Keep data under keys, in one call."""
    return list(backend.put_many([(at, *arguments(backend, data, expires_at)) for at, data in items]))


def read_many(backend: Any, keys: Sequence[Key]) -> list[bytes | None]:
    """What is kept under keys, out of its entries."""
    return [content(backend, found) for found in backend.get_many(keys)]
