"""A walk through the tiers: a coroutine of which both drivers carry out the steps."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any, Protocol, TypeVar

import msgspec

from mlcache.entry import Key
from mlcache.threads import in_thread

T = TypeVar("T")
OnFailure = Callable[[str, str, Key | None, Exception], object]
"""Told of a tier's name, the operation, the key and the error."""


class Asked(Protocol):
    """A backend, or a lock."""

    @property
    def name(self) -> str:
        """Of the tier."""
        ...

    @property
    def blocking(self) -> bool:
        """Whether an event loop must not wait for it."""
        ...


class Ask(msgspec.Struct, frozen=True):
    """A step of a walk through the tiers: one operation of one backend, or of a lock that one has.

    Args:
        backend: to be asked.
        operation: the name of its method.
        args: of the method.
        on_failure: told of what the backend raises, in whose place the reply is None.
    """

    backend: Asked
    operation: str
    args: tuple[Any, ...]
    on_failure: OnFailure

    def __await__(self) -> Generator[Ask, Any, Any]:
        return (yield self)

    def carry_out(self) -> Any:
        """Ask the backend in this thread."""
        try:
            return getattr(self.backend, self.operation)(*self.args)
        except Exception as error:  # noqa: BLE001 - whatever a store raises, the call goes on
            self._fail(error)

    async def carry_out_suspending(self) -> Any:
        """Ask the backend on an event loop.

        Its own coroutine, by the name of the operation and ``_async``, is awaited; one that blocks is
        asked in a thread; any other is asked here.
        """
        native = getattr(self.backend, f"{self.operation}_async", None)
        if native is None and not self.backend.blocking:
            return self.carry_out()
        try:
            if native is not None:
                return await native(*self.args)
            return await in_thread("store", partial(getattr(self.backend, self.operation), *self.args))
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        key = self.args[0] if self.args and isinstance(self.args[0], Key) else None
        self.on_failure(self.backend.name, self.operation, key, error)


def tell_nobody(tier: str, operation: str, key: Key | None, error: Exception) -> None:
    """For what somebody was told of already."""


def run(walk: Coroutine[Ask, Any, T]) -> T:
    """Walk through the tiers in this thread."""
    try:
        ask = walk.send(None)
        while True:
            try:
                reply = ask.carry_out()
            except Exception as error:  # noqa: BLE001 - for the walk to deal with
                ask = walk.throw(error)
            else:
                ask = walk.send(reply)
    except StopIteration as end:
        result: T = end.value
        return result


async def run_suspending(walk: Coroutine[Ask, Any, T]) -> T:
    """Walk through the tiers on an event loop."""
    try:
        ask = walk.send(None)
        while True:
            try:
                reply = await ask.carry_out_suspending()
            except BaseException as error:  # noqa: BLE001 - a cancellation too must reach the walk
                ask = walk.throw(error)
            else:
                ask = walk.send(reply)
    except StopIteration as end:
        result: T = end.value
        return result
