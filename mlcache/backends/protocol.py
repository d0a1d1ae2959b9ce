"""What a backend is: three methods, and small capabilities that it may add.

A backend holds entries, as memory does, or bytes, as disk and network do; the attribute
``holds`` says which. What holds bytes is wrapped in a codec by ``encoded.Encoded`` and
from then on looks like the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

import msgspec

from mlcache.entry import Entry, Key

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")
Read_co = TypeVar("Read_co", covariant=True)


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
        ...

    def get(self, key: Key) -> Entry | None:
        """The entry under ``key``, or None."""
        ...

    def put(self, key: Key, entry: Entry) -> None:
        """Keep ``entry`` under ``key``, in place of what was there."""

    def delete(self, key: Key) -> bool:
        """Forget what is under ``key``; whether there was anything."""
        ...


class BytesBackend(Protocol):
    """Where bytes live. As ``Backend``, but it is given frames in place of entries."""

    name: str
    holds: ClassVar[Literal["bytes"]]

    @property
    def blocking(self) -> bool:
        """Whether a call can take so long that an event loop must not wait for it."""
        ...

    def get(self, key: Key) -> bytes | memoryview | None:
        """The bytes under ``key``, or None."""
        ...

    def put(self, key: Key, data: bytes, expires_at: float) -> None:
        """Keep ``data`` under ``key``.

        Args:
            key: in place of what was there.
            data: a frame.
            expires_at: from when on it is useless, in seconds since the epoch; may be infinite.
        """

    def delete(self, key: Key) -> bool:
        """Forget what is under ``key``; whether there was anything."""
        ...


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
        ...


@runtime_checkable
class Lists(Protocol):
    """A backend that knows what it holds."""

    def keys(self, namespace: str) -> Iterator[Key]:
        """The keys of ``namespace``, in no order."""
        ...


@runtime_checkable
class Measures(Protocol):
    """A backend that knows how full it is."""

    def usage(self) -> Usage:
        """How full it is, over all namespaces."""
        ...

    def count(self, namespace: str) -> int:
        """The number of entries of ``namespace``."""
        ...


class Decode(Protocol[Read_co]):
    """What makes something of bytes, and raises for bytes that are not whole."""

    def __call__(self, data: bytes | memoryview, *, verified: bool) -> Read_co:
        """What ``data`` stands for; ``verified`` says that it was found whole before, unchanged since."""
        ...


@runtime_checkable
class Verifies(Protocol):
    """A backend of bytes that remembers which of them were found whole.

    Looking for the checksum of what is mapped into memory would read all of it; so this is done
    once, and again where the bytes may have changed since.
    """

    def get_decoded(self, key: Key, decode: Decode[T]) -> T | None:
        """What ``decode`` makes of the bytes under ``key``; None if there are none."""
        ...


@runtime_checkable
class Suspends(Protocol):
    """A backend that can be awaited, so that an event loop needs no thread to wait for it.

    It has all methods for threads, too. Others than these may have such a twin as well.
    """

    async def get_async(self, key: Key) -> Any:
        """As ``get``."""
        ...

    async def put_async(self, key: Key, *what: Any) -> None:
        """As ``put``."""

    async def delete_async(self, key: Key) -> bool:
        """As ``delete``."""
        ...


class News(msgspec.Struct, frozen=True, array_like=True):
    """What somebody else did in a shared backend.

    Args:
        namespace: in which it was done.
        digests: of the keys; with none, it was done to the whole namespace.
        dropped: whether the entries were deleted, rather than written.
    """

    namespace: str
    digests: tuple[bytes, ...] = ()
    dropped: bool = False


class Hearer(Protocol):
    """Somebody who wants to know what others do in a shared backend."""

    def hear(self, news: News) -> None:
        """Act on what somebody else did."""

    def renew(self) -> None:
        """Act on having missed what others did before now."""


@runtime_checkable
class Announces(Protocol):
    """A shared backend that tells what others do in it."""

    def subscribe(self, namespace: str, hearer: Hearer) -> None:
        """Have ``hearer`` told of what others do in ``namespace``, for as long as he is there.

        He is held weakly, and told in a thread of the backend's own.
        """


@runtime_checkable
class Closes(Protocol):
    """A backend that holds on to files or connections."""

    def close(self) -> None:
        """Let go of them. Closing twice is no error."""


@runtime_checkable
class InFolder(Protocol):
    """A backend in a folder of this machine, where this user's own key can sign what is pickled."""

    directory: Path


@runtime_checkable
class Locks(Protocol):
    """A backend that several processes use, and that has a lock for each key."""

    def lock(self, key: Key) -> Any:
        """The lock of a key, not yet taken.

        It has ``acquire() -> bool`` and ``release()``. The first ``acquire`` does not wait; a later one
        may, for a fraction of a second, if it is told when the lock is free.
        """
        ...


@runtime_checkable
class Supersedes(Protocol):
    """A backend that can let who holds the lock of a key know that the key was invalidated meanwhile.

    The ``release()`` of its locks says whether that was so, and so may ``superseded()`` while they are held:
    what was computed is not even written then, and what was put stays. Its ``clear`` does the same for all.
    """

    def supersede(self, key: Key) -> None:
        """Let nobody else wait for who holds the lock of ``key``, and him know when he lets go of it."""


@runtime_checkable
class Compresses(Protocol):
    """A backend of bytes that can ask for compressed frames."""

    compress: bool


@runtime_checkable
class InMemory(Protocol):
    """A backend so near that the fast path looks into it by itself.

    Both are called at each hit, so they should be functions of C.
    """

    find: Callable[[bytes], Entry | None]
    """The entry under a digest."""
    touch: Callable[[bytes], Any]
    """Note that the entry under a digest was used; a KeyError says that it is gone, and is no harm."""
