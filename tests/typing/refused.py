"""Wrong calls are errors of type: each line here that is marked must be one."""

from __future__ import annotations

from mlcache import ml_cache


@ml_cache
def plain(x: int, *, mode: str = "a") -> list[float]:
    return [x, len(mode)]


@ml_cache(ttl=60)
async def awaited(x: int) -> bytes:
    return b"%d" % x


class Model:
    @ml_cache
    def method(self, x: int) -> str:
        return str(x)

    @ml_cache
    async def awaited(self, x: int) -> str:
        return str(x)


def calls() -> None:
    plain("1")  # type: ignore[arg-type]
    plain()  # type: ignore[call-arg]
    plain(1, "b")  # type: ignore[call-arg]
    plain(1, mode=2)  # type: ignore[arg-type]
    plain(1, size=2)  # type: ignore[call-arg]
    plain(1).append("x")  # type: ignore[arg-type]


def control() -> None:
    plain.call_with_info("1")  # type: ignore[arg-type]
    plain.peek()  # type: ignore[call-arg]
    plain.put("v", 1)  # type: ignore[arg-type]
    plain.put([1.0])  # type: ignore[call-arg]
    plain.invalidate(1, size=2)  # type: ignore[call-arg]
    plain.refresh(None)  # type: ignore[arg-type]
    plain.cache_key("1")  # type: ignore[arg-type]
    plain.warm(5)  # type: ignore[arg-type]
    plain.fresh(max_age="5s")("1")  # type: ignore[arg-type]
    plain.nothing()  # type: ignore[attr-defined]


async def coroutines() -> None:
    await awaited("1")  # type: ignore[arg-type]
    await awaited()  # type: ignore[call-arg]
    awaited(1).decode()  # type: ignore[attr-defined]
    awaited.cache_info().hits  # type: ignore[attr-defined]  # noqa: B018
    await awaited.put("v", 1)  # type: ignore[arg-type]
    awaited.aio(1)  # type: ignore[attr-defined]
    await plain.aio("1")  # type: ignore[arg-type]
    await plain.aio(1, size=2)  # type: ignore[call-arg]


async def methods() -> None:
    Model().method("1")  # type: ignore[arg-type]
    Model().method()  # type: ignore[call-arg]
    Model().method.peek("1")  # type: ignore[arg-type]
    await Model().method.aio("1")  # type: ignore[arg-type]
    await Model().awaited("1")  # type: ignore[arg-type]


def keywords() -> None:
    ml_cache(maxsize=5)  # type: ignore[call-overload]
    ml_cache("disk")  # type: ignore[call-overload]
    ml_cache(ttl=b"1")  # type: ignore[call-overload]
    ml_cache(backend=5)  # type: ignore[call-overload]
    ml_cache(returns="mine")  # type: ignore[call-overload]
    ml_cache(key=["x"])  # type: ignore[call-overload]
    ml_cache(when=True)  # type: ignore[call-overload]
    ml_cache(offload="all")  # type: ignore[call-overload]
