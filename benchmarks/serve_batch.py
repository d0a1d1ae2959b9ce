"""Ray Serve's batching by itself, as a function of one item: without the proxy and the replica around it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch


def one_of(
    function: Callable[[list[Any]], Any], most: int, stack: ExitStack
) -> Callable[[Any], Awaitable[Any]]:
    """A coroutine function of one item, whose calls Ray Serve puts into batches.

    Args:
        function: of a list of items, which is called in a thread.
        most: items in a batch.
        stack: with which it ends.
    """
    from ray import serve

    # Outside of a deployment there is nobody to ask how many requests it lets in at a time.
    deployment = SimpleNamespace(_deployment_config=SimpleNamespace(max_ongoing_requests=most))
    stack.enter_context(patch.object(serve, "get_replica_context", lambda: deployment))

    async def batched(items: list[Any]) -> list[Any]:
        return list(await asyncio.to_thread(function, items))

    one: Any = serve.batch(max_batch_size=most, batch_wait_timeout_s=0.0)(batched)
    return one  # type: ignore[no-any-return, unused-ignore] # where it is not installed, it is Any
