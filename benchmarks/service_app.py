"""A small HTTP service with a light endpoint and a heavy one, in a process of its own.

``python -m benchmarks.service_app WAY`` serves until its standard input ends, and prints its port first.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

from mlcache import Pool, ml_cache

Handle = Callable[[int], Awaitable[float]]


def model(x: int) -> float:
    """A model that is all Python: some ten milliseconds in which the interpreter is busy."""
    total = float(x)
    for step in range(150_000):
        total = (total * 1.000001 + step) % 1000.0
    return total


def _offloaded(stack: ExitStack) -> Handle:
    pool = stack.enter_context(Pool(1))
    cached = ml_cache(offload=pool, version="1")(model)
    return cached.aio


def _in_threads(stack: ExitStack) -> Handle:
    cached = ml_cache(version="1")(model)
    stack.callback(cached.cache_clear)
    return cached.aio


def _on_the_loop(stack: ExitStack) -> Handle:
    cached = ml_cache(version="1")(model)
    stack.callback(cached.cache_clear)

    async def handle(x: int) -> float:
        return cached(x)

    return handle


WAYS: dict[str, Callable[[ExitStack], Handle]] = {
    "mlcache, offload": _offloaded,
    "mlcache, threads": _in_threads,
    "on the event loop": _on_the_loop,
}


async def serve(way: str) -> None:
    """Serve ``/light`` and ``/model/NUMBER`` until standard input ends."""
    with ExitStack() as stack:
        handle = WAYS[way](stack)
        await handle(0)  # whatever is started by the first call has started

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split(b" ", 2)[1].decode()
                body = b"ok" if path == "/light" else str(await handle(int(path.rpartition("/")[2]))).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await answer(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        server.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
