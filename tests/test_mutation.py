"""``MLCACHE_CHECK=mutation``: functions that change their arguments are told of."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from mlcache import MlcacheWarning, ml_cache
from mlcache.keys import digest


@pytest.fixture(autouse=True)
def _checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLCACHE_CHECK", "mutation")


def normalise(values: Any, scale: float = 1.0, log: Any = None) -> float:
    """Change ``values`` and, if there is one, ``log``."""
    values -= values.mean()
    if log is not None:
        log.append(scale)
    return float(values.sum())


def test_the_function_and_each_changed_parameter_are_named() -> None:
    cached = ml_cache(normalise)
    with pytest.warns(MlcacheWarning) as caught:
        cached(np.arange(3.0), 2.0, [])
    told = [str(warning.message) for warning in caught]
    assert len(told) == 2
    for parameter, message in zip(("values", "log"), told, strict=True):
        assert message.startswith(f"{__name__}.normalise@")
        assert f"changes its argument {parameter!r}" in message


def test_it_is_told_once_and_looked_at_only_where_the_function_ran() -> None:
    cached = ml_cache(normalise)
    with pytest.warns(MlcacheWarning, match="'values'"):
        cached(np.arange(3.0))
    cached(np.arange(3.0))
    cached(np.arange(4.0))
    assert cached.cache_info()[:2] == (1, 2)


def test_what_does_not_count_in_the_key_may_change() -> None:
    cached = ml_cache(ignore="log", key={"values": len})(normalise)
    assert cached(np.arange(3.0), log=[]) == 0


def test_an_argument_that_can_no_longer_be_keyed_has_changed() -> None:
    @ml_cache
    def put(where: list[Any]) -> int:
        where.append(iter([]))
        return 1

    with pytest.warns(MlcacheWarning, match="'where'"):
        put([])


async def test_coroutine_functions_are_watched_until_they_end() -> None:
    @ml_cache
    async def fill(where: list[int]) -> int:
        where.append(1)
        return 1

    with pytest.warns(MlcacheWarning, match="'where'"):
        await fill([])
    with pytest.warns(MlcacheWarning, match="'values'"):
        await ml_cache(normalise).aio(np.arange(3.0))


def test_what_changes_nothing_is_not_told_of() -> None:
    @ml_cache
    def total(values: Any, marker: object = object()) -> float:
        return float(values.sum()) if marker else 0.0

    assert total(np.arange(3.0)) == 3.0


@pytest.mark.parametrize("said", ["none", None])
def test_it_is_off_unless_asked_for(said: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if said is None:
        monkeypatch.delenv("MLCACHE_CHECK")
    else:
        monkeypatch.setenv("MLCACHE__NORMALISE__CHECK", said)
    made: list[object] = []

    def noted(value: object) -> bytes:
        made.append(value)
        return digest(value)

    monkeypatch.setattr("mlcache.mutation.digest", noted)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ml_cache(normalise)(np.arange(3.0))
    assert made == []
