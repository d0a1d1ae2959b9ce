"""A backend of bytes, seen as one of entries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from mlcache.backends.protocol import BytesBackend, Clears, Closes, Lists, Measures, Usage
from mlcache.codec.protocol import Codec
from mlcache.entry import Entry, Key
from mlcache.sealing import Seal, seal


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

    @property
    def blocking(self) -> bool:
        return self.inner.blocking

    def get(self, key: Key) -> Entry | None:
        data = self.inner.get(key)
        if data is None:
            return None
        entry = self._codec.decode(data)
        sealed = self._seal(entry.value, owned=True)
        return Entry(
            *(sealed.value, entry.created, entry.fresh_until, entry.stale_until, entry.cost),
            *(sealed.size, sealed.renew),
        )

    def put(self, key: Key, entry: Entry) -> None:
        self.inner.put(key, self._codec.encode(entry), entry.stale_until)

    def delete(self, key: Key) -> bool:
        return self.inner.delete(key)

    def clear(self, namespace: str) -> int:
        return self.inner.clear(namespace) if isinstance(self.inner, Clears) else 0

    def keys(self, namespace: str) -> Iterator[Key]:
        return self.inner.keys(namespace) if isinstance(self.inner, Lists) else iter(())

    def usage(self) -> Usage:
        return self.inner.usage() if isinstance(self.inner, Measures) else Usage(0, 0)

    def count(self, namespace: str) -> int:
        return self.inner.count(namespace) if isinstance(self.inner, Measures) else 0

    def close(self) -> None:
        if isinstance(self.inner, Closes):
            self.inner.close()

    def __repr__(self) -> str:
        return repr(self.inner)
