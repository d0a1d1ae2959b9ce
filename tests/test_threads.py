"""Threads for event loops."""

from __future__ import annotations

import threading
from concurrent import futures
from typing import Any

import pytest

from mlcache import threads


def test_all_who_come_first_share_one_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    threads.close()
    made: list[Any] = []
    both = threading.Barrier(2)

    class Slow(futures.ThreadPoolExecutor):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.append(self)
            try:
                both.wait(0.2)  # where two are made at once, they meet here
            except threading.BrokenBarrierError:
                both.reset()

    monkeypatch.setattr(futures, "ThreadPoolExecutor", Slow)
    got: list[Any] = []
    askers = [threading.Thread(target=lambda: got.append(threads.pool("store"))) for _ in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert got == made * 4
    threads.close()
