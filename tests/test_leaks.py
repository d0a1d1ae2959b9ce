"""What is told of leaks: what a test left, and not what its neighbours have."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import leaks


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
