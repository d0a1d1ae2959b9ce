"""One client for each event loop: connections of asyncio belong to the loop they were opened on."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mlcache.backends.redis.target import Target

if TYPE_CHECKING:
    from mlcache.backends.redis.clients import AsyncLink


class Loops:
    """The clients of all event loops of this process.

    A client is closed when its loop ends: it is lent out by an asynchronous generator, and an
    event loop closes those that were begun on it before it is closed itself.

    Args:
        clients: the module that makes them.
        target: of their server.
    """

    def __init__(self, clients: ModuleType, target: Target) -> None:
        self._clients = clients
        self._target = target
        self._links: dict[Any, AsyncLink] = {}
        self._loans: dict[Any, AsyncGenerator[AsyncLink]] = {}

    def __len__(self) -> int:
        return len(self._links)

    async def mine(self) -> AsyncLink:
        """The client of the running event loop."""
        import asyncio

        loop = asyncio.get_running_loop()
        link = self._links.get(loop)
        return link if link is not None else await self._open(loop)

    def close(self) -> None:
        """Have every client closed by its own loop: soon, where that is running."""
        for loop, loan in list(self._loans.items()):
            link = self._links[loop]
            self._forget(loop)
            if loop.is_running():
                _ending[link] = loan
                loop.call_soon_threadsafe(_end, loop, loan)

    async def _open(self, loop: Any) -> AsyncLink:
        for other in [other for other in self._links if other.is_closed()]:
            self._forget(other)
        loan = self._loans[loop] = self._lend(loop)
        return await anext(loan)

    async def _lend(self, loop: Any) -> AsyncGenerator[AsyncLink]:
        link: AsyncLink = self._clients.AsyncLink(self._target)
        self._links[loop] = link
        try:
            yield link
        finally:
            if self._links.get(loop) is link:
                self._forget(loop)
            await link.close()
            _ending.pop(link, None)

    def _forget(self, loop: Any) -> None:
        self._links.pop(loop, None)
        self._loans.pop(loop, None)


def _end(loop: Any, loan: AsyncGenerator[AsyncLink]) -> None:
    task = loop.create_task(_close(loan))
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


async def _close(loan: AsyncGenerator[AsyncLink]) -> None:
    await loan.aclose()


_tasks: set[Any] = set()
"""The event loop itself keeps only weak references to tasks."""

_ending: dict[AsyncLink, AsyncGenerator[AsyncLink]] = {}
"""Loans that are about to be closed. Should the loop end before, it closes those that are still there."""
