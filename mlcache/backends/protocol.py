"""What a backend is: three methods, and small capabilities that it may add.

A backend holds entries, as memory does, or bytes, as disk and network do; the attribute
``holds`` says which. What holds bytes is wrapped in a codec by ``encoded.Encoded`` and
from then on looks like the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import msgspec

from mlcache.entry import Entry, Key


class Backend(Protocol):
    """Where entries live.

    Expiry is none of its business: it returns what it has, and may take ``stale_until``
    as a hint of what to evict, never as the verdict. Every method may be called from many
    threads at once, and raises whatever it likes when it fails: the caller goes on without.
    """

    name: str
    holds: ClassVar[Literal["entries"]]

    @property
    def blocking(self) -> bool:
        """Whether a call can take so long that an event loop must not wait for it."""

    def get(self, key: Key) -> Entry | None:
        """The entry under ``key``, or None."""

    def put(self, key: Key, entry: Entry) -> None:
        """Keep ``entry`` under ``key``, in place of what was there."""

    def delete(self, key: Key) -> bool:
        """Forget what is under ``key``; whether there was anything."""


class BytesBackend(Protocol):
    """Where bytes live. As ``Backend``, but it is given frames in place of entries."""

    name: str
    holds: ClassVar[Literal["bytes"]]

    @property
    def blocking(self) -> bool:
        """Whether a call can take so long that an event loop must not wait for it."""

    def get(self, key: Key) -> bytes | memoryview | None:
        """The bytes under ``key``, or None."""

    def put(self, key: Key, data: bytes, expires_at: float) -> None:
        """Keep ``data`` under ``key``.

        Args:
            key: in place of what was there.
            data: a frame.
            expires_at: from when on it is useless, in seconds since the epoch; may be infinite.
        """

    def delete(self, key: Key) -> bool:
        """Forget what is under ``key``; whether there was anything."""


AnyBackend = Backend | BytesBackend


class Usage(msgspec.Struct, frozen=True):
    """How full a store is. ``max_items`` and ``max_bytes`` are None where there is no bound."""

    items: int
    bytes: int
    max_items: int | None = None
    max_bytes: int | None = None


@runtime_checkable
class Clears(Protocol):
    """A backend that can forget a whole namespace."""

    def clear(self, namespace: str) -> int:
        """Forget all entries of ``namespace``; how many there were."""


@runtime_checkable
class Lists(Protocol):
    """A backend that knows what it holds."""

    def keys(self, namespace: str) -> Iterator[Key]:
        """The keys of ``namespace``, in no order."""


@runtime_checkable
class Measures(Protocol):
    """A backend that knows how full it is."""

    def usage(self) -> Usage:
        """How full it is, over all namespaces."""

    def count(self, namespace: str) -> int:
        """The number of entries of ``namespace``."""


@runtime_checkable
class Closes(Protocol):
    """A backend that holds on to files or connections."""

    def close(self) -> None:
        """Let go of them. Closing twice is no error."""


@runtime_checkable
class InMemory(Protocol):
    """A backend so near that the fast path looks into it by itself.

    Both are called at each hit, so they should be functions of C.
    """

    find: Callable[[bytes], Entry | None]
    """The entry under a digest."""
    touch: Callable[[bytes], Any]
    """Note that the entry under a digest was used; a KeyError says that it is gone, and is no harm."""
