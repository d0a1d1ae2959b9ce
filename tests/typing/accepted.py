"""What a type checker makes of the decorator: the user's own signature survives."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from mlcache import AsyncCachedFunction, CachedFunction, CacheInfo, Expiry, Pool, Result, ml_cache
from mlcache.backends.memory import Lru
from mlcache.entry import Key
from mlcache.explanation import Explanation
from mlcache.offload.engine import CallOptions


@ml_cache
def plain(x: int, *, mode: str = "a") -> list[float]:
    return [x, len(mode)]


@ml_cache(backend="lru", ttl="1h", ignore=["mode"], when=bool, returns="copy", version=None, name="n")
def with_keywords(x: int, *, mode: str = "a") -> list[float]:
    return [x, len(mode)]


@ml_cache()
def with_parentheses(x: int) -> str:
    return str(x)


@ml_cache
async def awaited(x: int, y: str = "") -> bytes:
    return b"%d" % x + y.encode()


@ml_cache(ttl=timedelta(minutes=1))
async def awaited_with_keywords(x: int) -> bytes:
    return b"%d" % x


@ml_cache
def untyped(x: int) -> Any:
    return x


class Model:
    @ml_cache
    def method(self, x: int) -> str:
        return str(x)

    @ml_cache(ignore=["self"])
    async def awaited(self, x: int) -> str:
        return str(x)

    @classmethod
    @ml_cache
    def of_class(cls, x: int) -> str:
        return str(x)

    @staticmethod
    @ml_cache
    def of_none(x: int) -> str:
        return str(x)


def functions() -> None:
    assert_type(plain(1), list[float])
    assert_type(plain(1, mode="b"), list[float])
    assert_type(plain(x=1), list[float])
    assert_type(with_keywords(1, mode="b"), list[float])
    assert_type(with_parentheses(1), str)
    untyped(1).whatever()
    wrapped: Callable[..., list[float]] = plain.__wrapped__
    passed: Callable[[int], list[float]] = plain
    assert_type(wrapped(1), list[float])
    assert_type(passed(1), list[float])


def control() -> None:
    assert_type(plain.call_with_info(1, mode="b"), Result[list[float]])
    assert_type(plain.call_with_info(1).value, list[float])
    assert_type(plain.call_with_info(1).http_headers(), dict[str, str])
    assert_type(plain.peek(1), Result[list[float]] | None)
    assert_type(plain.invalidate(1), bool)
    assert_type(plain.refresh(1), list[float])
    assert_type(plain.uncached(1), list[float])
    assert_type(plain.cache_info(), CacheInfo)
    assert_type(plain.cache_info().hits, int)
    assert_type(plain.cache_key(1), Key)
    assert_type(plain.explain(1), Explanation)
    assert_type(plain.warm([1, (2,), {"x": 3}]), int)
    assert_type(plain.fresh(max_age="5s")(1, mode="b"), list[float])
    assert_type(plain.fresh(max_age="5s").call_with_info(1, mode="b"), Result[list[float]])
    plain.put([1.0], 1, mode="b")
    plain.cache_clear()


async def coroutines() -> None:
    assert_type(await awaited(1, y="a"), bytes)
    assert_type(await awaited_with_keywords(1), bytes)
    assert_type(await awaited.call_with_info(1), Result[bytes])
    assert_type(await awaited.peek(1), Result[bytes] | None)
    assert_type(await awaited.refresh(1), bytes)
    assert_type(await awaited.uncached(1), bytes)
    assert_type(await awaited.cache_info(), CacheInfo)
    assert_type(await awaited.warm([1]), int)
    assert_type(await awaited.fresh(max_age=5)(1), bytes)
    assert_type(await awaited.fresh(max_age=5).call_with_info(1), Result[bytes])
    await awaited.put(b"", 1)
    await awaited.cache_clear()
    running: Coroutine[Any, Any, bytes] = awaited(1)
    assert_type(await running, bytes)


async def on_an_event_loop() -> None:
    assert_type(await plain.aio(1, mode="b"), list[float])
    assert_type(await plain.aio.call_with_info(1), Result[list[float]])
    assert_type(await plain.aio.cache_info(), CacheInfo)
    assert_type(await Model().method.aio(1), str)


async def methods() -> None:
    assert_type(Model().method(1), str)
    assert_type(Model().method.call_with_info(1), Result[str])
    assert_type(Model().method.invalidate(x=1), bool)
    assert_type(await Model().awaited(1), str)
    assert_type(await Model().awaited.call_with_info(1), Result[str])
    assert_type(Model.of_class(1), str)
    assert_type(Model().of_class(1), str)
    assert_type(Model.of_none(1), str)
    assert_type(Model.method(Model(), 1), str)
    assert_type(Model.of_class.invalidate(1), bool)


def faces() -> None:
    decorated: CachedFunction[[int], str] = ml_cache(with_parentheses.__wrapped__)
    partial: CachedFunction[[], str] = ml_cache(functools.partial(str, 1))
    lambdas = ml_cache(lambda: 5)
    assert_type(decorated(1), str)
    assert_type(partial(), str)
    assert_type(lambdas(), int)


def awaitable(function: Callable[[int], Coroutine[Any, Any, str]]) -> AsyncCachedFunction[[int], str]:
    return ml_cache(function)


def keywords() -> None:
    ml_cache(backend=None, ttl=None)
    ml_cache(backend=Lru(max_bytes=1000), ttl=5)
    ml_cache(backend=["lru", Lru(max_bytes=1000)], ttl=5.0)
    ml_cache(ttl=datetime(2999, 1, 1, tzinfo=UTC), ignore="x")
    ml_cache(ttl=lambda value: 5 if value else None, ignore={"x"})
    ml_cache(ttl=Expiry("1h"), key={"x": len})
    ml_cache(offload=2)
    ml_cache(offload=Pool(workers=2, resources={"model": object}))
    ml_cache(offload=Pool().with_options(CallOptions(timeout=5)))
    ml_cache(offload=ThreadPoolExecutor(), batch="texts")
