"""The peers of a stampede: how each puts its cache before a function, in this process and in others."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import logging
import os
import struct
import threading
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.harness import WrongAnswerError

Function = Callable[[int], Any]

ROUNDS, FEWER = 10_000, 1_000
"""Of a hash: some milliseconds of computing, during which other threads go on; fewer for coroutines."""

SHORT, SHORTER = 1.0, 0.2
"""Seconds that answers are kept which are to be found expired; the shorter ones may expire while many ask."""


@dataclass(frozen=True)
class Place:
    """Where a contender keeps its answers.

    Args:
        folder: of its own.
        log: a file, to which each execution adds the time at which it ended.
        server: the URL of a Redis, where one is needed.
        ttl: seconds.
    """

    folder: str
    log: str
    server: str = ""
    ttl: float = 3600.0

    @property
    def expires(self) -> bool:
        """Whether answers are to be found expired."""
        return self.ttl <= SHORT


def answer(number: int, rounds: int = ROUNDS) -> str:
    """What the function computes."""
    return hashlib.pbkdf2_hmac("sha256", b"stampede", number.to_bytes(8, "big"), rounds).hex()


def counted(place: Place) -> Function:
    """The function that is cached. It notes each execution."""
    log = place.log

    def infer(number: int) -> str:
        found = answer(number)
        note(log)
        return found

    return infer


def counted_suspending(place: Place) -> Function:
    """The same as a coroutine function, which lets others run before it computes."""
    log = place.log

    async def infer(number: int) -> str:
        await asyncio.sleep(0.01)
        found = answer(number, FEWER)
        note(log)
        return found

    return infer


def note(log: str) -> None:
    """Add the time to a file that processes may share."""
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, struct.pack("d", perf_counter()))
    os.close(file)


@dataclass(frozen=True)
class Peer:
    """One of those that are compared.

    Args:
        decorate: puts its cache before a function.
        suspends: whether that is a coroutine function.
        needs_server: whether it keeps its answers in Redis.
    """

    decorate: Callable[[Function, Place, ExitStack], Function]
    suspends: bool = False
    needs_server: bool = False


def _memory(function: Function, place: Place, _: ExitStack) -> Function:
    from mlcache import ml_cache

    return ml_cache(backend="lru?max_items=100000", ttl=place.ttl)(function)


def _kept(url: str) -> Callable[[Function, Place, ExitStack], Function]:
    def decorate(function: Function, place: Place, stack: ExitStack) -> Function:
        from mlcache import ml_cache, open_backend

        backend: Any = open_backend(url.format(place.folder) if "{" in url else place.server)
        stack.callback(backend.close)
        return ml_cache(backend=backend, ttl=place.ttl, name="stampede", version="1")(function)

    return decorate


def _lru_cache(function: Function, place: Place, _: ExitStack) -> Function:
    if place.expires:
        raise WrongAnswerError("knows no time to live")
    return functools.lru_cache(maxsize=100_000)(function)


def _cachetools(how: str, lock: Callable[[], Any]) -> Callable[[Function, Place, ExitStack], Function]:
    def decorate(function: Function, place: Place, _: ExitStack) -> Function:
        import cachetools

        store: Any = cachetools.TTLCache(100_000, place.ttl)
        options: dict[str, Any] = {how: lock()}
        cached: Any = cachetools.cached(store, **options)
        return cached(function)

    return decorate


def _dogpile(backend: str) -> Callable[[Function, Place, ExitStack], Function]:
    def decorate(function: Function, place: Place, _: ExitStack) -> Function:
        from dogpile.cache import make_region

        Path(place.folder).mkdir(exist_ok=True)
        arguments = {
            "memory": {},
            "dbm": {"filename": f"{place.folder}/dbm"},
            "redis": {"url": place.server, "distributed_lock": True, "thread_local_lock": False},
        }[backend]
        region = make_region().configure(
            f"dogpile.cache.{backend}", expiration_time=place.ttl, arguments=arguments
        )
        return region.cache_on_arguments()(function)

    return decorate


def _diskcache(function: Function, place: Place, stack: ExitStack) -> Function:
    import diskcache

    return stack.enter_context(diskcache.Cache(place.folder)).memoize(expire=place.ttl)(function)


def _memoize_stampede(function: Function, place: Place, stack: ExitStack) -> Function:
    import diskcache

    cache = stack.enter_context(diskcache.Cache(place.folder))
    return diskcache.memoize_stampede(cache, expire=place.ttl)(function)


def _joblib(function: Function, place: Place, _: ExitStack) -> Function:
    import joblib

    logging.getLogger("joblib").setLevel(logging.ERROR)  # it tells of each race that it lost
    warnings.filterwarnings("ignore", module="joblib")
    fresh = joblib.expires_after(milliseconds=round(1000 * place.ttl)) if place.expires else None
    return joblib.Memory(place.folder, verbose=0).cache(function, cache_validation_callback=fresh)


def _cashews(*, lock: bool, server: bool = False) -> Callable[[Function, Place, ExitStack], Function]:
    def decorate(function: Function, place: Place, _: ExitStack) -> Function:
        import cashews

        cache = cashews.Cache()
        cache.setup(place.server if server else "mem://")
        return cache(ttl=place.ttl, lock=lock)(function)

    return decorate


MEMORY, DISK, REDIS = "mlcache, memory", "mlcache, disk", "mlcache, redis"

PEERS: dict[str, Peer] = {
    MEMORY: Peer(_memory),
    DISK: Peer(_kept("disk://{}")),
    REDIS: Peer(_kept("redis"), needs_server=True),
    f"{MEMORY}, async": Peer(_memory, suspends=True),
    f"{DISK}, async": Peer(_kept("disk://{}"), suspends=True),
    f"{REDIS}, async": Peer(_kept("redis"), suspends=True, needs_server=True),
    "functools.lru_cache": Peer(_lru_cache),
    "cachetools, lock": Peer(_cachetools("lock", threading.Lock)),
    "cachetools, condition": Peer(_cachetools("condition", threading.Condition)),
    "dogpile, memory": Peer(_dogpile("memory")),
    "dogpile, dbm": Peer(_dogpile("dbm")),
    "dogpile, redis": Peer(_dogpile("redis"), needs_server=True),
    "diskcache.memoize": Peer(_diskcache),
    "diskcache.memoize_stampede": Peer(_memoize_stampede),
    "joblib.Memory": Peer(_joblib),
    "cashews": Peer(_cashews(lock=False), suspends=True),
    "cashews, lock": Peer(_cashews(lock=True), suspends=True),
    "cashews, redis, lock": Peer(_cashews(lock=True, server=True), suspends=True, needs_server=True),
}
