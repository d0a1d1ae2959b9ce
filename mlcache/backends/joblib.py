"""Frames in the folder of a ``joblib.Memory``, for people who keep their caches there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import quote

import xxhash

from mlcache.backends.address import Address, Defaults, Opener, a_compression
from mlcache.backends.folders import absolute, default_directory
from mlcache.backends.protocol import Usage
from mlcache.entry import Key
from mlcache.errors import MissingExtraError

LONGEST_NAME = 200
"""Bytes of a folder's name: most file systems take 255."""


class Joblib:
    """Keeps frames among what joblib keeps, each in a folder of its own.

    joblib itself pickles whatever it stores, and whoever can write to the folder could then run
    code in every process that reads from it. So its store is used for all but that: the folders
    are where joblib looks for them, ``Memory.clear()`` and ``Memory.reduce_size()`` count and
    remove them like its own, but what is in them are frames, which are harmless to read.

    Like joblib's own it has no bound: call ``reduce_size`` now and then.

    Args:
        memory: a ``joblib.Memory`` with a folder.
        compress: compress frames.
    """

    name = "joblib"
    holds: ClassVar[Literal["bytes"]] = "bytes"
    blocking = True

    def __init__(self, memory: Any, *, compress: bool = False) -> None:
        from mlcache.backends.frame_store import FrameStore

        self.compress = compress
        self.directory = Path(memory.store_backend.location)
        self._store = FrameStore()
        self._store.configure(memory.store_backend.location, verbose=0)

    def get(self, key: Key) -> bytes | None:
        try:
            return self._store.load_item(_place(key))
        except KeyError:
            return None

    def put(self, key: Key, data: bytes, expires_at: float) -> None:  # noqa: ARG002 - joblib goes by age alone
        self._store.dump_item(_place(key), data)

    def delete(self, key: Key) -> bool:
        there = self._store.contains_item(_place(key))
        self._store.clear_item(_place(key))
        return bool(there)

    def clear(self, namespace: str) -> int:
        number = self.count(namespace)
        self._store.clear_path(_folders(namespace))
        return number

    def keys(self, namespace: str) -> Iterator[Key]:
        names = self._store.names(_folders(namespace))
        return (Key(namespace, bytes.fromhex(name)) for name in names)

    def count(self, namespace: str) -> int:
        return len(self._store.names(_folders(namespace)))

    def usage(self) -> Usage:
        """How full the folder is, with what joblib itself keeps there; it looks at every file."""
        items = self._store.get_items()
        return Usage(len(items), sum(item.size for item in items))

    def __repr__(self) -> str:
        return f"<joblib: {self._store.location}>"


def _place(key: Key) -> list[str]:
    """The folders of an entry, one in the other."""
    return [*_folders(key.namespace), key.digest.hex()]


def _folders(namespace: str) -> list[str]:
    name = quote(namespace, safe="@")
    if name.startswith("."):  # and so no folder that is hidden, or the one above
        name = f"%2E{name[1:]}"
    if len(name) > LONGEST_NAME:
        name = f"{name[:LONGEST_NAME]}-{xxhash.xxh3_128_hexdigest(namespace.encode())}"
    return ["mlcache", name]


def adopt(value: Any) -> Joblib | None:
    """The backend for a ``joblib.Memory``; None for any other thing of joblib's."""
    from joblib import Memory

    return Joblib(value) if isinstance(value, Memory) and value.store_backend is not None else None


def _open(address: Address, defaults: Defaults) -> Joblib:
    try:
        from joblib import Memory
    except ImportError:
        raise MissingExtraError("backend 'joblib'", "joblib", "joblib") from None
    directory = absolute(address.location or defaults.directory or default_directory())
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Joblib(Memory(str(directory), verbose=0), compress=address.option("compress") is not None)


OPENERS = {"joblib": Opener(_open, {"compress": a_compression}, located=True, folder=True)}
