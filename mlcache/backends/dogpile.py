"""Frames in a region of dogpile.cache, so that people who have regions keep them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Literal

from mlcache.backends.address import Address, Defaults, Opener, a_compression, anything
from mlcache.backends.one_by_one import one_by_one
from mlcache.backends.region_many import DELETE, GET, SET, takes_many
from mlcache.backends.regionlock import RegionLock
from mlcache.entry import Key
from mlcache.errors import ConfigurationError, MissingExtraError

Many = Callable[[Any, Sequence[Any]], list[Any]]
"""What does something for many items in a region."""


class Dogpile:
    """Keeps frames in a region, behind its key mangler and its proxies.

    The region's serializer is passed over. It is pickle for most of dogpile's backends, and
    whoever can write to the store could then run code in every process that reads from it;
    frames are bytes already, and reading one is harmless. The clients of memcached pickle and
    unpickle on their own, so that store must be one that only friends can write to.

    The region's expiration time is not looked at, as an entry has its own deadline; its
    ``invalidate()`` is. A region cannot list what it holds, so it cannot forget one function.

    Where the region's backend has a mutex for each key, whoever computes an answer holds it meanwhile. The
    one that dogpile's file backend has for all keys together is not used: a computation would hold up those
    of all others, the ones that it calls itself among them.

    Args:
        region: a ``CacheRegion``; it need not be configured before the first call.
        compress: compress frames.
    """

    name = "dogpile"
    holds: ClassVar[Literal["bytes"]] = "bytes"
    blocking = True

    def __init__(self, region: Any, *, compress: bool = False) -> None:
        self.compress = compress
        self._region = region
        self._made: Any = None
        self._takes_many: list[tuple[str, ...]] = []

    def get(self, key: Key) -> bytes | None:
        found = self._view().get(_name_of(key), expiration_time=math.inf)
        return found if isinstance(found, bytes) else None

    def put(self, key: Key, data: bytes, expires_at: float) -> None:  # noqa: ARG002 - a region has one time for all
        self._view().set(_name_of(key), data)

    def delete(self, key: Key) -> bool:
        there = self.get(key) is not None
        self._view().delete(_name_of(key))
        return there

    def get_many(self, keys: Sequence[Key]) -> list[Any]:
        return self._many(GET, self._get_many, self.get, [(key,) for key in keys])

    def put_many(self, items: Sequence[tuple[Key, bytes, float]]) -> list[Exception | None]:
        return self._many(SET, self._put_many, self.put, items)

    def delete_many(self, keys: Sequence[Key]) -> list[Any]:
        return self._many(DELETE, self._delete_many, self.delete, [(key,) for key in keys])

    def _many(
        self, operations: tuple[str, ...], at_once: Many, singly: Callable[..., Any], items: Sequence[Any]
    ) -> list[Any]:
        """What came of each item: one by one where the region cannot do many, or fails at one of them."""
        region = self._view()
        if len(items) > 1 and operations in self._takes_many:
            with suppress(Exception):  # what is wrong is found out item by item
                return at_once(region, items)
        return one_by_one(singly, items)

    def _get_many(self, region: Any, items: Sequence[tuple[Key]]) -> list[bytes | None]:
        found = region.get_multi([_name_of(key) for (key,) in items], expiration_time=math.inf)
        return [each if isinstance(each, bytes) else None for each in found]

    def _put_many(self, region: Any, items: Sequence[tuple[Key, bytes, float]]) -> list[None]:
        region.set_multi({_name_of(key): data for key, data, _ in items})
        return [None] * len(items)

    def _delete_many(self, region: Any, items: Sequence[tuple[Key]]) -> list[bool]:
        keys = [key for (key,) in items]
        found = dict(zip(keys, self.get_many(keys), strict=True))
        region.delete_multi([_name_of(key) for key in found])
        return [found.pop(key, None) is not None for key in keys]

    def lock(self, key: Key) -> RegionLock | None:
        from dogpile.util import KeyReentrantMutex

        region, name = self._view(), _name_of(key)
        mutex = region.backend.get_mutex(region.key_mangler(name) if region.key_mangler else name)
        return None if mutex is None or isinstance(mutex, KeyReentrantMutex) else RegionLock(mutex)

    def _view(self) -> Any:
        """The region with its backend as it is now, but for pickle."""
        backend = self._region.backend
        if self._made is None or self._made.backend is not backend:
            view = copy.copy(self._region)
            if view.serializer is not None:
                view.serializer = view.deserializer = _as_it_is
            self._takes_many = [each for each in (GET, SET, DELETE) if takes_many(view, each)]
            self._made = view
        return self._made

    def __repr__(self) -> str:
        configured = self._region.is_configured
        backend = type(self._region.actual_backend).__name__ if configured else "not configured yet"
        return f"<dogpile: region {self._region.name or 'without a name'}, {backend}>"


def _name_of(key: Key) -> str:
    return f"mlcache:{key.digest.hex()}"


def _as_it_is(frame: bytes) -> bytes:
    return frame


def adopt(value: Any) -> Dogpile | None:
    """The backend for a region; None for any other thing of dogpile's."""
    from dogpile.cache.region import CacheRegion

    return Dogpile(value) if isinstance(value, CacheRegion) else None


def _open(address: Address, defaults: Defaults) -> Dogpile:  # noqa: ARG001 - as all openers
    try:
        from dogpile.cache import make_region
    except ImportError:
        raise MissingExtraError("backend 'dogpile'", "dogpile.cache", "dogpile") from None
    if not address.host or address.path:
        raise ConfigurationError(
            f"backend {address.text!r}: say which of dogpile's backends, such as dogpile://dogpile.cache.dbm"
            "?arguments.filename=/var/cache/ml.dbm"
        )
    said = {name: value for name, value in address.options if name.startswith("arguments.")}
    try:
        region = make_region().configure_from_config({"backend": address.host, **said}, "")
    except Exception as error:
        raise ConfigurationError(
            f"backend dogpile://{address.host}: dogpile cannot configure it: {type(error).__name__}: {error}"
        ) from error
    return Dogpile(region, compress=address.option("compress") is not None)


OPENERS = {"dogpile": Opener(_open, {"arguments.*": anything, "compress": a_compression}, located=True)}
