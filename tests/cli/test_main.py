"""The command as a process: what it says where packages are missing, and of errors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(code: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mlcache", "--version"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.startswith("mlcache")


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_a_missing_package_is_named_with_what_to_install(package: str) -> None:
    done = run(f"import sys; sys.modules[{package!r}] = None; from mlcache.cli import main; main()")
    assert done.returncode == 1
    assert done.stderr.strip() == (
        f"mlcache: the mlcache command needs the package {package!r}: "
        "install it with pip install 'mlcache[cli]'"
    )


def test_an_error_of_mlcache_is_a_line_and_no_traceback() -> None:
    done = run(
        "from mlcache.cli import app, main\n"
        "from mlcache.errors import ConfigurationError\n"
        "@app.app.command('fail')\n"
        "def fail() -> None:\n"
        "    raise ConfigurationError('no such thing')\n"
        "import sys; sys.argv = ['mlcache', 'fail']; main()\n"
    )
    assert (done.returncode, done.stderr) == (1, "mlcache: no such thing\n")
