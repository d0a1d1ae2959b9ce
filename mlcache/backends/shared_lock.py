"""A lock of a key, as tiers hand it out."""

from __future__ import annotations

from typing import Any

import msgspec

from mlcache.entry import Key


class SharedLock(msgspec.Struct, frozen=True, eq=False):
    """A lock of a key, the name of the tier whose it is, and how to take it and let go of it."""

    name: str
    inner: Any
    key: Key
    blocking: bool = True

    def lock(self) -> bool:
        """Take it, if nobody holds it; whether we hold it."""
        return bool(self.inner.acquire())

    def overtaken(self) -> bool:
        """Whether the key was invalidated or written meanwhile, as far as the tier can tell."""
        ask = getattr(self.inner, "superseded", None)
        return ask is not None and bool(ask())

    def unlock(self) -> bool:
        """Let go of it; whether the key was invalidated or written meanwhile, as above."""
        return bool(self.inner.release())

    @property
    def lock_async(self) -> Any:
        """``lock`` for an event loop, where there is one."""
        return getattr(self.inner, "acquire_async", None)

    @property
    def overtaken_async(self) -> Any:
        """``overtaken`` for an event loop, where there is one."""
        return getattr(self.inner, "superseded_async", None)

    @property
    def unlock_async(self) -> Any:
        """``unlock`` for an event loop, where there is one."""
        return getattr(self.inner, "release_async", None)
