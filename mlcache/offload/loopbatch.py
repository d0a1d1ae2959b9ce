"""Micro-batching on an event loop: by tasks, of which none needs a thread."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any

from mlcache.offload.microbatch import MicroBatcher
from mlcache.offload.tickets import Rules, Ticket

if TYPE_CHECKING:
    import asyncio


class LoopBatcher(MicroBatcher):
    """Requests of the tasks of one event loop, computed in batches by tasks of the same loop.

    Args:
        compute: a coroutine function.
        rules: as for ``MicroBatcher``.
    """

    def __init__(self, compute: Callable[[list[Any]], Coroutine[Any, Any, object]], rules: Rules) -> None:
        super().__init__(compute, rules)
        self._compute_suspending = compute
        self._news: asyncio.Event | None = None
        self._unbegun: dict[object, list[Ticket]] = {}
        self.task: asyncio.Task[None] | None = None

    def push(self, ticket: Ticket) -> None:
        """Have a request computed by itself, beyond the slots; from any thread."""
        if self.task is not None:
            with suppress(RuntimeError):  # its loop is closed, and nobody waits there any more
                self.task.get_loop().call_soon_threadsafe(super().push, ticket)

    def hasten(self) -> None:
        """Have those who wait now wait for no others any more; from any thread."""
        super().hasten()
        if self.task is not None and self._news is not None:
            with suppress(RuntimeError):  # as above
                self.task.get_loop().call_soon_threadsafe(self._news.set)

    def add(self, ticket: Ticket) -> bool:
        """Take a request, and have it computed; whether a task was started for that."""
        started = super().add(ticket)
        if started:
            self.serve_elsewhere()
        elif self._news is not None:
            self._news.set()
        return started

    async def _serve(self, slot: object) -> None:
        import asyncio

        first: list[Ticket] | None = self._unbegun.pop(slot)
        self._news = self._news or asyncio.Event()
        try:
            while True:
                batch, wait = (first, 0.0) if first else self.take()
                first = None
                if batch:
                    with self._being_busy():
                        await self._compute_suspending(batch)
                elif wait:
                    self._news.clear()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._news.wait(), wait)
                else:
                    break
        finally:
            if self.release():
                self.serve_elsewhere()

    def serve_elsewhere(self, first: list[Ticket] | None = None) -> None:
        """Serve in a task."""
        import asyncio

        slot = object()
        self._unbegun[slot] = first or []
        # In a context of its own: a batch belongs to none of those who asked.
        self.task = asyncio.get_running_loop().create_task(self._serve(slot), context=Context())
        _tasks.add(self.task)
        self.task.add_done_callback(partial(self._end, slot))

    def _end(self, slot: object, task: asyncio.Task[None]) -> None:
        _tasks.discard(task)
        batch = self._unbegun.pop(slot, None)
        if batch is not None:  # it was cancelled before its first step, which alone would give the slot back
            self._give_back(1, batch)
            self.open(1)


_tasks: set[Any] = set()
"""The event loop itself keeps only weak references to tasks."""
