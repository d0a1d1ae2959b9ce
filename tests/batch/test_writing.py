"""What is put, forgotten or refused while the answers of a batch are written."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mlcache import ml_cache
from mlcache.backends.memory import Lru
from mlcache.entry import Entry, Key

PATIENCE = 20


class SlowToWrite(Lru):
    """A store that waits for leave before it writes."""

    blocking = True

    def __init__(self) -> None:
        super().__init__(max_bytes=2**20)
        self.writing, self.may_write = threading.Event(), threading.Event()

    def put(self, key: Key, entry: Entry) -> None:
        self.writing.set()
        assert self.may_write.wait(PATIENCE)
        super().put(key, entry)


class SlowToBegin(SlowToWrite):
    """As above, but only what is written first has to wait."""

    def put(self, key: Key, entry: Entry) -> None:
        if self.writing.is_set():
            Lru.put(self, key, entry)
        else:
            super().put(key, entry)


def doubling(store: Any) -> Any:
    @ml_cache(backend=store, batch="numbers")
    def double(numbers: list[int]) -> list[int]:
        return [number * 2 for number in numbers]

    return double


@pytest.mark.parametrize("suspends", [False, True])
def test_what_is_put_while_a_batch_is_slowly_written_stays(*, suspends: bool) -> None:
    store = SlowToWrite()
    double = doubling(store)
    with ThreadPoolExecutor(2) as threads:
        ask = (lambda: asyncio.run(double.aio([1, 2, 3]))) if suspends else (lambda: double([1, 2, 3]))
        leader = threads.submit(ask)
        assert store.writing.wait(PATIENCE)
        store.writing.clear()
        putting = threads.submit(double.put, [70, 80], [1, 2])
        assert store.writing.wait(PATIENCE)
        store.may_write.set()
        assert leader.result(PATIENCE) == [2, 4, 6]
        putting.result(PATIENCE)
    assert double.peek([1, 2, 3]).value == [70, 80, 6]


def test_what_was_put_is_there_again_if_a_batch_is_written_over_it() -> None:
    store = SlowToBegin()
    double = doubling(store)
    with ThreadPoolExecutor(1) as threads:
        leader = threads.submit(double.call_with_info, [1, 2, 3])
        assert store.writing.wait(PATIENCE)
        double.put([70, 80], [1, 2])
        store.may_write.set()
        assert leader.result(PATIENCE).value == [2, 4, 6]
    assert double.peek([1, 2, 3]).value == [70, 80, 6]


def test_what_is_forgotten_while_a_batch_is_written_is_not_kept() -> None:
    store = SlowToBegin()
    double = doubling(store)
    with ThreadPoolExecutor(1) as threads:
        leader = threads.submit(double.call_with_info, [1, 2, 3])
        assert store.writing.wait(PATIENCE)
        double.invalidate([1, 2])
        store.may_write.set()
        assert (leader.result(PATIENCE).value, leader.result().kept) == ([2, 4, 6], False)
    assert [double.peek([number]) is None for number in (1, 2, 3)] == [True, True, False]


class Picky(Lru):
    """A store that takes nothing under some keys."""

    blocking = True

    def __init__(self) -> None:
        super().__init__(max_bytes=2**20)
        self.refused: list[Key] = []

    def put(self, key: Key, entry: Entry) -> None:
        if key in self.refused:
            raise OSError("full")
        super().put(key, entry)


@pytest.mark.filterwarnings("ignore:.*full")
def test_a_batch_tells_that_no_tier_took_an_answer() -> None:
    store = Picky()
    double = doubling(store)
    assert double.call_with_info([1, 2]).kept is True
    store.refused = double.cache_key([3])
    assert double.call_with_info([1, 3, 4]).kept is False
    assert double.call_with_info([1, 4]).kept is True
    assert double.peek([3]) is None
