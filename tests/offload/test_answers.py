"""Whatever those who wait for an answer do with it, the others get theirs."""

from __future__ import annotations

import logging
import os
import sys
import threading
from concurrent.futures import InvalidStateError

import numpy as np
import pytest

from mlcache import Pool
from mlcache.offload.arena import Segment
from tests.offload import tasks
from tests.offload.helpers import until


def test_a_callback_that_ends_its_thread_does_not_end_the_pool(caplog: pytest.LogCaptureFixture) -> None:
    with Pool(1) as pool:
        pool.submit(tasks.pid).result(20)
        future = pool.submit(tasks.tell_slowly, 0.2)
        future.add_done_callback(lambda _: sys.exit(3))
        assert future.result(20) is None
        assert pool.submit(tasks.echo, 1).result(20) == 1
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_future_that_somebody_else_has_answered_does_not_end_the_pool() -> None:
    with Pool(1) as pool:
        pool.submit(tasks.pid).result(20)
        future = pool.submit(tasks.tell_slowly, 0.2)
        until(future.running)
        future.set_result(7)
        assert pool.submit(tasks.echo, 1).result(20) == 1
        assert future.result(0) == 7
        with pytest.raises(InvalidStateError):
            future.set_result(8)


def test_a_worker_that_had_no_descriptor_for_its_arguments_is_asked_again() -> None:
    with Pool(1) as pool:
        worker = pool.submit(tasks.use_up_descriptors).result(20)
        array = np.arange(10_000)
        error = pool.submit(tasks.echo, array).exception(20)
        assert isinstance(error, OSError)
        assert "no descriptor left" in str(error)
        error = pool.submit(tasks.zeros, 1).exception(20)
        assert isinstance(error, OSError)
        assert "no descriptor left" in str(error)
        assert pool.submit(tasks.give_descriptors_back).result(20)
        assert (pool.submit(tasks.echo, array).result(20) == array).all()
        assert pool.submit(tasks.pid).result(20) == worker


def test_a_result_that_there_was_no_memory_for_costs_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_large(length: int, **options: bool) -> object:
        if length > 4 << 20:
            raise OSError(24, os.strerror(24))
        return Segment(length, **options)

    monkeypatch.setattr("mlcache.offload.member.Segment", refuse_large)
    with Pool(1) as pool:
        worker = pool.submit(tasks.pid).result(20)
        assert pool.submit(tasks.zeros, 1).result(20).nbytes == 1 << 20
        error = pool.submit(tasks.zeros, 8).exception(20)
        assert isinstance(error, OSError)
        assert pool.submit(tasks.zeros, 1).result(20).nbytes == 1 << 20
        assert pool.submit(tasks.pid).result(20) == worker


def test_a_fork_reads_results_that_were_there_even_if_a_thread_held_them() -> None:
    with Pool(1) as pool:
        future = pool.submit(tasks.echo, 5)
        assert future.result(20) == 5
        future._condition.acquire()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                other = threading.Thread(target=future.result, args=(5,), daemon=True)
                other.start()
                other.join(5)
                code = 0 if not other.is_alive() else 2
            finally:
                os._exit(code)
        future._condition.release()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
