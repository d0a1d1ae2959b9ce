"""Many keys at once in regions of dogpile.cache: asked for together where that is the same as one by one."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

import pytest
from dogpile.cache import make_region, register_backend
from dogpile.cache.api import NO_VALUE, CacheBackend
from dogpile.cache.backends.memcached import GenericMemcachedBackend
from dogpile.cache.backends.memory import MemoryBackend
from dogpile.cache.proxy import ProxyBackend

from mlcache import ml_cache
from mlcache.backends.dogpile import Dogpile
from mlcache.testing.backends import key, payload

KEYS = [key(number) for number in range(4)]
ITEMS = [(at, payload(number), 0.0) for number, at in enumerate(KEYS)]
DATA = [data for _, data, _ in ITEMS]


class Counts(ProxyBackend):  # type: ignore[misc,unused-ignore]
    """Counts what is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name.partition("_")[0] in ("get", "set", "delete") and "mutex" not in name:
            self.asked.append(name.replace("_serialized", ""))
        return super().__getattribute__(name)


def region_of(kind: str = "dogpile.cache.memory", *proxies: Any, **arguments: Any) -> Any:
    return make_region().configure(kind, wrap=proxies, arguments=arguments)


def region_with(backend: type) -> Any:
    """A region whose backend is of this class."""
    name = f"tests.{backend.__module__}.{backend.__qualname__}"
    register_backend(name, backend.__module__, backend.__name__)
    return region_of(name)


def asked_of(region: Any) -> list[str]:
    """What is asked of a region for all of the operations with many keys."""
    counts = Counts()
    region.wrap(counts)
    backend = Dogpile(region)
    assert backend.put_many(ITEMS) == [None] * 4
    assert backend.get_many([*KEYS, key(9)]) == [*DATA, None]
    assert backend.delete_many([KEYS[0], KEYS[2], KEYS[0], key(9)]) == [True, True, False, False]
    assert backend.get_many(KEYS) == [None, DATA[1], None, DATA[3]]
    return counts.asked


@pytest.mark.parametrize("kind", ["dogpile.cache.memory", "dogpile.cache.memory_pickle"])
def test_a_region_is_asked_for_all_at_once(kind: str) -> None:
    assert asked_of(region_of(kind)) == ["set_multi", "get_multi", "get_multi", "delete_multi", "get_multi"]


def test_so_are_those_of_a_batch() -> None:
    counts = Counts()
    region = region_of()
    region.wrap(counts)
    cached = ml_cache(batch="numbers", backend=region)(lambda numbers: [-number for number in numbers])
    for _ in range(2):
        assert cached(list(range(100))) == [-number for number in range(100)]
    assert counts.asked == ["get_multi", "get_multi", "set_multi", "get_multi"]


class Zips(ProxyBackend):  # type: ignore[misc,unused-ignore]
    """Compresses, and knows nothing of many keys at once."""

    def get(self, key: str) -> Any:
        found: Any = self.proxied.get(key)
        return found if found is NO_VALUE else found._replace(payload=zlib.decompress(found.payload))

    def set(self, key: str, value: Any) -> None:
        self.proxied.set(key, value._replace(payload=zlib.compress(value.payload)))


class Derived(MemoryBackend):  # type: ignore[misc,unused-ignore]
    """Of a user, who has overridden what one key takes."""

    def get(self, key: str) -> Any:
        found = super().get(key)
        return found if found is NO_VALUE else found._replace(payload=found.payload[::-1])

    def set(self, key: str, value: Any) -> None:
        super().set(key, value._replace(payload=value.payload[::-1]))


@pytest.mark.parametrize("changing", [Zips, Derived])
def test_what_is_changed_for_one_key_alone_is_asked_for_one_by_one(changing: type) -> None:
    def made() -> Any:
        return region_with(Derived) if changing is Derived else region_of("dogpile.cache.memory", Zips)

    asked = asked_of(made())
    assert asked.count("set") == 4
    assert {each for each in asked if each.endswith("_multi")} <= {"delete_multi"}
    backend = Dogpile(made())
    backend.put_many(ITEMS)
    assert [backend.get(at) for at in KEYS] == DATA


class Singles(CacheBackend):  # type: ignore[misc,unused-ignore]
    """Has nothing for many keys."""

    def __init__(self, _: Any) -> None:
        self._kept: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        return self._kept.get(key, NO_VALUE)

    def set(self, key: str, value: Any) -> None:
        self._kept[key] = value

    def delete(self, key: str) -> None:
        self._kept.pop(key, None)


class Refuses(Singles):
    """Says so by an error of its own, as a cluster does where keys lie on several nodes."""

    def get_multi(self, keys: Iterable[str]) -> Any:
        raise RuntimeError(f"{len(list(keys))} keys do not lie on one node")

    def set_multi(self, mapping: Any) -> None:
        self.get_multi(mapping)

    def delete_multi(self, keys: Iterable[str]) -> None:
        self.get_multi(keys)


@pytest.mark.parametrize("kind", [Singles, Refuses])
def test_what_cannot_do_many_is_asked_one_by_one(kind: type) -> None:
    asked = asked_of(region_with(kind))
    assert asked.count("set") == 4
    assert asked.count("get") >= 9


def test_one_bad_value_spoils_no_other() -> None:
    store: dict[str, Any] = {}
    region = region_of("dogpile.cache.memory_pickle", cache_dict=store)
    backend = Dogpile(region)
    backend.put_many(ITEMS)
    store[f"mlcache:{KEYS[1].digest.hex()}"] = b"garbage"
    found = backend.get_many(KEYS)
    assert [found[0], *found[2:]] == [DATA[0], *DATA[2:]]
    assert isinstance(found[1], ValueError)


def test_what_is_no_frame_or_was_invalidated_is_not_found() -> None:
    region = make_region(key_mangler=lambda name: f"mine/{name}").configure("dogpile.cache.memory")
    backend = Dogpile(region)
    backend.put_many(ITEMS)
    region.set(f"mlcache:{KEYS[1].digest.hex()}", "no bytes")
    assert backend.get_many(KEYS) == [DATA[0], None, *DATA[2:]]
    region.invalidate()
    assert backend.get_many(KEYS) == [None] * 4


class Memcached(GenericMemcachedBackend):  # type: ignore[misc,unused-ignore]
    """With a client that has room for values of a thousand bytes, and refuses others as the real ones do."""

    def __init__(self, _: Any) -> None:
        super().__init__({"url": "127.0.0.1"})

    def _imports(self) -> None:
        """None is needed."""

    def _create_client(self) -> Any:
        return Client()


class Client(dict[str, Any]):
    """Of a memcached."""

    def set(self, key: str, value: Any) -> None:
        if len(value.payload if hasattr(value, "payload") else value) > 1000:
            raise RuntimeError("object too large for cache")
        self[key] = value

    def set_multi(self, mapping: dict[str, Any]) -> list[str]:
        return list(mapping)

    def get_multi(self, keys: Iterable[str]) -> dict[str, Any]:
        return {key: self[key] for key in keys if key in self}


def test_what_memcached_refuses_is_told() -> None:
    backend = Dogpile(region_with(Memcached))
    told = backend.put_many([(KEYS[0], b"small", 0.0), (KEYS[1], bytes(2000), 0.0)])
    assert told[0] is None
    assert "too large" in str(told[1])
    assert backend.get_many(KEYS[:3]) == [b"small", None, None]
