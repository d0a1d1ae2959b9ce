"""What every backend must pass, as a class of tests for pytest to inherit from."""

# These are tests: pytest asserts, their names say what they are about, and what they expect are literals.
# ruff: noqa: S101, D102, PLR2004

from __future__ import annotations

import math
from pathlib import Path
from threading import Barrier
from typing import Any, ClassVar

from mlcache import clock
from mlcache.backends.protocol import AnyBackend, Clears, Closes, Lists, Measures
from mlcache.entry import Entry
from mlcache.testing.many import ManyConformance
from mlcache.testing.samples import THREADS, in_threads, key, payload, read, write

__all__ = ["BackendConformance", "in_threads", "key", "payload", "read", "write"]

ROUNDS = 25


class BackendConformance(ManyConformance):
    """Tests of a backend of entries or of bytes.

    Inherit from it in a test module, and say how a backend is made::

        class TestMine(BackendConformance):
            def make_backend(self, folder: Path) -> AnyBackend:
                return Mine(folder)

    A backend must have room for a few hundred entries of some kilobytes. What it cannot do of the
    small protocols, such as ``Clears``, is skipped.
    """

    persistent: ClassVar[bool] = False
    """Whether a backend made anew with the same folder has what the one before it had kept."""

    _made: list[AnyBackend]

    def make_backend(self, folder: Path) -> AnyBackend:
        """An empty backend.

        Args:
            folder: an empty folder, for this test alone, to keep things in.
        """
        raise NotImplementedError(f"{type(self).__name__} must say in make_backend how a backend is made")

    def setup_method(self) -> None:
        self._made = []

    def teardown_method(self) -> None:
        for backend in self._made:
            if isinstance(backend, Closes):
                backend.close()

    def test_nothing_is_found_that_was_never_kept(self, tmp_path: Path) -> None:
        backend = self._make(tmp_path)
        assert read(backend, key(1)) is None
        assert backend.delete(key(1)) is False

    def test_what_was_kept_is_found(self, tmp_path: Path) -> None:
        backend = self._make(tmp_path)
        expected = {key(number): payload(number) for number in range(20)}
        for at, data in expected.items():
            write(backend, at, data)
        assert {at: read(backend, at) for at in expected} == expected

    def test_values_of_all_sizes_come_back_whole(self, tmp_path: Path) -> None:
        backend = self._make(tmp_path)
        for number, size in enumerate((0, 1, 63, 64, 4096, 70_000)):
            write(backend, key(number), bytes(range(256)) * (size // 256) + bytes(size % 256))
        found = [read(backend, key(number)) for number in range(6)]
        assert [len(data or b"") for data in found] == [0, 1, 63, 64, 4096, 70_000]
        assert None not in found

    def test_an_entry_keeps_its_times_and_its_cost(self, tmp_path: Path) -> None:
        backend = self._make(tmp_path)
        self._only_if(backend.holds == "entries", "it holds bytes, in which the times are")
        now = clock.now()
        backend.put(key(1), Entry("value", now - 5, now + 60, now + 90, 1.25, 100))
        entry = backend.get(key(1))
        assert entry is not None
        kept = (entry.value, entry.created, entry.fresh_until, entry.stale_until, entry.cost)
        assert kept == ("value", now - 5, now + 60, now + 90, 1.25)

    def test_what_is_kept_last_replaces_what_was_there(self, tmp_path: Path) -> None:
        backend = self._make(tmp_path)
        for size in (10, 5000, 20):
            write(backend, key(1), payload(size, size))
            assert read(backend, key(1)) == payload(size, size)
        if isinstance(backend, Measures):
            assert backend.count("app.f@1") == 1

    def test_what_was_deleted_is_gone_and_the_rest_stays(self, tmp_path: Path) -> None:
        backend = self._make(tmp_path)
        write(backend, key(1), payload(1))
        write(backend, key(2), payload(2))
        assert backend.delete(key(1)) is True
        assert backend.delete(key(1)) is False
        assert read(backend, key(1)) is None
        assert read(backend, key(2)) == payload(2)

    def test_what_was_deleted_can_be_kept_again(self, tmp_path: Path) -> None:
        backend = self._make(tmp_path)
        write(backend, key(1), payload(1))
        backend.delete(key(1))
        write(backend, key(1), payload(2))
        assert read(backend, key(1)) == payload(2)

    def test_expired_entries_are_found_as_they_were_or_not_at_all(self, tmp_path: Path) -> None:
        backend = self._make(tmp_path)
        for number, seconds in enumerate((-60.0, 0.0, 1e-9, 3600.0, math.inf)):
            write(backend, key(number), payload(number), clock.now() + seconds)
        assert all(read(backend, key(number)) in (None, payload(number)) for number in range(5))
        assert [read(backend, key(number)) for number in (3, 4)] == [payload(3), payload(4)]

    def test_a_later_deadline_replaces_an_earlier_one(self, tmp_path: Path) -> None:
        backend = self._make(tmp_path)
        write(backend, key(1), payload(1), clock.now() - 60)
        write(backend, key(1), payload(1), clock.now() + 3600)
        assert read(backend, key(1)) == payload(1)

    def test_namespaces_are_apart(self, tmp_path: Path) -> None:
        backend = self._make(tmp_path)
        write(backend, key(1, "app.f@1"), payload(1))
        write(backend, key(1, "app.f@2"), payload(2))
        assert read(backend, key(1, "app.f@1")) == payload(1)
        assert read(backend, key(1, "app.f@2")) == payload(2)
        assert backend.delete(key(1, "app.f@1")) is True
        assert read(backend, key(1, "app.f@2")) == payload(2)

    def test_clearing_forgets_one_namespace_and_says_how_many(self, tmp_path: Path) -> None:
        backend = self._make(tmp_path)
        self._only_if(isinstance(backend, Clears), "it cannot clear")
        self._fill(backend)
        assert backend.clear("app.f@1") == 150
        assert backend.clear("app.f@1") == 0
        assert backend.clear("app.nobody@1") == 0
        assert read(backend, key(0, "app.f@1")) is None
        assert read(backend, key(0, "app.f@2")) == payload(0)

    def test_listing_gives_the_keys_of_one_namespace(self, tmp_path: Path) -> None:
        backend = self._make(tmp_path)
        self._only_if(isinstance(backend, Lists), "it cannot list")
        self._fill(backend)
        backend.delete(key(7, "app.f@1"))
        listed = list(backend.keys("app.f@1"))
        assert len(listed) == 149
        assert set(listed) == {key(number, "app.f@1") for number in range(150) if number != 7}
        assert list(backend.keys("app.nobody@1")) == []

    def test_listing_may_go_on_while_others_write(self, tmp_path: Path) -> None:
        backend = self._make(tmp_path)
        self._only_if(isinstance(backend, Lists), "it cannot list")
        self._fill(backend)
        for listed in backend.keys("app.f@1"):
            backend.delete(listed)
        assert list(backend.keys("app.f@1")) == []

    def test_it_knows_how_full_it_is(self, tmp_path: Path) -> None:
        backend = self._make(tmp_path)
        self._only_if(isinstance(backend, Measures), "it cannot measure")
        before = backend.usage()
        self._fill(backend)
        after = backend.usage()
        assert (backend.count("app.f@1"), backend.count("app.f@2")) == (150, 5)
        assert backend.count("app.nobody@1") == 0
        assert (before.items, after.items) == (0, 155)
        assert after.bytes > before.bytes
        assert after.max_bytes is None or after.bytes <= after.max_bytes

    def test_bytes_are_no_memory_that_others_can_change(self, tmp_path: Path) -> None:
        backend = self._make(tmp_path)
        self._only_if(backend.holds == "bytes", "it holds entries, which are sealed before they come here")
        backend.put(key(1), payload(1), math.inf)
        found = backend.get(key(1))
        assert found is not None
        assert memoryview(found).readonly
        backend.put(key(1), payload(2), math.inf)
        backend.delete(key(1))
        assert bytes(found) == payload(1)

    def test_many_threads_find_only_whole_values_of_their_key(self, tmp_path: Path) -> None:
        backend = self._make(tmp_path)
        together = Barrier(THREADS)

        def work(worker: int) -> None:
            together.wait()
            for turn in range(ROUNDS):
                at = (worker + turn) % 4
                write(backend, key(at), payload(at, turn))
                found = read(backend, key(at))
                assert found is None or found in {payload(at, other) for other in range(ROUNDS)}
                if turn % 5 == 0:
                    backend.delete(key(at))

        in_threads(work)

    def test_many_threads_lose_nothing_of_each_other(self, tmp_path: Path) -> None:
        backend = self._make(tmp_path)

        def work(worker: int) -> None:
            for turn in range(ROUNDS):
                write(backend, key(worker * ROUNDS + turn), payload(worker, turn))

        in_threads(work)
        kept = [read(backend, key(number)) for number in range(THREADS * ROUNDS)]
        assert kept == [payload(worker, turn) for worker in range(THREADS) for turn in range(ROUNDS)]

    def test_it_can_be_closed_twice(self, tmp_path: Path) -> None:
        backend = self._make(tmp_path)
        self._only_if(isinstance(backend, Closes), "it holds on to nothing")
        write(backend, key(1), payload(1))
        backend.close()
        backend.close()

    def test_closing_an_unused_one_is_no_error(self, tmp_path: Path) -> None:
        backend = self._make(tmp_path)
        self._only_if(isinstance(backend, Closes), "it holds on to nothing")
        backend.close()

    def test_what_is_kept_outlasts_it(self, tmp_path: Path) -> None:
        self._only_if(self.persistent, "it does not promise to")
        first = self._make(tmp_path)
        write(first, key(1), payload(1))
        if isinstance(first, Closes):
            first.close()
        assert read(self._make(tmp_path), key(1)) == payload(1)

    def test_it_says_what_it_is(self, tmp_path: Path) -> None:
        backend = self._make(tmp_path)
        assert backend.name
        assert backend.holds in ("entries", "bytes")
        assert isinstance(backend.blocking, bool)
        assert backend.name in repr(backend)

    def _make(self, folder: Path) -> Any:
        backend = self.make_backend(folder)
        self._made.append(backend)
        return backend

    def _fill(self, backend: Any) -> None:
        for number in range(150):
            write(backend, key(number, "app.f@1"), payload(number))
        for number in range(5):
            write(backend, key(number, "app.f@2"), payload(number))

    def _only_if(self, condition: object, why_not: str) -> None:
        import pytest

        if not condition:
            pytest.skip(why_not)
