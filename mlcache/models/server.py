"""A service of many models over HTTP, made with FastAPI."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np

from mlcache import clock, units
from mlcache.entry import Expiry, Ttl
from mlcache.errors import ConfigurationError, MissingExtraError, ModelError
from mlcache.models.bodies import (
    MAX_COLUMNS,
    SHAPES,
    BodyTooLargeError,
    columns_of,
    frame_from,
    read_body,
)
from mlcache.models.cached_repository import CachedModelRepository
from mlcache.models.metrics import Metrics
from mlcache.models.predictions import MANY_COLUMNS, Prediction, Predictor
from mlcache.models.protocols import ModelInfoRepository, Pings
from mlcache.models.replies import json_of, refusal_of
from mlcache.stores import BackendSpec
from mlcache.threads import in_thread

if TYPE_CHECKING:
    from fastapi import FastAPI

    from mlcache.batch import Batch

T = TypeVar("T")

LARGE_BODY = 32 << 10
"""Bytes of a body above which it takes a millisecond or more to read it."""

LARGE_ANSWER = 10_000
"""Numbers of an answer above which it takes a millisecond or more to write them as JSON."""

PING_PATIENCE = 2.0
"""Seconds after which a store that is asked for a sign of life counts as down."""

_log = logging.getLogger(__name__)


def make_app(
    models: CachedModelRepository,
    infos: ModelInfoRepository,
    *,
    backend: BackendSpec = None,
    ttl: Ttl | Expiry = "1m",
    batch: Batch | None = None,
    offload: Any = None,
    max_body: int | str = "1MiB",
    max_rows: int = 10_000,
    max_columns: int = MAX_COLUMNS,
    name: str = "mlcache.models.predict",
) -> FastAPI:
    """A service that answers ``POST /predict/{user_id}`` with the predictions of that user's model.

    It has ``/health/live``, ``/health/ready`` and ``/metrics`` too. The repositories are not closed with it.

    Args:
        models: the models.
        infos: which of them answers for whom; wrapped in a ``CachedModelInfoRepository``, known users go on
            while the database is down.
        backend: where predictions are kept, as for ``ml_cache``.
        ttl: how long a prediction may be used, here and by whoever gets it.
        batch: ``Batch("frame", ...)``: rows are kept one by one, and requests of one row that come together
            for one model are computed together.
        offload: as for ``ml_cache``: predictions are computed in worker processes, to which the model travels
            with each call, so that it must be one that can be pickled.
        max_body: bytes of a request, at most.
        max_rows: rows of a request, at most.
        max_columns: columns of a request, at most.
        name: under which predictions are kept; services that share a backend and have models of the
            same ids need names of their own.

    Raises:
        ConfigurationError: an option that cannot be understood.
        MissingExtraError: the extra ``server`` is not installed.
    """
    for what, number in (("max_rows", max_rows), ("max_columns", max_columns)):
        if number < 1:
            raise ConfigurationError(f"{what} is {number!r}: it must be above zero")
    predictor = Predictor(models, infos, backend=backend, ttl=ttl, batch=batch, offload=offload, name=name)
    service = Service(predictor, units.size(max_body, what="max_body"), max_rows, max_columns)
    fastapi = _fastapi()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await predictor.settle()

    app: FastAPI = fastapi.FastAPI(title="Predictions", lifespan=lifespan)
    for path, handler, method in (
        ("/predict/{user_id:path}", service.predict, "POST"),
        ("/health/live", service.live, "GET"),
        ("/health/ready", service.ready, "GET"),
        ("/metrics", service.metrics, "GET"),
    ):
        app.add_route(path, handler, methods=[method])
    app.openapi = lambda: _openapi(app.title)  # type: ignore[method-assign]  # FastAPI documents this assignment
    return app


class Service:
    """The handlers of ``make_app``.

    Args:
        predictor: that answers.
        max_body: bytes of a request, at most.
        max_rows: rows of a request, at most.
        max_columns: columns of a request, at most.
    """

    def __init__(self, predictor: Predictor, max_body: int, max_rows: int, max_columns: int) -> None:
        self._predictor = predictor
        self._max_body = max_body
        self._max_rows = max_rows
        self._max_columns = max_columns
        self._metrics = Metrics(predictor)

    async def predict(self, request: Any) -> Any:
        """``POST /predict/{user_id}``."""
        started, status = clock.ticks(), 500
        try:
            answer = await self._answer(request)
            status = answer.status_code
        finally:
            self._metrics.observe(status, clock.ticks() - started)
        return answer

    async def live(self, _: Any) -> Any:
        """``GET /health/live``: whether the process answers at all."""
        return _json(200, {"status": "ok"})

    async def ready(self, _: Any) -> Any:
        """``GET /health/ready``: whether it can predict, for some users at least.

        While a store is down, a process that has models in memory goes on with them: to take it out of
        service would fail those requests, too.
        """
        import asyncio

        models = self._predictor.models
        store, database = await asyncio.gather(_ask(models.repository), _ask(self._predictor.infos))
        parts = {"store": store, "database": database}
        if "down" not in parts.values():
            return _json(200, {"status": "ok", **parts})
        serving = models.info().models > 0
        return _json(200 if serving else 503, {"status": "degraded" if serving else "down", **parts})

    async def metrics(self, _: Any) -> Any:
        """``GET /metrics``: for Prometheus."""
        from starlette.responses import Response

        text, kind = await in_thread("store", self._metrics.text)  # it asks stores how full they are
        return Response(text, media_type=kind)

    async def _answer(self, request: Any) -> Any:
        try:
            body = await read_body(request.headers.get("content-length"), request.stream(), self._max_body)
            frame = await self._frame_of(body)
            prediction = await self._predictor.predict(request.path_params["user_id"], frame)
            if np.size(prediction.result.value) <= LARGE_ANSWER:
                return _predicted(prediction)
            return await in_thread("compute", lambda: _predicted(prediction))
        except BodyTooLargeError:
            most = units.show_size(self._max_body)
            close = {"Connection": "close"}  # lest what is still being sent be taken for another request
            return _json(413, {"detail": f"the body has more than {most}"}, close)
        except Exception as error:  # noqa: BLE001 - whatever a model raises
            return _failed(error) if isinstance(error, ModelError) else _broken(error)

    async def _frame_of(self, body: bytes) -> Any:
        """The rows of a body; large and wide ones are read in a thread, as the loop would stand still."""
        large = len(body) > LARGE_BODY
        columns = await _read(large, lambda: columns_of(body, self._max_rows, self._max_columns))
        return await _read(large or len(columns) > MANY_COLUMNS, lambda: frame_from(columns))


async def _read(takes_long: bool, read: Callable[[], T]) -> T:  # noqa: FBT001 - it is what is asked first
    return await in_thread("compute", read) if takes_long else read()


def _predicted(prediction: Prediction) -> Any:
    from starlette.responses import Response

    result = prediction.result
    body = json_of(prediction.model_id, prediction.version, result.value)
    headers = {"Cache-Control": "no-store", **result.http_headers(), "X-Cache": result.status}
    return Response(body, 200, headers, "application/json")


def _failed(error: ModelError) -> Any:
    refusal = refusal_of(error)
    return _json(refusal.status, {"detail": refusal.detail}, refusal.headers)


def _broken(error: Exception) -> Any:
    """The same where it is the fault of nobody that we know."""
    from starlette.requests import ClientDisconnect

    if isinstance(error, ClientDisconnect):
        return _json(400, {"detail": "the body ended early"})  # it is counted: nobody is there to read it
    _log.error("a prediction failed", exc_info=error)
    return _json(500, {"detail": "the model of this user has failed"})


def _json(status: int, answer: object, headers: dict[str, str] | None = None) -> Any:
    from starlette.responses import Response

    headers = {"Cache-Control": "no-store", **(headers or {})}
    return Response(msgspec.json.encode(answer), status, headers, "application/json")


async def _ask(repository: object) -> str:
    import asyncio

    from anyio.to_thread import run_sync

    if not isinstance(repository, Pings):
        return "unknown"
    try:
        await asyncio.wait_for(run_sync(repository.ping, abandon_on_cancel=True), PING_PATIENCE)
    except Exception as error:  # noqa: BLE001 - whatever a repository of the user's raises
        _log.warning("%r does not answer: %r", repository, error)
        return "down"
    return "ok"


def _fastapi() -> Any:
    try:
        import fastapi
    except ImportError:
        raise MissingExtraError("make_app", "fastapi", "server") from None
    return fastapi


def _openapi(title: str) -> dict[str, Any]:
    codes = {
        "200": "the predictions, one for each row",
        "404": "there is no model for this user",
        "413": "the body is too large",
        "422": "the rows are not understood, or the model does not take them",
        "500": "the model is damaged, too large, may not be loaded, or has failed",
        "503": "the model cannot be had now; Retry-After says when to ask again",
    }
    user = {"name": "user_id", "in": "path", "required": True, "schema": {"type": "string"}}
    schema = {"type": "object", "description": SHAPES}
    predict = {
        "summary": "Predict with the model of a user",
        "parameters": [user],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {code: {"description": text} for code, text in codes.items()},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1"},
        "paths": {"/predict/{user_id}": {"post": predict}},
    }
