"""A key: how long it takes to make one from an argument, beside other hashers.

Before a contender is timed it has to prove itself: a value that differs in one place in the middle has
another key. Where an equal value that came about in another way has another key, too, that is said: it
costs needless misses.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import pickle
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash

from benchmarks.harness import Call, Case, Contender, WrongAnswerError, measure, plan
from benchmarks.report import Report
from benchmarks.targets import targets

Hasher = Callable[[Any], object]
MEGABYTE = 1_000_000
POWER_OF_TWO = 1024


def run(*, quick: bool) -> Report:
    """Measure all inputs, or with ``quick`` the small ones."""
    inputs = [strings(), settings()] if quick else [make() for make in INPUTS]
    cases = [_measure(given, quick=quick) for given in inputs]
    return Report("keys", "the time of making one key", cases, targets("keys", cases))


@dataclass(frozen=True, eq=False)
class Input:
    """What is made a key of.

    Args:
        name: of the case.
        value: the value.
        equal: an equal value that came about in another way.
        other: the same but for one place in the middle.
        bare: the bytes of the value as one buffer, where there is a natural one.
    """

    name: str
    value: Any
    equal: Any
    other: Any
    bare: Any = None


def _random(*shape: int) -> Any:
    return np.random.default_rng(0).random(shape)


def _array(values: Any, name: str) -> Input:
    return Input(name, values, values.copy("C"), _changed(values), values.copy("C"))


def _changed(values: Any) -> Any:
    other = values.copy()
    other[tuple(length // 2 for length in other.shape)] += 1
    return other


def image() -> Input:
    """An image of 224 × 224 × 3 bytes."""
    pixels = np.random.default_rng(0).integers(0, 255, (224, 224, 3), np.uint8)
    return _array(pixels, "image")


def contiguous(megabytes: int) -> Input:
    """An array whose bytes lie in a row."""
    return _array(_random(megabytes * MEGABYTE // 8), f"array of {megabytes} MB")


def strided() -> Input:
    """Every second row of an array: 10 MB of its 20."""
    return _array(_random(2500, 1000)[::2], "strided array of 10 MB")


def transposed(dtype: str, columns: int = 1000) -> Input:
    """An array of 10 MB, transposed: as hard to read as its elements are small."""
    name = f"transposed {dtype} of 10 MB" + " in powers of two" * (columns == POWER_OF_TWO)
    rows = 10 * MEGABYTE // columns // np.dtype(dtype).itemsize
    turned = (_random(columns, rows) * 100).astype(dtype).T
    return _array(turned, name)


def channels_last() -> Input:
    """Images whose three channels come first in memory and last in the array, as torch hands them out."""
    images = _random(3, 1000, 833).astype("f4").transpose(1, 2, 0)
    return _array(images, "float32 images, channels turned")


def frame() -> Input:
    """A data frame of 100,000 rows and 10 columns of floats."""
    return _frame("frame of 100,000 × 10 floats", _random(100_000, 10))


def wide_frame() -> Input:
    """A data frame of more columns than is usual, and few rows."""
    return _frame("frame of 400 × 64 floats", _random(400, 64))


def _frame(name: str, values: Any) -> Input:
    """A frame of floats; the equal one is built column by column."""
    import pandas as pd

    columns = [f"c{number}" for number in range(values.shape[1])]
    value, other = (pd.DataFrame(numbers, columns=columns) for numbers in (values, _changed(values)))
    equal = pd.DataFrame({column: values[:, number] for number, column in enumerate(columns)})
    return Input(name, value, equal, other, values)


def string_frame() -> Input:
    """A data frame with a column of 100,000 strings and one of numbers."""
    import pandas as pd

    def table(texts: list[str]) -> pd.DataFrame:
        return pd.DataFrame({"name": texts, "amount": _random(100_000)})

    name, texts = "frame with 100,000 strings", [f"customer {number:07}" for number in range(100_000)]
    other = [*texts[:50_000], "somebody else", *texts[50_001:]]
    return Input(name, table(texts), table(list(texts)), table(other))


def string_objects() -> Input:
    """An object column of 100,000 strings. In the other one, a word moved to the next string."""
    name, texts = "100,000 strings as objects", [f"customer-{number:07}" for number in range(100_000)]
    value, equal = (np.array(listed, object) for listed in (texts, json.loads(json.dumps(texts))))
    other = value.copy()
    other[50_000:50_002] = "customer", "0050000-customer-0050001"
    return Input(name, value, equal, other)


def strings() -> Input:
    """A list of 1000 strings of about 40 characters."""
    name, texts = "1000 strings", [f"the quick brown fox jumps {number:06} times" for number in range(1000)]
    other = [*texts[:500], "the lazy dog", *texts[501:]]
    return Input(name, texts, json.loads(json.dumps(texts)), other)


def settings() -> Input:
    """The settings of an experiment, some 100 values; the equal ones were read from a file."""
    name = "nested settings"
    layers = [{"kind": "dense", "units": 2**n, "dropout": n / 20, "tags": ["a", "b"]} for n in range(16)]
    training = {"rate": 3e-4, "steps": 10_000, "shuffle": True, "resume": None}
    value = {"model": {"layers": layers, "seed": 7}, "training": training}
    equal = json.loads(json.dumps(value, sort_keys=True))
    other = copy.deepcopy(equal)
    other["model"]["layers"][8]["units"] += 1
    return Input(name, value, equal, other)


def _measure(given: Input, *, quick: bool) -> Case:
    contenders = [Contender(name, functools.partial(_key, load, given)) for name, load in CONTENDERS.items()]
    if given.bare is not None:
        contenders.append(Contender(BARE, lambda _: Call(xxhash.xxh3_128_digest, given.bare)))
    return measure(given.name, contenders, plan(quick=quick))


def _key(load: Callable[[], Hasher], given: Input, _: ExitStack) -> Call:
    """The hasher, once it has proved itself."""
    hasher = load()
    key = hasher(given.value)
    if hasher(given.other) == key:
        raise WrongAnswerError("WRONG: one key for two values that differ in the middle")
    remark = "" if hasher(given.equal) == key else "but an equal value gets another key"
    return Call(hasher, given.value, remark)


def _mlcache() -> Hasher:
    from mlcache.keys import digest

    return lambda value: digest((value,))


def load_joblib() -> Hasher:
    """Joblib's hasher."""
    import joblib

    return joblib.hash


def load_dask() -> Hasher:
    """Dask's hasher."""
    from dask.tokenize import tokenize

    return tokenize


def _streamlit() -> Hasher:
    from streamlit.runtime.caching.cache_type import CacheType
    from streamlit.runtime.caching.hashing import update_hash

    def hasher(value: Any) -> bytes:
        md5 = hashlib.new("md5", usedforsecurity=False)
        update_hash(value, md5, CacheType.DATA, hash_source=hasher)
        return md5.digest()

    return hasher


def _datasets() -> Hasher:
    from datasets.fingerprint import Hasher as DatasetsHasher

    return DatasetsHasher.hash


def load_pickle() -> Hasher:
    """What many write themselves."""
    return lambda value: hashlib.sha256(pickle.dumps(value, pickle.HIGHEST_PROTOCOL)).digest()


MLCACHE, BARE, JOBLIB, DASK = "mlcache", "bare xxh3-128", "joblib.hash", "dask.tokenize"

CONTENDERS: Mapping[str, Callable[[], Hasher]] = {
    MLCACHE: _mlcache,
    DASK: load_dask,
    JOBLIB: load_joblib,
    "streamlit": _streamlit,
    "datasets.Hasher": _datasets,
    "pickle and sha256": load_pickle,
}

INPUTS: tuple[Callable[[], Input], ...] = (
    image,
    functools.partial(contiguous, 1),
    functools.partial(contiguous, 10),
    functools.partial(contiguous, 100),
    strided,
    *(functools.partial(transposed, dtype) for dtype in ("float64", "float32", "int16", "uint8")),
    functools.partial(transposed, "float32", POWER_OF_TWO),
    channels_last,
    frame,
    wide_frame,
    string_frame,
    string_objects,
    strings,
    settings,
)
