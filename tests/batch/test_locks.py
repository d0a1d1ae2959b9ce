"""Batches on stores that have no lock for a key: nobody is waited for who is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from dogpile.cache import make_region

from mlcache import ml_cache
from mlcache.drive import ACTIONS, AWAITED
from mlcache.steps import Pause

INNER: dict[str, Any] = {}
"""Here, as what is in a closure tells functions apart."""


@pytest.fixture(autouse=True)
def nobody_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(step: Pause, _: object) -> Any:
        pytest.fail(f"it waits {step.seconds} s for somebody else")

    for actions in (ACTIONS, AWAITED):
        monkeypatch.setitem(cast("dict[Any, Any]", actions), Pause, fail)


@pytest.fixture(params=["no mutex", "broken folder"])
def lockless(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A store without locks: a region that has none, and a folder that cannot be made."""
    if request.param == "no mutex":
        return make_region().configure("dogpile.cache.memory")
    (tmp_path / "file").touch()
    return f"disk://{tmp_path / 'file' / 'folder'}"


@pytest.mark.filterwarnings("ignore::mlcache.MlcacheWarning")
def test_batches_and_single_items_wait_for_nobody(lockless: Any) -> None:
    cached = ml_cache(backend=lockless, batch="numbers")(lambda numbers: [-number for number in numbers])
    assert cached([1, 2]) == [-1, -2]
    assert cached.one(3) == -3


@pytest.mark.filterwarnings("ignore::mlcache.MlcacheWarning")
async def test_nor_do_they_on_an_event_loop(lockless: Any) -> None:
    @ml_cache(backend=lockless, batch="numbers")
    async def cached(numbers: list[int]) -> list[int]:
        return [-number for number in numbers]

    assert await cached([1, 2]) == [-1, -2]
    assert await cached.one(3) == -3


def test_a_namesake_called_from_within_does_not_wait_for_the_lock_of_the_one_around_it(
    tmp_path: Path,
) -> None:
    options: dict[str, Any] = {"backend": f"disk://{tmp_path}", "name": "both", "version": "1"}
    INNER["cached"] = ml_cache(batch="numbers", **options)(lambda numbers: [-number for number in numbers])
    outer: Any = ml_cache(batch="numbers", **options)(lambda numbers: list(INNER["cached"](numbers)))
    assert outer([1, 2]) == [-1, -2]
    for cached in (INNER.pop("cached"), outer):
        cached._actions.cache.store.close()
