from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from mlcache import Batch, Expiry
from mlcache.errors import (
    ConfigurationError,
    ModelInputError,
    ModelStoreError,
    UnknownUserError,
    UntrustedModelError,
)
from mlcache.models import (
    CachedModelInfoRepository,
    CachedModelRepository,
    CallableModel,
    FsspecModelRepository,
    concat_rows,
)
from tests.models.samples import Store, a_store, cached
from tests.models.serving import ask, served
from tests.models.tenants import model, rows

pytest.importorskip("fastapi", reason="fastapi is not installed")

from mlcache.keys import digest
from mlcache.models.bodies import frame_from
from mlcache.models.server import make_app

FRAME = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})


class Users:
    """Each user's model has the user's name."""

    def __init__(self) -> None:
        self.is_down = False
        self.asked = 0

    def get_model_id(self, user_id: str, /) -> str:
        self.asked += 1
        if self.is_down:
            raise ModelStoreError("the database at 10.0.0.1 is down")
        if user_id.startswith("nobody"):
            raise UnknownUserError(user_id)
        return user_id

    def ping(self) -> None:
        self.get_model_id("0")


@asynccontextmanager
async def service(
    models: CachedModelRepository, infos: Any = None, **options: Any
) -> AsyncIterator[httpx.AsyncClient]:
    options = {"backend": "lru?max_items=1000", **options}
    async with served(make_app(models, infos or Users(), **options)) as client:
        yield client


@pytest.fixture
def store() -> Store:
    return a_store(5)


@pytest.fixture
def models(store: Store) -> Iterator[CachedModelRepository]:
    with cached(store) as found:
        yield found


async def test_a_prediction_is_the_models_own_and_then_cached(models: CachedModelRepository) -> None:
    async with service(models, ttl="10m") as client:
        first = await ask(client, "3", FRAME)
        assert first.status_code == 200
        right = (FRAME.to_numpy() + 3).tolist()
        assert first.json() == {"model_id": "3", "version": "1", "predictions": right}
        assert first.headers["x-cache"] == "miss"
        again = await ask(client, "3", FRAME)
        assert again.content == first.content
        assert again.headers["x-cache"] == "hit"
        assert 590 <= int(again.headers["cache-control"].removeprefix("max-age=")) <= 600
        assert again.headers["expires"] == first.headers["expires"]
        ends = parsedate_to_datetime(again.headers["expires"]) - parsedate_to_datetime(again.headers["date"])
        assert 590 <= ends.total_seconds() <= 601  # Date is a moment older than the answer
        other = await ask(client, "4", FRAME)
        assert other.json()["predictions"] == (FRAME.to_numpy() + 4).tolist()


async def test_records_and_columns_are_the_same_rows(models: CachedModelRepository) -> None:
    async with service(models) as client:
        await ask(client, "3", FRAME)
        records = await client.post("/predict/3", json={"records": FRAME.to_dict("records")})
        assert records.headers["x-cache"] == "hit"


async def test_a_known_prediction_needs_no_model(store: Store) -> None:
    with cached(store, max_models=1) as models:
        async with service(models) as client:
            for user in "0123":
                await ask(client, user, FRAME)
            for user in "0123":
                assert (await ask(client, user, FRAME)).headers["x-cache"] == "hit"
        assert set(store.loads.values()) == {1}


async def test_a_new_version_is_not_answered_with_predictions_of_the_older(
    store: Store, models: CachedModelRepository
) -> None:
    async with service(models) as client:
        await ask(client, "3", FRAME)
        store.versions["3"] = "2"
        models.refresh("3")
        answer = await ask(client, "3", FRAME)
        assert answer.json()["version"] == "2"
        assert answer.headers["x-cache"] == "miss"


async def test_many_who_ask_the_same_get_one_computation(store: Store, models: CachedModelRepository) -> None:
    async with service(models) as client:
        answers = await asyncio.gather(*(ask(client, "3", FRAME) for _ in range(20)))
        assert {answer.content for answer in answers} == {answers[0].content}
        text = (await client.get("/metrics")).text
        assert 'mlcache_predictions_total{status="miss"} 1.0' in text
    assert store.loads == {"3": 1}


BAD = {
    "no JSON": b"{",
    "no text": b"\xff\xfe",
    "nothing": b"",
    "a number": b"1",
    "a list": b"[1, 2]",
    "another object": b'{"rows": []}',
    "no records": b'{"records": []}',
    "empty records": b'{"records": [{}]}',
    "unlike records": b'{"records": [{"a": 1}, {"b": 1}]}',
    "no columns": b'{"columns": {}}',
    "columns without rows": b'{"columns": {"a": []}}',
    "columns of unlike length": b'{"columns": {"a": [1], "b": [1, 2]}}',
    "a column that is no list": b'{"columns": {"a": 1}}',
    "nested values": b'{"columns": {"a": [[1]]}}',
    "too many rows": json.dumps({"columns": {"a": [1] * 101}}).encode(),
    "deep nesting": b"[" * 100_000,
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD.keys())
async def test_a_bad_body_is_told_what_is_wrong(body: bytes, models: CachedModelRepository) -> None:
    async with service(models, max_rows=100) as client:
        answer = await client.post("/predict/3", content=body)
        assert answer.status_code == 422
        assert len(answer.json()["detail"]) > 10
        assert answer.headers["cache-control"] == "no-store"
        assert (await ask(client, "3", FRAME)).status_code == 200


async def test_rows_that_the_model_does_not_take_are_the_clients_mistake(tmp_path: Path) -> None:
    store = FsspecModelRepository(tmp_path)
    store.put_model("0", model(0))
    with CachedModelRepository(store) as models:
        async with service(models) as client:
            answer = await ask(client, "0", rows(0, 0).drop(columns="petal width (cm)"))
            assert answer.status_code == 422
            assert "lacks petal width (cm)" in answer.json()["detail"]
            assert (await ask(client, "0", rows(0, 0))).status_code == 200


async def test_a_body_that_is_too_large_is_not_read(models: CachedModelRepository) -> None:
    async def undeclared() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 500
            await asyncio.sleep(0)

    async with service(models, max_body="1KiB") as client:
        declared = await client.post("/predict/3", content=b" " * 1025)
        assert declared.status_code == 413
        try:
            streamed = await client.post("/predict/3", content=undeclared())
        except httpx.TransportError:  # the server has hung up, as it may
            pass
        else:
            assert streamed.status_code == 413
        assert (await ask(client, "3", FRAME)).status_code == 200


async def test_a_large_or_wide_body_is_read_and_keyed_beside_the_loop(
    models: CachedModelRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_in: list[threading.Thread] = []
    keyed_in: list[threading.Thread] = []

    def noting(columns: Any) -> Any:
        read_in.append(threading.current_thread())
        return frame_from(columns)

    def noting_keys(value: Any, prefix: bytes = b"") -> bytes:
        keyed_in.append(threading.current_thread())
        return digest(value, prefix)

    monkeypatch.setattr("mlcache.models.server.frame_from", noting)
    monkeypatch.setattr("mlcache.keys.digest", noting_keys)
    here = threading.current_thread()
    large, wide = pd.concat([FRAME] * 5000), pd.DataFrame([[1.0] * 60])
    for batch in (None, Batch("frame")):
        async with service(models, batch=batch) as client:
            for frame, beside in ((FRAME, False), (large, False), (wide, True), (wide, True)):
                keyed_in.clear()
                answer = await ask(client, "3", frame)
                assert answer.json()["predictions"] == (frame.to_numpy() + 3).tolist()
                assert (here in keyed_in) is not beside
            assert answer.headers["x-cache"] == "hit"
            assert (await client.post("/predict/3", content=b"[" * 100_000)).status_code == 422
    assert [thread is here for thread in read_in] == [True, False, False, False] * 2


async def test_more_columns_than_may_be_are_refused_before_a_frame_is_made(
    models: CachedModelRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlcache.models.server.frame_from", None)
    row = {str(number): 1 for number in range(1001)}
    async with service(models) as client:
        for body in ({"records": [row]}, {"columns": {name: [value] for name, value in row.items()}}):
            answer = await client.post("/predict/3", json=body)
            assert answer.status_code == 422
            assert answer.json() == {"detail": "the body has 1001 columns: give 1 to 1000"}


async def test_a_large_answer_is_written_beside_the_loop(
    models: CachedModelRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlcache.models.replies import _listed

    written_in: list[threading.Thread] = []

    def noting(values: Any) -> Any:
        written_in.append(threading.current_thread())
        return _listed(values)

    monkeypatch.setattr("mlcache.models.replies._listed", noting)
    large = pd.concat([FRAME] * 4000)
    async with service(models) as client:
        for frame in (FRAME, large, large):
            answer = await ask(client, "3", frame)
            assert answer.json()["predictions"] == (frame.to_numpy() + 3).tolist()
    here = threading.current_thread()
    assert [thread is here for thread in written_in] == [True, False, False]


@pytest.mark.parametrize("user", ["nobody", "9", "a/b/c", "%00"])
async def test_who_is_unknown_gets_404(user: str, models: CachedModelRepository) -> None:
    async with service(models) as client:
        answer = await ask(client, user, FRAME)
        assert answer.status_code == 404
        assert answer.json() == {"detail": "there is no model for this user"}


async def test_a_store_that_is_down_is_503_for_those_who_need_it(
    store: Store, models: CachedModelRepository
) -> None:
    async with service(models) as client:
        await ask(client, "3", FRAME)
        store.is_down = True
        for _ in range(3):
            lost = await ask(client, "4", FRAME)
            assert lost.status_code == 503
            assert int(lost.headers["retry-after"]) >= 1
            assert "down" not in lost.text
            assert (await ask(client, "3", FRAME + 1)).status_code == 200
        store.is_down = False
        models._gate._closed_until = 0.0
        assert (await ask(client, "4", FRAME)).status_code == 200


async def test_a_database_that_is_down_is_503_for_who_is_not_known(models: CachedModelRepository) -> None:
    users = Users()
    async with service(models, CachedModelInfoRepository(users)) as client:
        await ask(client, "3", FRAME)
        users.is_down = True
        assert (await ask(client, "3", FRAME + 1)).status_code == 200
        lost = await ask(client, "4", FRAME)
        assert lost.status_code == 503
        assert lost.headers["retry-after"] == "1"
        assert "10.0.0.1" not in lost.text


async def test_a_model_that_may_not_be_loaded_is_no_matter_of_the_client(
    store: Store, models: CachedModelRepository
) -> None:
    def refuse(_: str) -> None:
        raise UntrustedModelError("it holds os.system")

    store.before_load = refuse
    async with service(models) as client:
        answer = await ask(client, "3", FRAME)
        assert answer.status_code == 500
        assert "os.system" not in answer.text


WRONG_ANSWERS: dict[str, Any] = {
    "too few": np.zeros(1),
    "one number": 3.0,
    "nothing": None,
    "of another kind": {"a": 1},
}


@pytest.mark.parametrize("wrong", WRONG_ANSWERS.values(), ids=WRONG_ANSWERS.keys())
async def test_a_model_that_does_not_answer_each_row_is_not_passed_on(
    wrong: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Careless:
        def get_model(self, _: str, /) -> CallableModel:
            return CallableModel(lambda _: wrong, size=10)

    with CachedModelRepository(Careless()) as models:
        async with service(models) as client:
            for _ in range(2):
                answer = await ask(client, "3", FRAME)
                assert answer.status_code == 500
                assert answer.json() == {"detail": "the model of this user has failed"}
                assert answer.headers["cache-control"] == "no-store"
    assert "model '3' answered 2 rows with a" in caplog.text


async def test_a_model_that_fails_is_told_to_the_operator_and_not_to_the_client(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Failing:
        def get_model(self, _: str, /) -> CallableModel:
            return CallableModel({}.__getitem__, size=10)

    with CachedModelRepository(Failing()) as models:
        async with service(models) as client:
            answer = await ask(client, "3", FRAME)
            assert (answer.status_code, answer.headers["content-type"]) == (500, "application/json")
            text = (await client.get("/metrics")).text
            assert 'mlcache_request_seconds_count{status="500"} 1.0' in text
    assert "Traceback" in caplog.text


async def test_who_hangs_up_while_sending_is_no_failure(
    models: CachedModelRepository, caplog: pytest.LogCaptureFixture
) -> None:
    async with service(models) as client:
        _, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        writer.write(b"POST /predict/3 HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        async with asyncio.timeout(10):
            while 'status="400"' not in (await client.get("/metrics")).text:
                await asyncio.sleep(0)
    assert "failed" not in caplog.text


async def test_moments_are_answered_as_text() -> None:
    class Forecast:
        def get_model(self, _: str, /) -> CallableModel:
            return CallableModel(lambda _: np.array(["2026-01-02", "NaT"], "datetime64[ns]"), size=10)

    with CachedModelRepository(Forecast()) as models:
        async with service(models) as client:
            answer = await ask(client, "3", FRAME)
            assert answer.json()["predictions"] == ["2026-01-02T00:00:00", None]


async def test_metrics_can_be_parsed_while_requests_come(models: CachedModelRepository) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    async with service(models) as client:
        asking = [asyncio.create_task(ask(client, str(number % 5), FRAME + number)) for number in range(60)]
        scraped = []
        while not all(task.done() for task in asking):
            scraped.append((await client.get("/metrics")).text)
        scraped.append((await client.get("/metrics")).text)
    loads = []
    for text in scraped:
        samples = {s.name: s.value for family in text_string_to_metric_families(text) for s in family.samples}
        assert samples["mlcache_models_models"] <= 5
        loads.append(samples["mlcache_models_loads_total"])
    assert loads == sorted(loads)
    assert loads[-1] == 5


async def test_no_room_is_503(store: Store) -> None:
    with cached(store, max_models=1, wait="20ms") as models, models.lease("0"):
        async with service(models) as client:
            assert (await ask(client, "3", FRAME)).status_code == 503


async def test_health_says_what_is_down_and_whether_it_can_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    store, users = FsspecModelRepository(folder), Users()
    store.put_model("0", model(0))
    with CachedModelRepository(store) as models:
        async with service(models, users) as client:
            assert (await client.get("/health/live")).json() == {"status": "ok"}
            ready = await client.get("/health/ready")
            assert ready.status_code == 200
            assert ready.json() == {"status": "ok", "store": "ok", "database": "ok"}
            users.is_down = True
            ready = await client.get("/health/ready")
            assert (ready.status_code, ready.json()["status"]) == (503, "down")
            users.is_down = False
            await ask(client, "0", rows(0, 0))
            folder.rename(tmp_path / "away")
            ready = await client.get("/health/ready")
            assert (ready.status_code, ready.json()["store"]) == (200, "down")
            assert ready.json()["status"] == "degraded"


async def test_a_ping_that_raises_what_it_likes_says_that_the_store_is_down() -> None:
    class Refused(Store):
        def ping(self) -> None:
            raise ConnectionRefusedError

    with cached(Refused({})) as models:
        async with service(models) as client:
            ready = await client.get("/health/ready")
            assert ready.status_code == 503
            assert ready.json() == {"status": "down", "store": "down", "database": "ok"}


async def test_metrics_count_what_happened(models: CachedModelRepository) -> None:
    async with service(models) as client:
        for user in ("3", "3", "4", "nobody"):
            await ask(client, user, FRAME)
        text = (await client.get("/metrics")).text
        for line in (
            "mlcache_models_models 2.0",
            "mlcache_models_loads_total 2.0",
            "mlcache_models_bytes 200.0",
            'mlcache_predictions_total{status="miss"} 2.0',
            'mlcache_request_seconds_count{status="200"} 3.0',
            'mlcache_request_seconds_count{status="404"} 1.0',
            "mlcache_models_store_is_down 0.0",
        ):
            assert line in text, line


async def test_the_schema_tells_what_to_send(models: CachedModelRepository) -> None:
    async with service(models) as client:
        schema = (await client.get("/openapi.json")).json()
        codes = set(schema["paths"]["/predict/{user_id}"]["post"]["responses"])
        assert codes == {"200", "404", "413", "422", "500", "503"}


async def test_a_request_that_is_given_up_does_not_pull_the_model_away() -> None:
    free, started, seen = threading.Event(), threading.Event(), []

    class Slow:
        def get_model(self, _: str, /) -> CallableModel:
            closed = threading.Event()

            def predict(frame: Any) -> Any:
                started.set()
                free.wait(10)
                seen.append(closed.is_set())
                return np.zeros(len(frame))

            return CallableModel(predict, size=10, close=closed.set)

    from mlcache.models.predictions import Predictor

    with CachedModelRepository(Slow(), max_models=1) as models:
        predictor = Predictor(models, Users(), backend="lru?max_items=10")
        request = asyncio.create_task(predictor.predict("0", FRAME))
        while not started.is_set():
            await asyncio.sleep(0.001)
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
        models.evict("0")
        free.set()
        await predictor.settle()
    assert seen == [False]


async def test_single_rows_that_come_together_are_computed_together() -> None:
    calls: list[int] = []

    class Counting:
        def get_model(self, model_id: str, /) -> CallableModel:
            def predict(frame: Any) -> Any:
                calls.append(len(frame))
                return frame["a"].to_numpy() + float(model_id)

            return CallableModel(predict, size=10)

    with CachedModelRepository(Counting()) as models:
        batch = Batch("frame", max_size=64, max_wait="50ms", collate=pd.concat)
        async with service(models, batch=batch) as client:
            frames = [pd.DataFrame({"a": [float(number)]}) for number in range(20)]
            answers = await asyncio.gather(*(ask(client, "7", frame) for frame in frames))
            found = [answer.json()["predictions"] for answer in answers]
            assert found == [[number + 7.0] for number in range(20)]
            assert sum(calls) == 20
            assert len(calls) < 10
            many = await ask(client, "7", pd.concat(frames))
            assert many.headers["x-cache"] == "hit"
            assert sum(calls) == 20


ALONE: list[dict[str, list[float]]] = [
    {"a": [1.0], "b": [2.0]},
    {"b": [5.0], "a": [6.0]},  # by their places, b comes first
    {"a": [2**53 + 1], "b": [0]},  # which is no float
]


@pytest.mark.parametrize("batch", [Batch("frame", max_wait="50ms"), Batch("frame", collate=concat_rows)])
async def test_a_row_is_answered_in_a_batch_as_it_is_alone(batch: Batch) -> None:
    class ByPlace:
        def get_model(self, _: str, /) -> CallableModel:
            return CallableModel(lambda frame: frame.to_numpy() @ np.array([1, 100]), size=10)

    with CachedModelRepository(ByPlace()) as models:
        async with service(models) as client:
            alone = [await client.post("/predict/7", json={"columns": row}) for row in ALONE]
        async with service(models, batch=batch) as client:
            asking = (client.post("/predict/7", json={"columns": row}) for row in ALONE)
            together = await asyncio.gather(*asking)
    found = [answer.json()["predictions"] for answer in together]
    assert found == [answer.json()["predictions"] for answer in alone] == [[201], [605], [2**53 + 1]]


@pytest.mark.parametrize("answer", [lambda row: row["a"], lambda row: row.to_numpy(), lambda row: row * 2])
@pytest.mark.parametrize("backend", ["lru?max_bytes=1", "lru?max_items=9"])
@pytest.mark.filterwarnings("ignore:.*does not fit into the 1 B")
async def test_a_single_row_is_predicted_once_whether_it_is_kept_or_not(answer: Any, backend: str) -> None:
    calls: list[int] = []

    class Counting:
        def get_model(self, _: str, /) -> CallableModel:
            def predict(frame: Any) -> Any:
                calls.append(len(frame))
                return answer(frame)

            return CallableModel(predict, size=10)

    row = FRAME.iloc[[0]]
    right = np.asarray(answer(row)).tolist()
    with CachedModelRepository(Counting()) as models:
        async with service(models, batch=Batch("frame"), backend=backend) as client:
            first = await ask(client, "7", row)
            assert first.json()["predictions"] == right
            assert first.headers["x-cache"] == "miss"
            assert first.headers["cache-control"].startswith("max-age=" if "items" in backend else "no-store")
            assert calls == [1]


async def test_rows_that_are_refused_in_a_batch_are_the_mistake_of_whoever_sent_them() -> None:
    class Lenient:
        """Its model takes missing values, but no frame without a column."""

        def get_model(self, _: str, /) -> CallableModel:
            def predict(frame: Any) -> Any:
                if "b" not in frame.columns:
                    raise ModelInputError("the frame lacks b")
                return frame["a"].to_numpy() + 1

            return CallableModel(predict, size=10)

    good = [FRAME.iloc[[0]] + number for number in range(5)]
    lacking = good[0][["a"]]
    with CachedModelRepository(Lenient()) as models:
        batch = Batch("frame", max_size=64, max_wait="100ms", collate=concat_rows)
        async with service(models, batch=batch) as client:
            answers = await asyncio.gather(*(ask(client, "7", each) for each in [*good, lacking]))
    told = [answer.json() for answer in answers]
    assert [each["predictions"] for each in told[:5]] == [[number + 2.0] for number in range(5)]
    assert told[5] == {"detail": "the frame lacks b"}


async def test_predictions_in_worker_processes_are_the_same(tmp_path: Path) -> None:
    from mlcache.offload.pool import Pool

    store = FsspecModelRepository(tmp_path)
    store.put_model("0", model(0))
    batch, single = Batch("frame", max_size=64, max_wait="20ms", collate=concat_rows), rows(0, 0, 20)
    with Pool(1) as pool, CachedModelRepository(store) as models:
        async with service(models, offload=pool) as client:
            answer = await ask(client, "0", rows(0, 0))
            with models.lease("0") as loaded:
                assert answer.json()["predictions"] == loaded.predict(rows(0, 0)).tolist()
                right = loaded.predict(single)
        async with service(models, offload=pool, batch=batch, name="in batches") as client:
            for status in ("miss", "hit"):
                asking = (ask(client, "0", single.iloc[[number]]) for number in range(20))
                answers = await asyncio.gather(*asking)
                assert {each.headers["x-cache"] for each in answers} == {status}
                assert np.allclose([each.json()["predictions"][0] for each in answers], right)
            refused = await ask(client, "0", single.iloc[[0]].drop(columns="petal width (cm)"))
            assert refused.status_code == 422
        assert models.info().leased == 0


WRONG: list[dict[str, Any]] = [
    {"max_body": 0},
    {"max_rows": 0},
    {"max_columns": 0},
    {"ttl": -1},
    {"ttl": Expiry("1m", stale="1m")},  # it would be renewed with a model that nobody holds
    {"backend": "nonsense"},
    {"batch": Batch("rows")},
]


@pytest.mark.parametrize("options", WRONG)
def test_wrong_options_are_refused(options: dict[str, Any], models: CachedModelRepository) -> None:
    with pytest.raises(ConfigurationError):
        make_app(models, Users(), **options)


def test_repositories_that_cannot_be_used_are_refused(
    tmp_path: Path, store: Store, models: CachedModelRepository
) -> None:
    with pytest.raises(ConfigurationError, match=r"give CachedModelRepository\(repository\)"):
        make_app(FsspecModelRepository(tmp_path), Users())  # type: ignore[arg-type]  # what is tested
    for infos in (None, models, store):
        with pytest.raises(ConfigurationError, match=r"any object with get_model_id\(user_id\)"):
            make_app(models, infos)  # type: ignore[arg-type]  # what is tested
