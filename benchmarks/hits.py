"""A hit: how long it takes to get back what is already there, beside the peers.

Every contender decorates the same function. Before it is timed it has to prove itself: the second
call with equal input is a hit, and a second input that differs in one element in the middle gets its
own answer. The answer is a small number, so that finding it is what is measured. The argument is the
very same object each time, which favours those who go by Python's own hash: a string remembers it.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import xxhash

from benchmarks.harness import Call, Case, Contender, WrongAnswerError, measure, plan
from benchmarks.report import Report
from benchmarks.targets import targets

Function = Callable[[Any], Any]
Decorate = Callable[[Function, ExitStack], Function]


def run(*, quick: bool) -> Report:
    """Measure all sizes, or with ``quick`` the smallest."""
    inputs = [INT, TEXT] if quick else [INT, TEXT, image(), array(), frame()]
    cases = [_measure(each, quick=quick) for each in inputs]
    about = "the time of one hit; mlcache has TTL, statistics and single flight on"
    return Report("hits", about, cases, targets("hits", cases))


@dataclass(frozen=True, eq=False)
class Input:
    """What the function is called with.

    Args:
        name: of the case.
        value: the argument.
        other: the same but for one element in the middle.
        answer: the function that is cached; it tells ``value`` from ``other``.
    """

    name: str
    value: Any
    other: Any
    answer: Function


def _total(values: Any) -> float:
    return float(values.sum())


INT = Input("int", 7_654_321, 7_654_320, float)
TEXT = Input("string of 200", "x" * 200, "x" * 100 + "y" + "x" * 99, lambda text: float(text.count("x")))


def image() -> Input:
    """An image of 224 × 224 × 3 bytes."""
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    other = pixels.copy()
    other[112, 112, 1] ^= 1
    return Input("image", pixels, other, _total)


def array() -> Input:
    """An array of 10 MB."""
    values = np.random.default_rng(0).random((1250, 1000))
    other = values.copy()
    other[625, 500] += 1.0
    return Input("array of 10 MB", values, other, _total)


def frame() -> Input:
    """A data frame of 100,000 rows and 10 columns of floats."""
    import pandas as pd

    values = np.random.default_rng(0).random((100_000, 10))
    other = values.copy()
    other[50_000, 5] += 1.0
    columns = [f"c{number}" for number in range(10)]
    frames = pd.DataFrame(values, columns=columns), pd.DataFrame(other, columns=columns)
    return Input("frame of 100,000 × 10", *frames, lambda frame: _total(frame.to_numpy()))


def _measure(given: Input, *, quick: bool) -> Case:
    contenders = [
        Contender(name, functools.partial(hit, decorate, given)) for name, decorate in CONTENDERS.items()
    ]
    if given not in (INT, TEXT):
        contenders.append(Contender(BARE, lambda _: _bare(given.value)))
    return measure(given.name, contenders, plan(quick=quick))


def hit(decorate: Decorate, given: Input, stack: ExitStack) -> Call:
    """The decorated function after its first call, once it has proved itself."""
    calls: list[None] = []

    def infer(value: Any) -> float:
        calls.append(None)
        return given.answer(value)

    cached = decorate(infer, stack)
    right = given.answer(given.value), given.answer(given.other)
    answers = cached(given.value), cached(given.other)
    if answers != right:
        raise WrongAnswerError(f"WRONG: answers {answers[1]:.10g} where {right[1]:.10g} is right")
    computed = len(calls)
    if cached(given.value) != right[0] or len(calls) != computed:
        raise WrongAnswerError("NO HIT: computes again what it was asked before")
    return Call(cached, given.value)


def _bare(value: Any) -> Call:
    """The bare digest over the bytes of an array or of a frame of one type."""
    whole = np.ascontiguousarray(value if isinstance(value, np.ndarray) else value.to_numpy())
    return Call(xxhash.xxh3_128_digest, whole)


def _folder(stack: ExitStack) -> str:
    return stack.enter_context(TemporaryDirectory(prefix="mlcache-bench-", ignore_cleanup_errors=True))


def _mlcache_memory(function: Function, _: ExitStack) -> Function:
    from mlcache import ml_cache

    return ml_cache(backend="lru", ttl="1h")(function)


def _mlcache_disk(function: Function, stack: ExitStack) -> Function:
    from mlcache import ml_cache, open_backend

    backend: Any = open_backend(f"disk://{_folder(stack)}")
    stack.callback(backend.close)
    return ml_cache(backend=backend, ttl="1h")(function)


def _lru_cache(function: Function, _: ExitStack) -> Function:
    return functools.lru_cache(maxsize=1024)(function)


def _cachetools(function: Function, _: ExitStack) -> Function:
    import cachetools

    store: cachetools.LRUCache[Any, float] = cachetools.LRUCache(1024)
    return cachetools.cached(store, lock=threading.Lock())(function)


def _cachebox(function: Function, _: ExitStack) -> Function:
    import cachebox

    return cachebox.cached(cachebox.LRUCache(1024))(function)


def _diskcache(function: Function, stack: ExitStack) -> Function:
    import diskcache

    cache = stack.enter_context(diskcache.Cache(_folder(stack)))
    return cache.memoize(expire=3600)(function)


def _joblib(function: Function, stack: ExitStack) -> Function:
    import joblib

    return joblib.Memory(_folder(stack), verbose=0).cache(function)


def _dogpile(function: Function, _: ExitStack) -> Function:
    from dogpile.cache import make_region

    region = make_region().configure("dogpile.cache.memory", expiration_time=3600)
    return region.cache_on_arguments()(function)


MEMORY, DISK, BARE = "mlcache, memory", "mlcache, disk", "bare xxh3-128"
CACHETOOLS, DISKCACHE = "cachetools.cached, lock", "diskcache.memoize"

CONTENDERS: dict[str, Decorate] = {
    MEMORY: _mlcache_memory,
    "functools.lru_cache": _lru_cache,
    "cachebox": _cachebox,
    CACHETOOLS: _cachetools,
    "dogpile, memory": _dogpile,
    DISK: _mlcache_disk,
    DISKCACHE: _diskcache,
    "joblib.Memory": _joblib,
}
