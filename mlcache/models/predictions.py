"""Predictions for users: who has which model, what was predicted before, and the model for the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from mlcache import clock
from mlcache.decorator import ml_cache
from mlcache.entry import Expiry, Ttl
from mlcache.errors import ConfigurationError
from mlcache.models.cached_infos import CachedModelInfoRepository
from mlcache.models.cached_repository import CachedModelRepository
from mlcache.models.protocols import ModelInfoRepository
from mlcache.result import Result, moment
from mlcache.stores import BackendSpec
from mlcache.threads import in_thread

if TYPE_CHECKING:
    import asyncio

    import pandas as pd

    from mlcache.batch import Batch

MANY_COLUMNS = 50
"""Columns above which it may take several milliseconds to make a frame, or a key of it: each is an object."""


class Prediction(msgspec.Struct, frozen=True):
    """An answer for a user.

    Args:
        model_id: of the model that answers for the user.
        version: of the model that has answered.
        result: the answer and how it came about.
    """

    model_id: str
    version: str
    result: Result[Any]


class Predictor:
    """Predicts for users, on an event loop.

    A prediction is kept under the id and version of its model. One that is known is given without
    the model, so that it does not take another one's room.

    Args:
        models: the models.
        infos: which of them answers for whom.
        backend: as for ``make_app``, like all that follow.
        ttl: how long a prediction is kept.
        batch: which rows are computed together.
        offload: which processes compute.
        name: under which predictions are kept.

    Raises:
        ConfigurationError: an option that cannot be understood, repositories that are none or not in memory,
            or a ``ttl`` that renews in the background, where nobody holds the model: and the predictions of
            one version do not change.
    """

    def __init__(
        self,
        models: CachedModelRepository,
        infos: ModelInfoRepository,
        *,
        backend: BackendSpec = None,
        ttl: Ttl | Expiry = "1m",
        batch: Batch | None = None,
        offload: Any = None,
        name: str = "mlcache.models.predict",
    ) -> None:
        _check_repositories(models, infos)
        if isinstance(ttl, Expiry) and (ttl.stale or ttl.early):
            raise ConfigurationError(
                "ttl has stale or early: what one version of a model predicts does not change, so there is "
                "nothing to renew; give a longer ttl"
            )
        self.models = models
        self.infos = infos
        self._batches = batch is not None
        self._running: set[asyncio.Future[Any]] = set()
        self.cached: Any = ml_cache(
            backend=backend, ttl=ttl, batch=batch, offload=offload, name=name, ignore="model", version="1"
        )(_predict)

    async def predict(self, user_id: str, frame: Any) -> Prediction:
        """What the user's model says of each row.

        Raises:
            ModelError: there is no such user or model, it does not take these rows, or it cannot be had now.
        """
        model_id = await self._model_id(user_id)
        version = self.models.known_version(model_id)
        if version is not None:
            kept = await self._peek(frame, model_id, version)
            if kept is not None and kept.status == "hit":
                return Prediction(model_id, version, kept)
        return await self._to_its_end(self._compute(model_id, frame))

    async def settle(self) -> None:
        """Wait for predictions that are being computed."""
        import asyncio

        while self._running:
            await asyncio.wait(self._running)

    async def _peek(self, frame: Any, model_id: str, version: str) -> Result[Any] | None:
        if _is_wide(frame):
            return await in_thread("compute", lambda: self.cached.peek(frame, model_id, version))
        kept: Result[Any] | None = await self.cached.aio.peek(frame, model_id, version)
        return kept

    async def _compute(self, model_id: str, frame: Any) -> Prediction:
        lease = self.models.lease(model_id)
        async with lease as model:
            result = await self._answer(frame, model_id, lease.version, model)
            return Prediction(model_id, lease.version, result)

    async def _answer(self, frame: Any, *others: Any) -> Result[Any]:
        """What is known of these rows, or computed now; a single row in one batch with others."""
        if _is_wide(frame):
            return await in_thread("compute", lambda: self.cached.call_with_info(frame, *others))
        if self._batches and len(frame) == 1:
            row = await self.cached.aio.one(frame, *others)
            kept = await self.cached.aio.peek(frame, *others)
            return _just_made(row) if kept is None else msgspec.structs.replace(kept, status="miss")
        result: Result[Any] = await self.cached.aio.call_with_info(frame, *others)
        return result

    async def _to_its_end(self, work: Any) -> Prediction:
        """Await ``work``, which goes on if we are cancelled: its lease lasts as long as the model is used."""
        import asyncio

        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._done)
        prediction: Prediction = await asyncio.shield(task)
        return prediction

    def _done(self, task: asyncio.Future[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked may have gone

    async def _model_id(self, user_id: str) -> str:
        if isinstance(self.infos, CachedModelInfoRepository):
            return await self.infos.get_model_id_async(user_id)
        # In threads of their own: a database that hangs must not keep the stores of answers, or the metrics.
        return await in_thread("users", lambda: self.infos.get_model_id(user_id))


def _check_repositories(models: object, infos: object) -> None:
    if not isinstance(models, CachedModelRepository):
        raise ConfigurationError(
            f"models is {models!r}: models have to be in memory while they predict, so give "
            "CachedModelRepository(repository)"
        )
    if not isinstance(infos, ModelInfoRepository):
        raise ConfigurationError(
            f"infos is {infos!r}: give what says which model answers for a user, such as an "
            "SQLAlchemyModelInfoRepository, or any object with get_model_id(user_id)"
        )


def _is_wide(frame: Any) -> bool:
    """Whether the event loop would stand still while a key is made of ``frame``."""
    return bool(frame.shape[1] > MANY_COLUMNS)


def _just_made(row: Any) -> Result[Any]:
    """The answer to one row that is not kept."""
    rows = row if hasattr(row, "iloc") and row.ndim == 2 else [row]  # noqa: PLR2004 - that of a frame is a frame
    return Result(rows, "miss", None, 0.0, moment(clock.now()), None, kept=False)


def _predict(frame: pd.DataFrame, model_id: str, version: str, model: Any = None) -> Any:
    """What ``model`` says, kept under its id and version."""
    answer = model.predict(frame)
    shape = np.shape(answer)
    if not shape or shape[0] != len(frame):
        of = f"{model_id!r} ({version})" if version else repr(model_id)
        raise TypeError(
            f"model {of} answered {len(frame)} rows with a {type(answer).__name__} of shape {shape}: "
            "it has to answer with an array that has one element, or row, for each"
        )
    return answer
