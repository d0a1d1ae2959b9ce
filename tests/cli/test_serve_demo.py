"""The demo as somebody tries it: the command in a process, and the requests that it proposes."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from mlcache.cli.app import app
from mlcache.errors import ConfigurationError

pytest.importorskip("fastapi", reason="fastapi is not installed")

ROOT = Path(__file__).parents[2]


@contextmanager
def demo(*options: str, end: signal.Signals = signal.SIGINT) -> Iterator[tuple[str, str]]:
    """The demo while it runs: where it is served, and all that it has said."""
    command = [sys.executable, "-u", "-m", "mlcache", "serve-demo", "--port", "0", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines: list[str] = []
            while not (lines and "Ctrl-C" in lines[-1]):
                lines.append(process.stdout.readline())
                assert lines[-1], lines
            found = re.search(r"http://[\d.:]+", "".join(lines))
            assert found
            yield found[0], "".join(lines)
        finally:
            process.send_signal(end)
            assert process.wait(30) == 128 + end


def test_what_it_proposes_works(tmp_path: Path) -> None:
    with demo("--tenants", "6", "--room", "2", "--folder", str(tmp_path)) as (url, said):
        proposed = re.search(r"curl -i (\S+) -d '(.*)'", said)
        assert proposed
        first, again = (httpx.post(proposed[1], content=proposed[2]) for _ in range(2))
        assert first.status_code == again.status_code == 200
        assert first.json()["model_id"] == "iris-0"
        assert len(first.json()["predictions"]) == 2
        assert [each.headers["x-cache"] for each in (first, again)] == ["miss", "hit"]
        for tenant in (4, 0, 4):
            answer = httpx.post(f"{url}/predict/user-{tenant}", content=proposed[2])
            assert answer.json()["model_id"] == f"iris-{tenant}"
        assert httpx.get(f"{url}/health/ready").json()["status"] == "ok"
        assert "mlcache_models_max_bytes" in httpx.get(f"{url}/metrics").text
        assert httpx.post(f"{url}/predict/user-6", content=proposed[2]).status_code == 404
    assert (tmp_path / "users.db").exists()
    assert len(list((tmp_path / "models").iterdir())) == 6


def test_nothing_stays_behind_when_it_is_told_to_end() -> None:
    folder = Path(tempfile.gettempdir())
    with demo("--tenants", "2", end=signal.SIGTERM) as (url, _):
        assert [each.name[:13] for each in folder.iterdir()] == ["mlcache-demo-"]
        assert httpx.get(f"{url}/health/live").status_code == 200
    assert list(folder.iterdir()) == []


def test_a_port_that_there_cannot_be_is_refused() -> None:
    done = CliRunner().invoke(app, ["serve-demo", "--port", "65536"])
    assert done.exit_code == 2
    assert "--port" in done.output
    assert "65535" in done.output


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = CliRunner().invoke(app, ["serve-demo", "--port", "0", "--folder", str(tmp_path / "file")])
    assert isinstance(done.exception, ConfigurationError)
    assert f"--folder {tmp_path / 'file'} cannot be written to: Not a directory" in str(done.exception)


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-m", "mlcache", "serve-demo", "--port", str(taken.getsockname()[1])]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "give another --port" in done.stderr
