"""What a backend knows of a codec."""

from __future__ import annotations

from typing import Protocol

from mlcache.entry import Entry


class Codec(Protocol):
    """Turns entries into bytes and back."""

    def encode(self, entry: Entry) -> bytes:
        """The bytes that stand for ``entry``.

        Raises:
            CannotEncodeError: the value may not or cannot be written; the message says what to do.
        """
        ...

    def decode(self, data: bytes | memoryview) -> Entry:
        """The entry that ``data`` stands for; its arrays are read-only views of ``data``.

        Raises:
            CorruptEntryError: and nothing else, whatever the bytes are.
        """
        ...
