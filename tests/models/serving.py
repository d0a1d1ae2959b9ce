"""A server of an app, and a client of it, on one event loop, over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pandas as pd


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of ``app``, which uvicorn serves."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="on", ws="none"))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    url, limits = f"http://127.0.0.1:{port}", httpx.Limits(max_connections=32)
    try:
        async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60) as client:
            yield client
    finally:
        server.should_exit = True
        await serving


async def ask(client: httpx.AsyncClient, user: str, frame: pd.DataFrame) -> httpx.Response:
    return await client.post(f"/predict/{user}", json={"columns": frame.to_dict("list")})
