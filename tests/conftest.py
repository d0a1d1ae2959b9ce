"""For every test: folders of its own, no settings of the user, and nothing left behind."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.leaks import Belongings

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.load_profile("default")


@pytest.fixture(autouse=True)
def _environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of the test's own for caches, keys and temporary files."""
    home = tmp_path_factory.mktemp("home")
    for variable in [name for name in os.environ if name.startswith("MLCACHE_")]:
        monkeypatch.delenv(variable)
    for variable, name in {"XDG_CACHE_HOME": "cache", "XDG_DATA_HOME": "data", "TMPDIR": "tmp"}.items():
        (home / name).mkdir(mode=0o700)
        monkeypatch.setenv(variable, str(home / name))
    monkeypatch.setattr(tempfile, "tempdir", str(home / "tmp"))
    return home


@pytest.fixture(autouse=True)
def _no_leaks(_environment: Path) -> Iterator[None]:
    """Fails a test that leaves threads, open files, processes, temporary files or shared memory behind."""
    before = Belongings()
    yield
    leaked = before.leaked()
    assert not leaked, f"left behind: {leaked}"
