"""Workers do not run what a module was before it was reloaded."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlcache import Pool, ml_cache
from mlcache.errors import OffloadError
from mlcache.offload import editions
from tests.offload import tasks
from tests.offload.helpers import told, until

NAME = "edited_while_workers_run"
SOURCE = """{comment}
import os
from tests.offload.helpers import until
from collections import UserDict
from tests.offload.tasks import tell
from pathlib import Path


def answer():
    return {answer}, os.getpid()


def other():
    return {answer}, os.getpid()


class Asked:
    def __call__(self):
        return other()

    def method(self):
        return other()

    @classmethod
    def of_class(cls):
        return other()


class Heir(UserDict):
    def __missing__(self, key):
        return other()


def inner():
    return lambda: other()


def slow(told, go):
    tell(told)
    until(Path(go).exists)
    return {answer}
"""


class Edited:
    """A module in a file that a test rewrites."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"{NAME}.py"
        self._edits = 0
        self.write(1)
        self.module: Any = importlib.import_module(NAME)

    def write(self, answer: int) -> None:
        """Let its functions give this. The file has another size each time, so that Python reads it again."""
        self._edits += 1
        self._path.write_text(SOURCE.format(comment="#" * self._edits, answer=answer))

    def reload(self, answer: int) -> None:
        """Rewrite it, and have this process run what it is now."""
        self.write(answer)
        importlib.invalidate_caches()
        importlib.reload(self.module)


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Edited]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Edited(tmp_path)
    del sys.modules[NAME]


@pytest.mark.parametrize("start_method", ["forkserver", "spawn"])
def test_a_reloaded_function_is_computed_by_new_workers(edited: Edited, start_method: str) -> None:
    with Pool(1, start_method=start_method) as pool:
        one, first = pool.submit(edited.module.answer).result(20)
        assert pool.submit(edited.module.answer).result(20) == (1, first)
        edited.reload(2)
        two, second = pool.submit(edited.module.answer).result(20)
        assert pool.submit(edited.module.answer).result(20) == (2, second)
        assert (one, two) == (1, 2)
        assert first != second
        assert not pool.health().reasons


CALLED_ONCE: dict[str, Callable[[Any], Callable[[], tuple[int, int]]]] = {
    "function": lambda module: module.other,
    "partial": lambda module: functools.partial(module.other),
    "object": lambda module: module.Asked(),
    "method": lambda module: module.Asked().method,
    "class method": lambda module: module.Asked.of_class,
    "inherited method": lambda module: functools.partial(module.Heir().setdefault, "key"),
    "inner function": lambda module: module.inner(),
}


def test_what_was_never_sent_before_the_reload_is_the_new_one(edited: Edited) -> None:
    with Pool(1) as pool:
        workers = [pool.submit(edited.module.answer).result(20)[1]]
        for edition, (what, find) in enumerate(CALLED_ONCE.items(), 2):
            edited.reload(edition)
            answer, worker = pool.submit(find(edited.module)).result(20)
            assert answer == edition, what
            assert pool.submit(edited.module.answer).result(20) == (edition, worker), what
            workers.append(worker)
        assert len(set(workers)) == len(workers)


def test_a_pool_that_starts_after_a_reload_keeps_its_workers(edited: Edited) -> None:
    with Pool(1) as before:
        before.submit(edited.module.answer).result(20)
        edited.reload(2)
        with Pool(1, start_method="fork").start() as after:
            two, first = after.submit(edited.module.other).result(20)
            assert two == 2
            assert after.submit(edited.module.answer).result(20) == (2, first)


def test_a_module_without_a_spec_is_no_news() -> None:
    before = editions.latest()
    for _ in range(2):
        editions.note_module("no_such_module")
    assert editions.latest() == before


def test_a_worker_that_is_busy_meanwhile_answers_first(edited: Edited, tmp_path: Path) -> None:
    tell, go = tmp_path / "tell", tmp_path / "go"
    with Pool(1) as pool:
        before = pool.submit(edited.module.slow, str(tell), str(go))
        until(lambda: told(tell))
        edited.reload(2)
        after = pool.submit(edited.module.answer)
        go.touch()
        assert before.result(20) == 1
        assert after.result(20)[0] == 2
        metrics = pool.metrics()
        assert (metrics.died, metrics.restarts) == (0, 1)


def test_every_pool_notices(edited: Edited) -> None:
    with Pool(1) as one, Pool(1) as other:
        for pool in (one, other):
            assert pool.submit(edited.module.answer).result(20)[0] == 1
        edited.reload(2)
        for pool in (one, other):
            assert pool.submit(edited.module.answer).result(20)[0] == 2


def test_what_is_cached_is_the_new_answer(edited: Edited) -> None:
    with Pool(1) as pool:
        assert ml_cache(offload=pool)(edited.module.answer)()[0] == 1
        edited.reload(2)
        assert ml_cache(offload=pool)(edited.module.answer)()[0] == 2


def test_a_function_whose_code_is_replaced_is_noticed(edited: Edited) -> None:
    with Pool(1) as pool:
        function = edited.module.answer
        assert pool.submit(function).result(20)[0] == 1
        edited.reload(2)
        function.__code__ = edited.module.answer.__code__
        edited.module.answer = function  # as the reloading of notebooks does it
        assert pool.submit(function).result(20)[0] == 2


def test_forks_of_this_process_cannot_have_the_new_code(edited: Edited) -> None:
    with Pool(1, start_method="fork") as pool:
        assert pool.submit(edited.module.answer).result(20)[0] == 1
        edited.reload(2)
        for argument in ((), (b"x" * 100_000,)):
            with pytest.raises(OffloadError, match="reloaded"):
                pool.submit(edited.module.answer, *argument)
        assert pool.metrics().queued_bytes == 0


def test_no_worker_is_replaced_for_code_that_stays(edited: Edited) -> None:
    with Pool(1) as pool:
        editions_seen, workers = set(), set()
        for _ in range(3):
            assert pool.submit(edited.module.answer).result(20)[0] == 1
            assert pool.submit(len, "x").result(20) == 1
            assert pool.submit(str, "x").result(20) == "x"
            workers.add(pool.submit(tasks.pid).result(20))
            editions_seen.add(editions.latest())
        assert (len(editions_seen), len(workers)) == (1, 1)
