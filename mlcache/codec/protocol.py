"""What a backend knows of a codec."""

from __future__ import annotations

from typing import Protocol

from mlcache.entry import Entry

HEAD_BYTES = 64
"""How much of an entry's bytes ``describe`` needs."""


class Codec(Protocol):
    """Turns entries into bytes and back."""

    def encode(self, entry: Entry) -> bytes:
        """The bytes that stand for ``entry``.

        Raises:
            CannotEncodeError: the value may not or cannot be written; the message says what to do.
        """
        ...

    def decode(self, data: bytes | memoryview, *, verified: bool = False) -> Entry:
        """The entry that ``data`` stands for; its arrays are read-only views of ``data``.

        Args:
            data: what ``encode`` made.
            verified: whether these very bytes were decoded before, and need no second look.

        Raises:
            CorruptEntryError: and nothing else, whatever the bytes are.
        """
        ...

    def describe(self, head: bytes | memoryview) -> Entry:
        """The entry that begins with the ``HEAD_BYTES`` bytes ``head``, with None in place of its value.

        Raises:
            CorruptEntryError: and nothing else, whatever the bytes are.
        """
        ...
