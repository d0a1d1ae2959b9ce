"""Forms: the ways in which answers lie in what a function of many items returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from mlcache.batch.items import Items


class DifferentForms(Exception):  # noqa: N818 - no error: it says that the function is to be asked anew
    """Answers that cannot be put together."""


class Form(Protocol):
    """One way in which answers lie in what a function returns."""

    def join(self, parts: Sequence[Any], items: Items | None, /) -> Any:
        """What the function would return for ``items`` with these answers.

        Raises:
            DifferentForms: there is no such thing.
        """
        ...

    def own(self, part: Any) -> Any:
        """An item's answer by itself."""
        ...
