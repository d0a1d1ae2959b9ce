"""Requests of which tests make batches."""

from __future__ import annotations

import threading
from typing import Any

from mlcache.offload.tickets import Ticket


class Request(Ticket):
    """A request with a name, whose answer may be unwanted."""

    __slots__ = ("done", "failed", "left", "name", "wanted")

    def __init__(self, name: str, **rest: Any) -> None:
        super().__init__(rest.pop("bucket", None), **rest)
        self.name = name
        self.wanted = True
        self.left: list[bool] = []
        self.failed: list[BaseException] = []
        self.done = threading.Event()

    def is_wanted(self) -> bool:
        return self.wanted

    def leave(self, *, late: bool) -> None:
        self.left.append(late)

    def fail(self, error: BaseException) -> None:
        self.failed.append(error)


def names(batch: list[Any]) -> str:
    return "".join(request.name for request in batch)
