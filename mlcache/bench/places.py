"""Places: the backends that are compared, each by its URL, opened anew for every replay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryDirectory
from typing import cast
from uuid import uuid4

import msgspec
import numpy as np

from mlcache.backends.address import Address
from mlcache.backends.open import parse
from mlcache.backends.protocol import AnyBackend, Closes
from mlcache.cached import CachedFunction
from mlcache.decorator import ml_cache
from mlcache.simulate.replay import Store
from mlcache.stores import open_backend

MEMORY = ("lru", "lfu", "rr", "ttl", "gdsf")
FOLDERS = ("disk", "joblib")
DEFAULTS = ("lru", "lfu", "gdsf", "disk", "lru, disk")
"""What is compared where nothing is said."""


class Traits(msgspec.Struct, frozen=True):
    """What a place can do that has nothing to do with time.

    Args:
        survives: an answer is still there after the place was closed and opened again.
        processes: who opens it elsewhere on this machine finds the answer.
        hosts: so does who opens it on another machine: known by its kind, not tried.
    """

    survives: bool
    processes: bool
    hosts: bool


def complete(spec: str, bound: int, folder: str) -> list[str]:
    """The URLs of the tiers of ``spec``, nearest first, with what it leaves open.

    A memory of no options gets the bound. What lies in a folder and names none gets one of its own, so
    that nothing is measured in a folder that is in use.

    Args:
        spec: as ``ml_cache(backend=...)`` takes it; ``{bound}`` and ``{folder}`` are replaced.
        bound: bytes.
        folder: exists.

    Raises:
        ConfigurationError: it cannot be understood.
    """
    filled = spec.replace("{bound}", str(bound)).replace("{folder}", folder)
    pairs = zip(filled.split(","), parse(filled), strict=True)
    return [_completed(part.strip(), address, bound, folder) for part, address in pairs]


def _completed(part: str, address: Address, bound: int, folder: str) -> str:
    if address.scheme in FOLDERS and not address.location:
        return f"{address.scheme}://{folder}/{address.scheme}{part.removeprefix(address.scheme)}"
    if address.scheme in MEMORY and address.is_plain:
        return f"{part}?max_bytes={bound}"
    return part


@contextmanager
def opened(urls: list[str]) -> Iterator[list[AnyBackend]]:
    """The backends, opened, and closed at the end."""
    with ExitStack() as stack:
        yield [_open(url, stack) for url in urls]


def _open(url: str, stack: ExitStack) -> AnyBackend:
    backend = open_backend(url)
    if isinstance(backend, Closes):
        stack.callback(backend.close)
    return backend


def overhead() -> int:
    """Bytes that keeping an entry takes in the memory where it takes the least."""
    return cast("Store", open_backend("lru?max_bytes=1")).overhead


@contextmanager
def new_folder() -> Iterator[str]:
    """A folder that is removed at the end."""
    with TemporaryDirectory(prefix="mlcache-bench-", ignore_cleanup_errors=True) as folder:
        yield folder


def new_name() -> str:
    """A name that no function had before, so that a store that others use has nothing under it."""
    return f"mlcache.bench.{uuid4().hex}"


def traits(spec: str) -> Traits:
    """What a place can do, tried with one answer that is removed again."""
    with new_folder() as folder:
        urls = complete(spec, 2**20, folder)
        name = new_name()
        with opened(urls) as first:
            _function(first, name)(7)
            with opened(urls) as second:
                processes = _function(second, name).peek(7) is not None
        with opened(urls) as again:
            cached = _function(again, name)
            survives = cached.peek(7) is not None
            cached.cache_clear()
    schemes = [address.scheme for address in parse(spec.replace("{bound}", "1").replace("{folder}", "/"))]
    return Traits(survives, processes, any(_of_hosts(each) for each in schemes))


def _of_hosts(scheme: str) -> bool:
    """Whether such a place is a server that is spoken to over a network, not through a socket in a folder."""
    return scheme.startswith(("redis", "valkey")) and not scheme.endswith("+unix")


def _function(backends: list[AnyBackend], name: str) -> CachedFunction[[int], object]:
    def infer(number: int) -> object:
        return np.full(3, number)

    return ml_cache(backend=backends, name=name, version="1")(infer)
