"""What stands before a store: it remembers for a moment what is not there, and that nothing answers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mlcache import clock
from mlcache.errors import InvalidModelError, ModelError, ModelStoreError, UnknownModelError

REFUSALS_REMEMBERED = 10_000
"""Ids of models that are not there or are damaged; of more, those asked for first are forgotten."""


class Gate:
    """Keeps from a store what it need not be asked.

    One failure closes it: for ``pause`` seconds nobody waits for a store that may still be down,
    then one tries, and the others do not wait for that either, however long it takes. Ids that the
    store does not know, or whose models are damaged, are refused for ``unknown_for`` seconds.

    Args:
        pause: seconds between two tries.
        unknown_for: seconds for which it is remembered that an id has no model that can be used.
    """

    def __init__(self, pause: float, unknown_for: float) -> None:
        self._pause = pause
        self._unknown_for = unknown_for
        self._refused: dict[str, tuple[float, ModelError]] = {}
        self._reason = ""
        self._closed_until = 0.0
        self._tries_in = 0  # the process that has a try under way: a child that was forked then has none

    @property
    def is_closed(self) -> bool:
        """Whether the store did not answer when it was asked last."""
        return bool(self._reason)

    @property
    def would_ask(self) -> bool:
        """Whether the store answered when it was asked last, or may be tried again."""
        return not self._reason or (self._tries_in != os.getpid() and clock.ticks() >= self._closed_until)

    def check(self, model_id: str) -> None:
        """Refuse what need not be asked.

        Raises:
            UnknownModelError: the store did not know the model a moment ago.
            InvalidModelError: it was damaged a moment ago.
            ModelStoreError: the store did not answer a moment ago.
        """
        now = clock.ticks()
        until, refusal = self._refused.get(model_id, (now, None))
        if refusal is not None and now < until:
            raise type(refusal)(*refusal.args)
        if not self.would_ask:
            left = self._closed_until - now
            raise ModelStoreError(self._reason, left if left > 0 else self._pause)

    @contextmanager
    def passing(self, model_id: str) -> Iterator[None]:
        """Let what asks in this block pass, or raise as ``check``."""
        self.check(model_id)
        tries = bool(self._reason)
        if tries:
            self._tries_in, self._closed_until = os.getpid(), clock.ticks() + self._pause
        try:
            yield
        finally:
            if tries:
                self._tries_in = 0

    def note(self, model_id: str, error: Exception | None) -> None:
        """Note how asking for a model ended."""
        self._tries_in = 0
        if isinstance(error, ModelStoreError):
            self._reason, self._closed_until = str(error), clock.ticks() + self._pause
            error.retry_after = error.retry_after or self._pause
            return
        self._reason = ""
        if isinstance(error, UnknownModelError | InvalidModelError):
            while len(self._refused) >= REFUSALS_REMEMBERED:
                with suppress(RuntimeError, StopIteration):  # another thread changes it
                    self._refused.pop(next(iter(self._refused)), None)
            self._refused[model_id] = clock.ticks() + self._unknown_for, type(error)(*error.args)

    def forget(self, model_id: str) -> None:
        """Ask for a model again, if it was refused."""
        self._refused.pop(model_id, None)
