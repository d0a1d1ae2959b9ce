"""A backend that fails at everything: the calls go on, one warning says so, and the failures are counted."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal, NoReturn

import pytest

import mlcache
from mlcache import BackendError, MlcacheWarning, ml_cache
from mlcache.backends.memory import Lru
from mlcache.backends.protocol import Usage
from mlcache.entry import Entry, Key
from mlcache.events import Failed


class BrokenError(Exception):
    pass


class Broken:
    """Raises whatever it is asked."""

    name = "broken"
    holds: ClassVar[Literal["entries"]] = "entries"
    blocking = False

    def __init__(self, error: Callable[[], BaseException] = BrokenError) -> None:
        self.error = error
        self.asked: list[str] = []

    def get(self, key: Key) -> Entry | None:
        self._fail("get", key)

    def put(self, key: Key, entry: Entry) -> None:
        self._fail("put", key, entry)

    def delete(self, key: Key) -> bool:
        self._fail("delete", key)

    def clear(self, namespace: str) -> int:
        self._fail("clear", namespace)

    def keys(self, namespace: str) -> Iterator[Key]:
        self._fail("keys", namespace)

    def usage(self) -> Usage:
        self._fail("usage")

    def count(self, namespace: str) -> int:
        self._fail("count", namespace)

    def _fail(self, operation: str, *_: object) -> NoReturn:
        self.asked.append(operation)
        raise self.error()


class BrokenSlow(Broken):
    blocking = True


def caught(do: Callable[[], Any]) -> list[str]:
    """The warnings that doing it gave."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        do()
    assert {warning.category for warning in found} <= {MlcacheWarning}
    return [str(warning.message) for warning in found]


@pytest.mark.parametrize("kind", [Broken, BrokenSlow])
def test_the_calls_go_on_with_one_warning(kind: type[Broken]) -> None:
    broken = kind()
    calls: list[int] = []

    @ml_cache(backend=broken, ignore=["calls"])
    def double(x: int) -> int:
        calls.append(x)
        return x * 2

    def use() -> None:
        assert [double(1), double(1), double(2)] == [2, 2, 4]
        assert asyncio.run(double.aio(3)) == 6
        assert double.peek(1) is None
        assert double.invalidate(1) is False
        double.put(5, 1)
        assert double.refresh(1) == 2
        assert double.call_with_info(1).status == "miss"
        double.explain(1)
        double.cache_info()

    found = caught(use)
    assert calls == [1, 1, 2, 3, 1, 1]
    assert set(broken.asked) >= {"get", "put", "delete", "count"}
    assert len(found) == 1, found
    assert "broken failed at get" in found[0]
    before = double.cache_info().errors
    assert before >= len(calls) * 2
    assert caught(double.cache_clear) == []
    assert double.cache_info().misses == 0


def test_a_coroutine_function_goes_on_too() -> None:
    @ml_cache(backend=BrokenSlow())
    async def double(x: int) -> int:
        await asyncio.sleep(0)
        return x * 2

    async def use() -> None:
        assert [await double(1), await double(1)] == [2, 2]

    assert len(caught(lambda: asyncio.run(use()))) == 1


def test_hooks_are_told_of_every_failure() -> None:
    seen: list[Any] = []

    @ml_cache(backend=Broken())
    def double(x: int) -> int:
        return x * 2

    with mlcache.hook(seen.append):
        caught(lambda: double(1))
    failures = [event for event in seen if isinstance(event, Failed)]
    assert {failure.operation for failure in failures} == {"get", "put"}
    assert all(isinstance(failure.error, BrokenError) and failure.tier == "broken" for failure in failures)
    assert {failure.key for failure in failures} == {double.cache_key(1)}


@pytest.mark.parametrize("place", [0, 1])
def test_a_tier_beside_it_serves_on(place: int) -> None:
    backends: list[Any] = [Lru(max_bytes=2**20)]
    backends.insert(place, Broken())
    calls: list[int] = []

    @ml_cache(backend=backends, ignore=["calls"])
    def double(x: int) -> int:
        calls.append(x)
        return x * 2

    def use() -> None:
        assert [double(1), double(1), double(2), double(2)] == [2, 2, 4, 4]

    assert len(caught(use)) == 1
    assert calls == [1, 2]


def test_strictly_a_failure_of_the_store_fails_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLCACHE_STRICT", "1")

    @ml_cache(backend=Broken())
    def double(x: int) -> int:
        return x * 2

    with pytest.raises(BackendError, match="broken failed at get") as failure:
        double(1)
    assert isinstance(failure.value.__cause__, BrokenError)
    with pytest.raises(BackendError):
        asyncio.run(double.aio(1))
    with pytest.raises(BackendError):
        double.invalidate(1)
    assert double.uncached(1) == 2
    assert double._actions.cache.tally.errors.value >= 3


def test_strictly_a_failing_write_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLCACHE_STRICT", "1")

    class ReadOnly(Broken):
        def get(self, key: Key) -> Entry | None:  # noqa: ARG002 - it has nothing
            return None

    @ml_cache(backend=ReadOnly())
    def double(x: int) -> int:
        return x * 2

    for _ in range(2):
        with pytest.raises(BackendError, match="broken failed at put"):
            double(1)
    assert len(double._actions.cache.flights) == 0


def test_what_ends_the_process_is_no_failure_of_the_store() -> None:
    @ml_cache(backend=Broken(KeyboardInterrupt))
    def double(x: int) -> int:
        return x * 2

    with pytest.raises(KeyboardInterrupt):
        double(1)
    assert len(double._actions.cache.flights) == 0
