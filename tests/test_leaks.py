"""What is told of leaks: what a test left, and not what its neighbours have."""

from __future__ import annotations

import os
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import pytest

from tests import leaks

resource_tracker.ensure_running()  # Python starts it once, and keeps it


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc, to know who lives")
@pytest.mark.parametrize(("maker", "left"), [(os.getppid, False), (os.getpid, True), (lambda: 2**30, True)])
def test_a_folder_of_joblib_is_of_the_process_in_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, maker: object, *, left: bool
) -> None:
    monkeypatch.setattr(leaks, "SHARED_MEMORY", tmp_path)
    before = leaks.Belongings()
    assert callable(maker)
    folder = tmp_path / f"joblib_memmapping_folder_{maker()}_cdf1_765c"
    folder.mkdir()
    found = before.leaked()
    folder.rmdir()
    assert found == ({"shared memory": [str(folder)]} if left else {})


def test_shared_memory_that_another_process_named_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaks, "SHARED_MEMORY", tmp_path)
    before = leaks.Belongings()
    (tmp_path / "psm_1e14c0de").touch()
    assert before.leaked() == {}


@pytest.mark.skipif(not leaks.SHARED_MEMORY.is_dir(), reason="needs a folder that shows shared memory")
def test_shared_memory_that_is_left_is_told() -> None:
    before = leaks.Belongings()
    memory = SharedMemory(create=True, size=16)
    told = before.leaked()
    memory.close()
    memory.unlink()
    assert told["shared memory"] == [str(leaks.SHARED_MEMORY / memory.name.lstrip("/"))]
