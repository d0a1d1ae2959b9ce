"""Real parts, together: models in S3, users in a SQL database, uvicorn, and clients over sockets."""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from mlcache.models import (
    CachedModelInfoRepository,
    CachedModelRepository,
    FsspecModelRepository,
    SQLAlchemyModelInfoRepository,
)
from tests.models.guarded import Guard
from tests.models.serving import ask, served
from tests.models.tenants import model, rows

pytest.importorskip("fastapi", reason="fastapi is not installed")
pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed")

from mlcache.models.server import make_app

TENANTS = 200
REQUESTS = 10_000
CLIENTS = 16
FRAMES = 20
"""Different frames that the busiest tenant asks about."""

Question = tuple[int, int]
"""A tenant and the number of one of its frames."""


@pytest.fixture
def infos(tmp_path: Path) -> Iterator[SQLAlchemyModelInfoRepository]:
    """Users in a SQLite file that is not made anew where it is missing, and is opened for each question."""
    from sqlalchemy import NullPool

    file = tmp_path / "infos.db"
    file.touch()
    url = f"sqlite:///file:{file}?mode=rw&uri=true"
    found = SQLAlchemyModelInfoRepository(url, options={"poolclass": NullPool})
    found.create()
    yield found
    found.close()


@asynccontextmanager
async def service(
    models: CachedModelRepository, infos: Any, **options: Any
) -> AsyncIterator[httpx.AsyncClient]:
    app = make_app(models, CachedModelInfoRepository(infos), backend="lru?max_items=20000", **options)
    async with served(app) as client:
        yield client


def user_of(tenant: int) -> str:
    return f"user-{tenant}"


def fill(store: FsspecModelRepository, infos: SQLAlchemyModelInfoRepository, tenants: int) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda tenant: store.put_model(f"model {tenant}", model(tenant)), range(tenants)))
    for tenant in range(tenants):
        infos.put_model_id(user_of(tenant), f"model {tenant}")


def by_zipf(luck: random.Random, count: int) -> list[Question]:
    """The n-th tenant asks 1 / n^1.2 as often as the first, and about 1 / n as many frames."""
    weights = [1 / (rank + 1) ** 1.2 for rank in range(TENANTS)]
    asking = luck.choices(range(TENANTS), weights, k=count)
    return [(tenant, luck.randrange(1 + FRAMES // (tenant + 1))) for tenant in asking]


def frame_of(question: Question) -> pd.DataFrame:
    """What the tenant asks about, as it arrives: its order in memory may change the last digit."""
    return pd.DataFrame(rows(*question).to_dict("list"))


def own_answer(question: Question) -> Any:
    """What the tenant's model says where there is no cache."""
    return model(question[0]).predict(frame_of(question))


async def ask_all(url: str, questions: list[Question]) -> dict[Question, set[str]]:
    """All answers, asked for by many clients at a time: each as the text of its predictions."""
    from aiohttp import ClientSession  # of all clients the one that takes the least time of its own

    left = iter(questions)
    answers: dict[Question, set[str]] = defaultdict(set)

    async def work(session: ClientSession) -> None:
        for question in left:
            async with session.post(f"/predict/{user_of(question[0])}", data=body_of(question)) as answer:
                assert answer.status == 200, await answer.text()
                answers[question].add(json.dumps((await answer.json())["predictions"]))

    async with ClientSession(url) as session:
        await asyncio.gather(*(work(session) for _ in range(CLIENTS)))
    return answers


@functools.cache
def body_of(question: Question) -> bytes:
    return json.dumps({"columns": frame_of(question).to_dict("list")}).encode()


def lease_in_a_thread(models: CachedModelRepository, seed: int) -> list[tuple[Question, Any]]:
    found = []
    for question in by_zipf(random.Random(seed), 50):
        with models.lease(f"model {question[0]}") as leased:
            found.append((question, leased.predict(frame_of(question))))
    return found


@pytest.mark.timeout(480)  # about a minute where nobody else computes
@pytest.mark.filterwarnings("ignore:.*brought back:mlcache.errors.MlcacheWarning")
async def test_two_hundred_tenants_in_the_room_of_twenty(
    s3_process: tuple[Any, str], infos: SQLAlchemyModelInfoRepository
) -> None:
    server, url = s3_process
    store = FsspecModelRepository(url, storage_options=server.options)
    fill(store, infos, TENANTS)
    largest = max(model(tenant).size() for tenant in range(8))
    guard, room = Guard(store), 13 * largest
    with CachedModelRepository(guard, max_models=20, max_bytes=room, check_every=None) as models:
        async with service(models, infos, ttl="1h") as client:
            leasing = asyncio.gather(*(asyncio.to_thread(lease_in_a_thread, models, seed) for seed in (1, 2)))
            answers = await ask_all(str(client.base_url), by_zipf(random.Random(0), REQUESTS))
            leased = await leasing
        assert models.info().leased == 0
        assert models.info().loads == sum(guard.loads.values()) > TENANTS
    store.close()
    assert {question: {json.dumps(own_answer(question).tolist())} for question in answers} == answers
    for question, found in [each for thread in leased for each in thread]:
        assert np.array_equal(found, own_answer(question))
    assert guard.misuses == []
    assert 12 < guard.most_models <= 20
    # What a model takes is known after its first load: one that takes more than was set aside is over the
    # bound until another one has gone for it.
    assert 0.8 * room < guard.most_bytes <= room + largest
    assert (guard.models, guard.bytes) == (0, 0)


@pytest.mark.filterwarnings("ignore:.*brought back:mlcache.errors.MlcacheWarning")
async def test_a_new_version_uploaded_under_load_takes_over_whole(
    s3_process: tuple[Any, str], infos: SQLAlchemyModelInfoRepository
) -> None:
    server, url = s3_process
    store = FsspecModelRepository(url, storage_options=server.options)
    fill(store, infos, 2)
    trained = [model(number) for number in (0, 4, 8, 12, 16)]  # of the same data, one after another
    guard = Guard(store)
    with CachedModelRepository(guard, max_models=3, check_every="20ms") as models:
        async with service(models, infos, ttl="1h") as client:
            clients = [Client(client) for _ in range(4)]
            versions = {models.describe("model 0").version: trained[0]}
            for newer in [None, *trained[1:]]:
                if newer is not None:
                    versions[await asyncio.to_thread(store.put_model, "model 0", newer)] = newer
                for each in clients:
                    await until(lambda: each.has_seen([*versions][-1]))  # noqa: B023 - awaited at once
            for each in clients:
                await each.end()
    store.close()
    for each in clients:
        told = [version for version, _, _ in each.answers]
        assert told == sorted(told, key=[*versions].index)
        assert set(told) == set(versions)
        for version, frame, said in set(each.answers):
            assert said == json.dumps(versions[version].predict(frame_of((0, frame))).tolist())
    assert guard.misuses == []
    assert guard.loads["model 0"] == len(versions)


class Client:
    """It goes on asking as tenant 0, the same few questions over and over."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.answers: list[tuple[str, int, str]] = []
        self._client = client
        self._stop = False
        self._task = asyncio.create_task(self._go_on())

    async def _go_on(self) -> None:
        while not self._stop:
            frame = len(self.answers) % 2
            answer = await ask(self._client, user_of(0), rows(0, frame))
            assert answer.status_code == 200, answer.text
            told = answer.json()
            self.answers.append((told["version"], frame, json.dumps(told["predictions"])))

    async def has_seen(self, version: str) -> bool:
        assert not self._task.done(), self._task.exception()
        return bool(self.answers) and self.answers[-1][0] == version

    async def end(self) -> None:
        self._stop = True
        await self._task


async def until(what: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await what():
            await asyncio.sleep(0.01)


class Traffic:
    """A client that goes on asking as tenants 0 and 1, and counts what it gets."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.statuses: Counter[int] = Counter()
        self._client = client
        self._task = asyncio.create_task(self._go_on())

    async def _go_on(self) -> None:
        for number in itertools.count():
            frame = rows(number % 2, number // 2) + number / 1e6  # none is asked for twice
            self.statuses[(await ask(self._client, user_of(number % 2), frame)).status_code] += 1

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def comes_back(client: httpx.AsyncClient, tenant: int) -> None:
    """Asks as an honest client does, when it was told to."""

    async def asked() -> bool:
        answer = await ask(client, user_of(tenant), rows(tenant, 0))
        if answer.status_code == 200:
            return bool(answer.json()["predictions"] == own_answer((tenant, 0)).tolist())
        assert answer.status_code == 503
        await asyncio.sleep(int(answer.headers["retry-after"]))
        return False

    await until(asked)


async def test_s3_and_the_database_stopped_in_the_middle(
    own_s3: tuple[Any, str], infos: SQLAlchemyModelInfoRepository, tmp_path: Path
) -> None:
    server, url = own_s3
    store = FsspecModelRepository(url, storage_options=server.options)
    fill(store, infos, 4)
    with CachedModelRepository(store, check_every="20ms") as models:
        async with service(models, infos) as client:
            for tenant in (0, 1):
                assert (await ask(client, user_of(tenant), rows(tenant, 0))).status_code == 200
            traffic = Traffic(client)

            await asyncio.to_thread(server.stop)
            await refused(client, 2, "store")
            await asyncio.to_thread(server.start)
            await comes_back(client, 2)

            (tmp_path / "infos.db").rename(tmp_path / "away.db")
            await refused(client, 3, "database")
            (tmp_path / "away.db").rename(tmp_path / "infos.db")
            await comes_back(client, 3)

            assert (await client.get("/health/ready")).json()["status"] == "ok"
            await traffic.end()
    store.close()
    assert set(traffic.statuses) == {200}
    assert traffic.statuses[200] > 20


async def refused(client: httpx.AsyncClient, tenant: int, part: str) -> None:
    """While a part is down, who needs it is told when to come back, and the server stays in service."""
    for _ in range(3):
        lost = await ask(client, user_of(tenant), rows(tenant, 0))
        assert lost.status_code == 503
        assert int(lost.headers["retry-after"]) >= 1
        assert lost.headers["cache-control"] == "no-store"
    ready = await client.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json()["status"] == "degraded"
    assert ready.json()[part] == "down"


async def test_postgres_stopped_in_the_middle(tmp_path: Path, postgres: Any) -> None:
    infos = SQLAlchemyModelInfoRepository(postgres.url, table="outage")
    infos.create()
    store = FsspecModelRepository(tmp_path / "models")
    (tmp_path / "models").mkdir()
    fill(store, infos, 4)
    with CachedModelRepository(store) as models:
        async with service(models, infos) as client:
            for tenant in (0, 1):
                assert (await ask(client, user_of(tenant), rows(tenant, 0))).status_code == 200
            traffic = Traffic(client)
            await asyncio.to_thread(postgres.stop)
            try:
                await refused(client, 3, "database")
            finally:
                await asyncio.to_thread(postgres.start)
            await comes_back(client, 3)
            await traffic.end()
    infos.close()
    assert set(traffic.statuses) == {200}
