"""Threads and tasks at once, more models than room, changing versions: the promises hold at each moment."""

from __future__ import annotations

import asyncio
import random
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from mlcache.models import CachedModelRepository
from tests.models.samples import Store, cached

SIZES = {str(number): 50 + 37 * (number % 7) for number in range(40)}
ROWS = np.array([0.5, 1.5])


def _popular(luck: random.Random) -> str:
    return str(min(int(luck.paretovariate(0.8)) - 1, 39))


def _ask(models: CachedModelRepository, seed: int, count: int) -> None:
    luck = random.Random(seed)
    for _ in range(count):
        model_id = _popular(luck)
        lease = models.lease(model_id)
        with lease as model:
            assert model.seen_version == lease.version  # type: ignore[attr-defined]
            assert (model.predict(ROWS) == ROWS + float(model_id)).all()
            if luck.random() < 0.1:
                _ask_within(models, luck)


def _ask_within(models: CachedModelRepository, luck: random.Random) -> None:
    model_id = str(luck.randrange(3))
    with models.lease(model_id) as model:
        assert (model.predict(ROWS) == ROWS + float(model_id)).all()


async def _ask_async(models: CachedModelRepository, seed: int, count: int) -> None:
    luck = random.Random(seed)
    for _ in range(count):
        model_id = _popular(luck)
        async with models.lease(model_id) as model:
            with model.used():  # type: ignore[attr-defined]
                await asyncio.sleep(0)
            assert (model.predict(ROWS) == ROWS + float(model_id)).all()


def _disturb(models: CachedModelRepository, store: Store, stop: threading.Event) -> None:
    luck = random.Random(0)
    number = 1
    while not stop.wait(0.001):
        model_id = _popular(luck)
        number += 1
        store.versions[model_id] = str(number)
        luck.choice([models.refresh, models.evict, models.refresh])(model_id)


@pytest.mark.parametrize("policy", ["lru", "lfu", "gdsf"])
@pytest.mark.filterwarnings("ignore:.*brought back:mlcache.errors.MlcacheWarning")
def test_the_promises_hold_under_threads_tasks_and_changes(policy: str) -> None:
    store = Store(dict(SIZES))
    stop = threading.Event()
    pause = threading.Event()
    store.before_load = lambda _: pause.wait(0.0005)
    with cached(store, max_bytes=2500, max_models=16, policy=policy) as models, ThreadPoolExecutor(9) as pool:
        disturbing = pool.submit(_disturb, models, store, stop)
        asking: list[Future[Any]] = [pool.submit(_ask, models, seed, 300) for seed in range(6)]

        async def tasks() -> list[Any]:
            return await asyncio.gather(*(_ask_async(models, 100 + seed, 100) for seed in range(8)))

        looping = pool.submit(asyncio.run, tasks())
        asking.append(looping)
        for each in asking:
            each.result(60)
        stop.set()
        disturbing.result(10)
        assert models.info().leased == 0
        assert (models.info().bytes, models.info().models) == (store.bytes, len(store.alive))
        assert store.most_bytes <= 2500
        assert store.most_models <= 16
        assert models.info().evictions > 50
    assert not store.alive
    assert store.bytes == 0


@pytest.mark.filterwarnings("ignore:.*brought back:mlcache.errors.MlcacheWarning")
def test_without_changes_no_model_is_loaded_twice_at_a_time() -> None:
    store = Store(dict(SIZES))
    pause = threading.Event()
    store.before_load = lambda _: pause.wait(0.0005)
    with cached(store, max_models=8) as models, ThreadPoolExecutor(8) as pool:
        for each in [pool.submit(_ask, models, seed, 200) for seed in range(8)]:
            each.result(60)
        assert store.doubled == []
        assert sum(store.loads.values()) == models.info().loads
        assert store.most_loading > 1
