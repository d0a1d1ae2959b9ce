"""Whatever becomes of the bytes of an entry, the call is answered rightly, and without an exception."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlcache import MlcacheWarning, ml_cache, open_backend
from mlcache.backends.protocol import Closes
from tests.redis.servers import Server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture(params=["disk", "joblib", "redis"])
def store(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> Iterator[Any]:
    """A store of bytes; its function's entries can be overwritten."""
    made = open_backend(server.url if request.param == "redis" else f"{request.param}://{tmp_path}/cache")
    yield made
    if isinstance(made, Closes):
        made.close()


def test_every_byte_flipped_and_every_length_cut_is_computed_anew(store: Any) -> None:
    calls: list[int] = []

    @ml_cache(backend=store, name="damaged", ignore=["calls"])
    def answer(x: int) -> dict[str, Any]:
        calls.append(x)
        return {"array": np.arange(x), "text": "right"}

    def is_right() -> bool:
        found = answer(3)
        return bool(found["text"] == "right" and (found["array"] == np.arange(3)).all())

    assert is_right()
    key = answer.cache_key(3)
    whole = bytes(store.get(key))
    damaged = [_flipped(whole, place) for place in range(len(whole))]
    damaged += [whole[:length] for length in range(len(whole))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MlcacheWarning)
        for planted in damaged:
            store.put(key, planted, math.inf)
            assert is_right()
    assert len(calls) == 1 + len(damaged), "and none of it is taken for whole"
    assert answer.cache_info().errors == len(damaged)
    assert is_right()
    assert len(calls) == 1 + len(damaged), "what was computed has taken its place"


def _flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :]
