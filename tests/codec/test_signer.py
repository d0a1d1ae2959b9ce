from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlcache.codec import Signer
from mlcache.errors import ConfigurationError
from tests.faults.children import run

needs_modes = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no modes here")


def test_a_signature_is_of_these_parts_and_this_key() -> None:
    signer = Signer(b"k" * 16)
    signature = signer.sign([b"ab", b"c"])
    assert len(signature) == 32
    assert signer.verify(signature, [b"ab", memoryview(b"c")])
    assert not signer.verify(signature, [b"ab", b"d"])
    assert not signer.verify(signature[:-1], [b"ab", b"c"])
    assert not Signer(b"k" * 17).verify(signature, [b"ab", b"c"])


@pytest.mark.parametrize("length", [0, 1, 15])
def test_a_short_key_is_refused(length: int) -> None:
    with pytest.raises(ConfigurationError, match="at least 16"):
        Signer(b"k" * length)


def test_a_long_secret_counts_to_its_end() -> None:
    first, second = Signer(b"k" * 500), Signer(b"k" * 499 + b"l")
    assert first.sign([b"a"]) != second.sign([b"a"])


def test_a_key_file_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "key"
    first = Signer.from_file(path)
    key = path.read_bytes()
    assert first.sign([b"a"]) == Signer.from_file(str(path)).sign([b"a"]) == Signer(key).sign([b"a"])
    assert len(key) == 32
    assert [each.name for each in path.parent.iterdir()] == ["key"]
    if hasattr(os, "geteuid"):
        assert path.stat().st_mode & 0o777 == 0o600


@needs_modes
@pytest.mark.parametrize("umask", [0, 0o777])
def test_the_mode_does_not_hang_on_the_umask(tmp_path: Path, umask: int) -> None:
    code = (
        f"import os, sys; from mlcache.codec import Signer; os.umask({umask}); Signer.from_file(sys.argv[1])"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "key"], check=False)
    mode = (tmp_path / "key").stat().st_mode & 0o777
    assert mode & 0o177 == 0
    assert done.returncode == 0 or umask


@needs_modes
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602])
def test_a_key_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    Signer.from_file(path)
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        Signer.from_file(path)


@needs_modes
def test_the_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    Signer.from_file(path)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(ConfigurationError, match="no file of the user"):
        Signer.from_file(path)


@pytest.mark.parametrize("content", [b"", b"k" * 31, b"k" * 33])
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="does not hold 32 bytes"):
        Signer.from_file(path)


@needs_modes
def test_no_link_pipe_or_folder_is_taken_for_a_key(tmp_path: Path) -> None:
    Signer.from_file(tmp_path / "key")
    (tmp_path / "link").symlink_to(tmp_path / "key")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    (tmp_path / "folder").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("link", "dangling", "folder", "pipe", "key/key"):
        with pytest.raises(ConfigurationError):
            Signer.from_file(tmp_path / name)
    assert not (tmp_path / "nothing").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_many_processes_at_once_get_one_key(tmp_path: Path) -> None:
    program = """
import sys
from mlcache.codec import Signer
from tests.faults.forks import all_at_once
all_at_once(16, lambda _: Signer.from_file(sys.argv[1]).sign([b"a"]).hex())
"""
    signatures = run(program, tmp_path / "key").split()
    assert signatures == [Signer.from_file(tmp_path / "key").sign([b"a"]).hex()] * 16
    assert [each.name for each in tmp_path.iterdir()] == ["key"]
