"""Right answers: every cache and every hasher is asked for two inputs that differ, and gives a hit.

All decorate the same function and are proved in the same way: each of the two inputs has to get the answer
that the function itself gives, and asking again must not compute again. Who gives one input the answer of
the other is WRONG, and what it answered is the proof. Hashers, which are no caches by themselves, put their
key before a dict; what suspends is awaited on an event loop, and entering that is in its time.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np

from benchmarks import hits
from benchmarks.harness import Call, Case, Contender, measure, plan
from benchmarks.hits import Decorate, Function, Input
from benchmarks.keys import load_dask, load_joblib, load_pickle
from benchmarks.report import Report
from benchmarks.targets import targets


def run(*, quick: bool) -> Report:
    """Ask all of them for all inputs, or with ``quick`` for the small ones."""
    inputs = [numbers()] if quick else [small_array(), large_array(), frame(), numbers(), dtypes()]
    cases = [_measure(each, quick=quick) for each in inputs]
    about = "a hit, of those that give two inputs that differ the answer of each"
    return Report("answers", about, cases, targets("answers", cases))


def _total(value: Any) -> float:
    return float(np.asarray(value, dtype=np.float64).sum())


def _array(name: str, size: int) -> Input:
    values = np.random.default_rng(0).integers(0, 100, size).astype(np.float64)
    other = values.copy()
    other[size // 2] += 1.0
    return Input(name, values, other, _total)


def small_array() -> Input:
    """An array longer than what numpy prints of it."""
    return _array("an array of 200 KB, one element differs", 25_000)


def large_array() -> Input:
    """An array larger than what Streamlit reads of one."""
    return _array("an array of 8 MB, one element differs", 1_000_000)


def frame() -> Input:
    """A frame of more rows than Streamlit reads of one."""
    import pandas as pd

    values = np.random.default_rng(0).integers(0, 100, (100_000, 4)).astype(np.float64)
    other = values.copy()
    other[50_000, 2] += 1.0
    whole, changed = (pd.DataFrame(each, columns=list("abcd")) for each in (values, other))
    return Input("a frame of 100,000 rows, one cell differs", whole, changed, _total)


def numbers() -> Input:
    """What Python calls equal, and a function may not: a number and a truth."""
    return Input("1.0 and True", 1.0, True, lambda value: float(value is True))  # noqa: FBT003 - the value


def dtypes() -> Input:
    """Arrays of the same bytes, which mean other numbers."""
    values = np.arange(1, 1001, dtype=np.int64)
    name = "the same bytes as another dtype"
    return Input(name, values, values.view(np.float64), lambda value: float(value.dtype == np.int64))


def _measure(given: Input, *, quick: bool) -> Case:
    contenders = [
        Contender(name, functools.partial(_right, decorate, given)) for name, decorate in PEERS.items()
    ]
    return measure(given.name, contenders, plan(quick=quick))


def _right(decorate: Decorate, given: Input, stack: ExitStack) -> Call:
    call = hits.hit(decorate, given, stack)
    return Call(call.function, call.argument, RIGHT)


def _keyed(load: Callable[[], Callable[[Any], Any]]) -> Decorate:
    """A dict behind the keys of a hasher."""

    def decorate(function: Function, _: ExitStack) -> Function:
        hasher = load()
        kept: dict[Any, Any] = {}

        def cached(value: Any) -> Any:
            key = hasher(value)
            if key not in kept:
                kept[key] = function(value)
            return kept[key]

        return cached

    return decorate


def _cashews(function: Function, stack: ExitStack) -> Function:
    import cashews

    cache = cashews.Cache()
    cache.setup("mem://")
    runner = stack.enter_context(asyncio.Runner())
    stack.callback(lambda: runner.run(cache.close()))

    async def infer(value: Any) -> Any:
        return function(value)

    cached = cache(ttl=3600)(infer)
    return lambda value: runner.run(cached(value))


def _streamlit(function: Function, _: ExitStack) -> Function:
    import streamlit

    logging.getLogger("streamlit").setLevel(logging.CRITICAL)  # it misses its server
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("streamlit"):
            logging.getLogger(name).setLevel(logging.CRITICAL)

    def infer(value: Any) -> Any:
        return function(value)

    cached = streamlit.cache_data(show_spinner=False, ttl=3600)(infer)
    cached.clear()  # what a run before has left under the same name
    return cached


RIGHT = "right"

PEERS: dict[str, Decorate] = {
    "mlcache": hits.CONTENDERS[hits.MEMORY],
    **{name: decorate for name, decorate in hits.CONTENDERS.items() if not name.startswith("mlcache")},
    "cashews": _cashews,
    "streamlit.cache_data": _streamlit,
    "dask.tokenize and a dict": _keyed(load_dask),
    "joblib.hash and a dict": _keyed(load_joblib),
    "pickle, sha256 and a dict": _keyed(load_pickle),
}
