"""Workers do not run what a module was before it was reloaded."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
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
from tests.offload.tasks import tell
from pathlib import Path


def answer():
    return {answer}, os.getpid()


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
