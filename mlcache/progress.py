"""Progress bars of long calls: tqdm's, where somebody asked for one or a person watches."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sized
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self

from mlcache import clock
from mlcache.errors import MissingExtraError

DELAY = 1.0
"""Seconds after which a bar comes that nobody asked for: what is quicker needs none."""


class Progress:
    """How far a piece of work is, in a ``with`` block.

    Args:
        what: is worked on.
        unit: of the work.
        total: how much there is, in units; None: nobody knows.
        shown: whether to show it; None: if it takes long and a person watches.

    Raises:
        MissingExtraError: it is to be shown and tqdm is not installed.
    """

    def __init__(self, what: str, unit: str, total: int | None, *, shown: bool | None) -> None:
        self._bar: Any = None
        self._done = 0
        self._options: dict[str, Any] = {"desc": what, "unit": f" {unit}", "total": total}
        self._options["leave"] = bool(shown)
        self._hidden = shown is False
        self._since = clock.ticks()
        if shown:
            self._open()

    def advance(self, count: int = 1) -> None:
        """Note that so much more is done."""
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
        elif not self._hidden and clock.ticks() - self._since >= DELAY:
            self._hidden = not _is_watched()
            if not self._hidden:
                self._open()

    def _open(self) -> None:
        try:
            from tqdm.auto import tqdm
        except ImportError:
            raise MissingExtraError("a progress bar", "tqdm", "progress") from None
        self._bar = tqdm(**self._options, initial=self._done)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def how_many(work: Iterable[Any]) -> int | None:
    """How many pieces of work there are, where that is known without looking at them."""
    return len(work) if isinstance(work, Sized) else None


def _is_watched() -> bool:
    """Whether standard error is a terminal, and tqdm there to write to it."""
    if sys.stderr is None or not sys.stderr.isatty():
        return False
    return find_spec("tqdm") is not None
