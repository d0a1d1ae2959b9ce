"""A backend of bytes, seen as one of entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, Literal

from mlcache.backends.listing import Description, ListsHeads
from mlcache.backends.protocol import (
    BytesBackend,
    Clears,
    Closes,
    Lists,
    Measures,
    Suspends,
    Usage,
    Verifies,
)
from mlcache.backends.protocol_many import Many, SuspendsMany, VerifiesMany
from mlcache.entry import Entry, Key
from mlcache.errors import BackendError, CodecError, CorruptEntryError
from mlcache.sealing import Seal, seal

if TYPE_CHECKING:
    from mlcache.codec.protocol import Codec

_AS_THEY_ARE = (
    "lock",
    "acquire_many",
    "release_many",
    "supersede",
    "supersede_many",
    "delete_many",
    "subscribe",
)
"""What is the same for entries as for bytes."""


class Encoded:
    """Puts a codec before a backend of bytes.

    It raises what the codec raises: a value that cannot be written, or bytes that are no
    whole frame, are failures of the tier like any other.

    Args:
        inner: where the bytes live.
        codec: entry to bytes and back.
        seal: what is done with a value that was read.
    """

    holds: ClassVar[Literal["entries"]] = "entries"

    def __init__(self, inner: BytesBackend, codec: Codec, seal: Seal = seal) -> None:
        self.inner = inner
        self.name = inner.name
        self._codec = codec
        self._seal = seal
        self._verifying = inner if isinstance(inner, Verifies) else None
        self._pass_on(inner)

    def _pass_on(self, inner: BytesBackend) -> None:
        """Have the capabilities that the inner backend has, and no others."""
        for name in (*_AS_THEY_ARE, *(f"{name}_async" for name in _AS_THEY_ARE)):
            if hasattr(inner, name):
                setattr(self, name, getattr(inner, name))
        if isinstance(inner, ListsHeads):
            self._listing = inner
            self.entries = self._entries
        if isinstance(inner, Many):
            self._many = inner
            self.get_many, self.put_many = self._get_many, self._put_many
        if isinstance(inner, VerifiesMany):
            self._verifying_many = inner
            self.get_many = self._get_many_verified
        if isinstance(inner, Suspends):
            self._suspending = inner
            self.get_async, self.put_async = self._get_async, self._put_async
            self.delete_async = inner.delete_async
        if isinstance(inner, SuspendsMany):
            self._suspending_many = inner
            self.get_many_async, self.put_many_async = self._get_many_async, self._put_many_async

    @property
    def blocking(self) -> bool:
        return self.inner.blocking

    def get(self, key: Key) -> Entry | None:
        if self._verifying is not None:
            return self._verifying.get_decoded(key, self._read)
        data = self.inner.get(key)
        return None if data is None else self._read(data)

    def put(self, key: Key, entry: Entry) -> None:
        self.inner.put(key, self._codec.encode(entry), entry.stale_until)

    def delete(self, key: Key) -> bool:
        return self.inner.delete(key)

    def clear(self, namespace: str) -> int:
        if isinstance(self.inner, Clears):
            return self.inner.clear(namespace)
        raise BackendError(f"{self.name} cannot forget all of one function, so its answers there stay valid")

    def keys(self, namespace: str) -> Iterator[Key]:
        return self.inner.keys(namespace) if isinstance(self.inner, Lists) else iter(())

    def usage(self) -> Usage:
        return self.inner.usage() if isinstance(self.inner, Measures) else Usage(0, 0)

    def count(self, namespace: str) -> int:
        return self.inner.count(namespace) if isinstance(self.inner, Measures) else 0

    def close(self) -> None:
        if isinstance(self.inner, Closes):
            self.inner.close()

    def _entries(self, namespace: str | None = None) -> Iterator[Description]:
        """What there is, but for what is no frame."""
        for head in self._listing.heads(namespace):
            with suppress(CorruptEntryError):
                about = self._codec.describe(head.data)
                times = (about.created, about.fresh_until, about.stale_until)
                yield Description(head.key, head.size, *times, about.cost)

    async def _get_async(self, key: Key) -> Entry | None:
        data = await self._suspending.get_async(key)
        return None if data is None else self._read(data)

    async def _put_async(self, key: Key, entry: Entry) -> None:
        await self._suspending.put_async(key, self._codec.encode(entry), entry.stale_until)

    def _get_many(self, keys: Sequence[Key]) -> list[Entry | Exception | None]:
        return [self._read_or_error(data) for data in self._many.get_many(keys)]

    def _get_many_verified(self, keys: Sequence[Key]) -> list[Entry | Exception | None]:
        return self._verifying_many.get_many_decoded(keys, self._read)

    async def _get_many_async(self, keys: Sequence[Key]) -> list[Entry | Exception | None]:
        return [self._read_or_error(data) for data in await self._suspending_many.get_many_async(keys)]

    def _put_many(self, items: Sequence[tuple[Key, Entry]]) -> list[Exception | None]:
        frames, objections = self._encode_many(items)
        return _in_their_places(self._many.put_many(frames), objections)

    async def _put_many_async(self, items: Sequence[tuple[Key, Entry]]) -> list[Exception | None]:
        frames, objections = self._encode_many(items)
        return _in_their_places(await self._suspending_many.put_many_async(frames), objections)

    def _read(self, data: bytes | memoryview, *, verified: bool = False) -> Entry:
        entry = self._codec.decode(data, verified=verified)
        sealed = self._seal(entry.value, owned=True)
        times = entry.created, entry.fresh_until, entry.stale_until
        return Entry(sealed.value, *times, entry.cost, sealed.size, sealed.renew)

    def _read_or_error(self, found: bytes | Exception | None) -> Entry | Exception | None:
        if found is None or isinstance(found, Exception):
            return found
        try:
            return self._read(found)
        except CodecError as error:
            return error

    def _encode_many(
        self, items: Sequence[tuple[Key, Entry]]
    ) -> tuple[list[tuple[Key, bytes, float]], list[Exception | None]]:
        """The frames, and by item why there is none."""
        frames: list[tuple[Key, bytes, float]] = []
        objections: list[Exception | None] = []
        for key, entry in items:
            try:
                frames.append((key, self._codec.encode(entry), entry.stale_until))
                objections.append(None)
            except CodecError as error:
                objections.append(error)
        return frames, objections

    def __repr__(self) -> str:
        return repr(self.inner)


def _in_their_places(
    replies: list[Exception | None], objections: list[Exception | None]
) -> list[Exception | None]:
    """By item, why there is no frame of it or why that was not written."""
    left = iter(replies)
    return [next(left) if objection is None else objection for objection in objections]
