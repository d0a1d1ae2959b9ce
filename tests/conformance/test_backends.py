"""The backends that mlcache brings along pass what it asks of every backend."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from joblib import Memory

from mlcache import open_backend
from mlcache.backends.disk import Disk
from mlcache.backends.encoded import Encoded
from mlcache.backends.gdsf import Gdsf
from mlcache.backends.joblib import Joblib
from mlcache.backends.memory import Lru
from mlcache.backends.policies import Lfu, Rr, Ttl
from mlcache.backends.protocol import AnyBackend, Usage
from mlcache.backends.tiered import Tiers
from mlcache.codec import FrameCodec
from mlcache.entry import Entry, Key
from mlcache.testing import BackendConformance


class TestLru(BackendConformance):
    def make_backend(self, folder: Path) -> AnyBackend:  # noqa: ARG002 - it needs none
        return Lru(max_bytes=2**24)


class TestLfu(BackendConformance):
    def make_backend(self, folder: Path) -> AnyBackend:  # noqa: ARG002 - it needs none
        return Lfu(max_bytes=2**24)


class TestRr(BackendConformance):
    def make_backend(self, folder: Path) -> AnyBackend:  # noqa: ARG002 - it needs none
        return Rr(max_bytes=2**24)


class TestTtl(BackendConformance):
    def make_backend(self, folder: Path) -> AnyBackend:  # noqa: ARG002 - it needs none
        return Ttl(max_bytes=2**24)


class TestGdsf(BackendConformance):
    def make_backend(self, folder: Path) -> AnyBackend:  # noqa: ARG002 - it needs none
        return Gdsf(max_bytes=2**24)


class TestDisk(BackendConformance):
    persistent = True

    def make_backend(self, folder: Path) -> AnyBackend:
        return Disk(folder / "cache", max_bytes=2**26)


class TestEncodedDisk(BackendConformance):
    persistent = True

    def make_backend(self, folder: Path) -> AnyBackend:
        return Encoded(Disk(folder / "cache", max_bytes=2**26), FrameCodec())


class TestJoblib(BackendConformance):
    persistent = True

    def make_backend(self, folder: Path) -> AnyBackend:
        return open_backend(f"joblib://{folder}/cache")


class TestEncodedJoblib(BackendConformance):
    persistent = True

    def make_backend(self, folder: Path) -> AnyBackend:
        inner = Joblib(Memory(folder / "cache", verbose=0), compress=True)
        return Encoded(inner, FrameCodec(compress=True))


class TestDogpile(BackendConformance):
    def make_backend(self, folder: Path) -> AnyBackend:  # noqa: ARG002 - it needs none
        return open_backend("dogpile://dogpile.cache.memory_pickle")


class TestDogpileInAFile(BackendConformance):
    persistent = True
    most = 100  # the file is opened for each key

    def make_backend(self, folder: Path) -> AnyBackend:
        return open_backend(f"dogpile://dogpile.cache.dbm?arguments.filename={folder}/cache.dbm")


class Row:
    """Tiers with the methods of a backend."""

    name = "lru"
    holds: ClassVar[Literal["entries"]] = "entries"
    blocking = True

    def __init__(self, tiers: Tiers) -> None:
        self._tiers = tiers
        self.delete = tiers.drop
        self.clear = tiers.clear
        self.keys = tiers.keys
        self.close = tiers.close

    def get(self, key: Key) -> Entry | None:
        found = self._tiers.find(key)
        return None if found is None else found.entry

    def put(self, key: Key, entry: Entry) -> None:
        self._tiers.keep(key, entry)

    def usage(self) -> Usage:
        return self._tiers.usage("")[1]

    def count(self, namespace: str) -> int:
        return self._tiers.usage(namespace)[0]

    def __repr__(self) -> str:
        return repr(self._tiers)


def _raise(tier: str, operation: str, key: Key | None, error: Exception) -> None:
    raise AssertionError(f"{tier} failed at {operation} of {key}") from error


class TestTiers(BackendConformance):
    persistent = True

    def make_backend(self, folder: Path) -> AnyBackend:
        disk = Encoded(Disk(folder / "cache", max_bytes=2**26), FrameCodec())
        return Row(Tiers([Lru(max_bytes=2**24), disk], _raise))
