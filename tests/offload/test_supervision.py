"""What the pool makes of workers that die, are worn out, or have something to say."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mlcache import Pool
from mlcache.errors import CallTimeoutError, WorkerDied
from mlcache.offload.backoff import FIRST, LONGEST_READY, TRIES, Backoff
from mlcache.offload.engine import CallOptions
from tests.offload import tasks
from tests.offload.helpers import until

RETRY = CallOptions(retry=True)


@pytest.fixture
def no_children_are_heard_of() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.mark.usefixtures("no_children_are_heard_of")
@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_a_death_is_noticed_where_the_program_hears_of_none(method: str) -> None:
    with Pool(1, start_method=method) as pool:
        with pytest.raises(WorkerDied, match="status 7"):
            pool.submit(tasks.exit_hard).result(20)
        assert pool.submit(tasks.echo, 1).result(20) == 1


def test_an_answer_that_lies_there_is_not_late(tmp_path: Path) -> None:
    """However long the pool's thread was busy: with a slow handler of log records, for one."""

    class Slow(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002 - the signature of logging
            until(lambda: len(written.read_bytes()) == 8)
            threading.Event().wait(0.5)  # longer than either call may take

    written = tmp_path / "written"
    written.touch()
    handler = Slow()
    logging.getLogger("tests.slow").addHandler(handler)
    try:
        with Pool(2, timeout=0.4) as pool:
            until(lambda: pool.start().health().ready and not pool.health().degraded)
            talks = pool.submit(tasks.warn, "tests.slow", "something")
            writes = pool.submit(tasks.write_down, str(written), 1, "done")
            assert writes.result(20) == "done"
            assert talks.result(20) == "something"
            assert pool.metrics().timed_out == 0
    finally:
        logging.getLogger("tests.slow").removeHandler(handler)


def test_an_answered_call_is_let_go_of_before_its_deadline() -> None:
    with Pool(1) as pool:
        patient = pool.with_options(CallOptions(deadline=3600))
        futures = [patient.submit(tasks.echo, np.full(1000, number)) for number in range(40)]
        assert [int(future.result(20)[0]) for future in futures] == [*range(40)]
        gone = [weakref.ref(future) for future in futures]
        del futures
        pool.submit(tasks.echo, None).result(20)  # so that the pool's thread has let go of the last one
        gc.collect()
        assert [each for each in gone if each() is not None] == []


def test_arguments_that_a_worker_keeps_count_as_its_memory() -> None:
    with Pool(1, max_memory="64MiB") as pool:
        for _ in range(20):
            pool.submit(tasks.keep, np.ones(1 << 20)).result(20)
        assert pool.metrics().restarts >= 1
        assert pool.metrics().shared_memory < 150 << 20


def test_a_call_that_is_tried_again_does_not_go_to_a_worker_that_dies_as_well(tmp_path: Path) -> None:
    with Pool(2) as pool:
        until(lambda: pool.start().health().ready and not pool.health().degraded)
        path = tmp_path / "begun"
        again = pool.with_options(RETRY).submit(tasks.tell_and_wait_for, str(path), str(tmp_path / "go"))
        until(path.exists)
        worker = pool.metrics().workers[0].pid
        parent = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(parent, signal.SIGKILL)  # the process that all workers come from
        (tmp_path / "go").touch()
        assert again.result(20) == "went"


def test_a_call_is_tried_again_while_the_pool_closes(tmp_path: Path) -> None:
    with Pool(1) as pool:
        again = pool.with_options(RETRY).submit(tasks.tell_once_and_die, str(tmp_path / "told"))
    assert isinstance(again.result(0), int)


def test_a_call_goes_to_the_next_worker_where_the_first_one_is_dead() -> None:
    with Pool(2) as pool:
        until(lambda: pool.start().health().ready and not pool.health().degraded)
        supervisor = pool._supervisor
        assert supervisor is not None
        desk = supervisor.desk
        with desk.lock:
            desk.idle[-1].line._socket.shutdown(socket.SHUT_RDWR)  # as it is after a death nobody heard of
            future = pool.submit(tasks.echo, 1)
            assert not desk.idle
            assert not len(desk.queue)
        assert future.result(20) == 1


def test_workers_that_start_well_are_replaced_within_a_second() -> None:
    backoff = Backoff()
    for _ in range(20):
        backoff.died()
    assert backoff.delay() <= LONGEST_READY
    for _ in range(TRIES):
        backoff.failed_to_start(OSError())
    assert backoff.delay() > LONGEST_READY
    backoff.started()
    backoff.succeeded()
    assert backoff.delay() == 0
    backoff.died()
    backoff.died()
    assert 0 < backoff.delay() <= FIRST


def test_every_death_counts_before_the_next_worker_is_started() -> None:
    with Pool(1) as pool:
        for _ in range(4):
            with pytest.raises(WorkerDied):
                pool.submit(tasks.exit_hard).result(20)
        supervisor = pool._supervisor
        assert supervisor is not None
        assert supervisor.desk.backoff.deaths == 4
        assert pool.submit(tasks.echo, 1).result(20) == 1
        assert supervisor.staff.starts == [5]


def test_workers_that_began_together_do_not_end_together() -> None:
    with Pool(2, max_calls=10) as pool:
        until(lambda: pool.start().health().ready and not pool.health().degraded)
        supervisor = pool._supervisor
        assert supervisor is not None
        shares = sorted(member.share for member in supervisor.desk.members.values())
        assert shares == [0.5, 1.0]
        for _ in range(30):
            pool.submit(tasks.echo, 1).result(20)
        until(lambda: not pool.health().degraded)
        assert {member.share for member in supervisor.desk.members.values()} <= {0.5, 1.0}
        assert pool.metrics().restarts >= 2


@pytest.mark.parametrize("then", [tasks.exit_hard, tasks.hang])
def test_what_is_logged_before_a_crash_comes_home(then: object, caplog: pytest.LogCaptureFixture) -> None:
    with Pool(1, timeout=5) as pool, caplog.at_level(logging.INFO):
        future = pool.submit(tasks.log_and, "tests.last", then)
        until(lambda: "about to fail" in caplog.text)
        assert "leading up to it" in caplog.text
        if then is tasks.hang:
            pool.close(0)
            assert future.exception(20) is not None
        else:
            with pytest.raises(WorkerDied):
                future.result(20)


def test_many_warnings_of_one_call_all_come_home_once(caplog: pytest.LogCaptureFixture) -> None:
    with Pool(1) as pool:
        pool.submit(tasks.warn_often, "tests.often", 300).result(20)
        assert [record.getMessage() for record in caplog.records] == [str(number) for number in range(300)]


PRINTS = """
import os, sys
from mlcache import Pool
from mlcache.errors import WorkerDied

def say(what):
    print(what)

def die(what):
    print(what, flush=True)
    os._exit(1)

if __name__ == "__main__":
    print("parent")
    with Pool(1, start_method=sys.argv[1]) as pool:
        pool.submit(say, "worker").result()
        try:
            pool.submit(die, "dying").result()
        except WorkerDied:
            pass
"""


@pytest.mark.parametrize("method", ["forkserver", "fork"])
def test_what_is_printed_comes_out_once_though_the_worker_dies(method: str, tmp_path: Path) -> None:
    script = tmp_path / "prints.py"
    script.write_text(PRINTS)
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    environ["PYTHONPATH"] = str(Path.cwd())
    shown = subprocess.run(
        [sys.executable, str(script), method],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert sorted(shown.stdout.split()) == ["dying", "parent", "worker"]


GROUP = """
import os, signal, sys
from pathlib import Path
from mlcache import Pool
from tests.offload import tasks

if __name__ == "__main__":
    os.setpgrp()
    signal.signal(signal.SIGTERM, lambda *_: None)
    begun, go = Path(sys.argv[1]), Path(sys.argv[2])
    with Pool(1) as pool:
        future = pool.submit(tasks.tell_and_wait_for, str(begun), str(go))
        while not begun.exists():
            pass
        os.killpg(0, signal.SIGTERM)
        go.touch()
        print(future.result(20), pool.submit(tasks.terminate_a_child).result(20))
"""


def test_a_service_that_is_told_to_end_can_finish_what_it_took(tmp_path: Path) -> None:
    script = tmp_path / "group.py"
    script.write_text(GROUP)
    command = [sys.executable, str(script), str(tmp_path / "begun"), str(tmp_path / "go")]
    environ = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    shown = subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.split() == ["went", str(-signal.SIGTERM)]


@pytest.mark.parametrize("method", ["forkserver", "fork"])
def test_workers_draw_different_numbers(method: str) -> None:
    np.random.seed(0)  # noqa: NPY002 - the generator that forks share
    with Pool(2, start_method=method, max_calls=1) as pool:
        drawn = {pool.submit(tasks.draw).result(20) for _ in range(4)}
    assert len(drawn) == 4


def test_what_the_environment_says_of_threads_holds_unless_the_pool_says_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with Pool(1) as pool:
        assert pool.submit(os.getenv, "OMP_NUM_THREADS").result(20) == "7"
    with Pool(1, threads=3) as pool:
        assert pool.submit(os.getenv, "OMP_NUM_THREADS").result(20) == "3"


def test_a_call_that_hangs_is_still_ended() -> None:
    with Pool(1, timeout=0.3) as pool, pytest.raises(CallTimeoutError):
        pool.submit(tasks.hang).result(20)
