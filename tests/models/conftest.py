"""Real servers for the tests of models: S3 as moto has it, PostgreSQL where its programs are on the path."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import pytest

from mlcache.models import FsspecModelRepository

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is imported, also by tests


SYSTEM_TEMP = gettempdir()
"""Not a test's own: pytest lets nobody else into its folders, and the server runs as another user."""


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


class S3:
    """An S3 server of this process. What it holds outlives a stop."""

    def __init__(self) -> None:
        self.port = free_port()
        self._server: Any = None

    @property
    def options(self) -> dict[str, Any]:
        return {
            "key": "testing",
            "secret": "testing",
            "endpoint_url": f"http://127.0.0.1:{self.port}",
            "config_kwargs": {"connect_timeout": 2, "read_timeout": 10, "retries": {"max_attempts": 1}},
        }

    def start(self) -> None:
        import logging

        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
        self._server.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    def bucket(self) -> str:
        """The URL of an empty folder in a new bucket."""
        import s3fs

        fs = s3fs.S3FileSystem(skip_instance_cache=True, **self.options)
        name = f"b{uuid.uuid4().hex}"
        fs.mkdir(name)
        fs.close_session(fs.loop, fs._s3)
        return f"s3://{name}/models"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3 | None]:
    """A server for all tests, and the threads that s3fs shares with the whole process; None without moto."""
    if not (find_spec("moto") and find_spec("s3fs")):
        yield None
        return
    from fsspec.asyn import get_loop

    threads = ThreadPoolExecutor(1)
    threads.submit(int).result()
    get_loop().call_soon_threadsafe(get_loop().set_default_executor, threads)
    server = S3()
    server.start()
    server.bucket()
    yield server
    server.stop()


@pytest.fixture
def s3(s3_server: S3 | None) -> tuple[S3, str]:
    """The server, and the URL of an empty folder in a bucket of its own."""
    if s3_server is None:
        pytest.skip("moto or s3fs is not installed")
    return s3_server, s3_server.bucket()


@pytest.fixture
def own_s3(s3_server: S3 | None) -> Iterator[tuple[S3, str]]:
    """The same, with a server that the test may stop and start."""
    if s3_server is None:
        pytest.skip("moto or s3fs is not installed")
    server = S3()
    server.start()
    yield server, server.bucket()
    server.stop()


class S3Process(S3):
    """An S3 server in a process of its own, which leaves all of this one to the tests."""

    def start(self) -> None:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self._server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self._server.poll() is None, "moto's server has ended"
            threading.Event().wait(0.05)

    def stop(self) -> None:
        self._server.kill()
        self._server.wait()


@pytest.fixture
def s3_process(s3_server: S3 | None) -> Iterator[tuple[S3, str]]:
    """The same as ``s3``, in a process of its own."""
    if s3_server is None:
        pytest.skip("moto or s3fs is not installed")
    server = S3Process()
    server.start()
    yield server, server.bucket()
    server.stop()


@pytest.fixture(params=["folder", "memory", "s3"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FsspecModelRepository]:
    """An empty repository of each kind."""
    if request.param == "s3":
        server, url = request.getfixturevalue("s3")
        models = FsspecModelRepository(url, storage_options=server.options)
    elif request.param == "memory":
        models = FsspecModelRepository(f"memory://{uuid.uuid4().hex}/models")
    else:
        (tmp_path / "models").mkdir()
        models = FsspecModelRepository(tmp_path / "models")
    yield models
    models.close()


class Postgres:
    """A PostgreSQL server of the tests' own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._user = [] if os.geteuid() else ["runuser", "-u", "postgres", "--"]  # it refuses to run as root
        self._do("initdb", "--auth=trust", "--username=postgres", "--no-sync")

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres?connect_timeout=2"

    def start_somewhere(self) -> None:
        """Start it at a port that is still free: since it was found, any connection may have taken it."""
        for _ in range(5):
            if self._start().returncode == 0:
                return
            self.port = free_port()
        self.start()

    def start(self) -> None:
        started = self._start()
        assert started.returncode == 0, started.stdout + started.stderr + (self._folder / "log").read_text()

    def _start(self) -> subprocess.CompletedProcess[str]:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        log = f"--log={self._folder}/log"
        return self._run("pg_ctl", "start", "--wait", "--silent", f"--options={options}", log)

    def stop(self) -> None:
        self._do("pg_ctl", "stop", "--mode=immediate", "--silent")

    def _do(self, program: str, *arguments: str) -> None:
        done = self._run(program, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        path = shutil.which(program)
        assert path
        command = [*self._user, path, f"--pgdata={self._folder}/data", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    if not (shutil.which("initdb") and shutil.which("pg_ctl")):
        pytest.skip("PostgreSQL is not installed")
    with TemporaryDirectory(dir=SYSTEM_TEMP, prefix="postgres-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if not os.geteuid():
            shutil.chown(folder, "postgres")
        server = Postgres(folder)
        server.start_somewhere()
        yield server
        server.stop()
