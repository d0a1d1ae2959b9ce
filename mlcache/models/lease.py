"""A lease: while it lasts, a model is neither evicted nor closed."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Protocol

from mlcache.models.protocols import Model
from mlcache.models.slot import Slot


class Lessor(Protocol):
    """Who grants leases."""

    def acquire(self, model_id: str, holder: object) -> Slot:
        """Have the model loaded, and keep it for ``holder``."""
        ...

    async def acquire_async(self, model_id: str, holder: object) -> Slot:
        """The same for an event loop, which goes on meanwhile."""
        ...

    def release(self, slot: Slot, holder: object) -> None:
        """End a lease."""
        ...

    async def release_async(self, slot: Slot, holder: object) -> None:
        """The same for an event loop, which goes on while a model is closed."""
        ...


class Lease:
    """The use of one model for the time of a block: ``with`` in threads, ``async with`` in tasks.

    Args:
        lessor: who grants it.
        model_id: of the model.
    """

    __slots__ = ("_lessor", "_slot", "model_id")

    def __init__(self, lessor: Lessor, model_id: str) -> None:
        self._lessor = lessor
        self._slot: Slot | None = None
        self.model_id = model_id

    @property
    def model(self) -> Model:
        """The model, while the block runs.

        Raises:
            RuntimeError: the block has not begun, or has ended.
        """
        model: Model = self._held().model
        return model

    @property
    def version(self) -> str:
        """The version of the model, while the block runs; it raises as ``model`` does."""
        return self._held().version

    def __enter__(self) -> Model:
        self._check_unused()
        self._slot = self._lessor.acquire(self.model_id, self)
        return self.model

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lessor.release(self._end(), self)

    async def __aenter__(self) -> Model:
        self._check_unused()
        self._slot = await self._lessor.acquire_async(self.model_id, self)
        return self.model

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._lessor.release_async(self._end(), self)

    def _end(self) -> Slot:
        slot, self._slot = self._held(), None
        return slot

    def _held(self) -> Slot:
        if self._slot is None:
            raise RuntimeError(f"the lease on model {self.model_id!r} holds within its block only")
        return self._slot

    def _check_unused(self) -> None:
        if self._slot is not None:
            raise RuntimeError(f"the lease on model {self.model_id!r} is held already: take another one")

    def __repr__(self) -> str:
        return f"<Lease on {self.model_id!r}{'' if self._slot is None else ', held'}>"


class LeasedModel:
    """A model that is leased for each prediction, so that it may be kept for any time at no cost.

    Args:
        lessor: who grants the leases.
        model_id: of the model.
    """

    def __init__(self, lessor: Lessor, model_id: str) -> None:
        self._lessor = lessor
        self.model_id = model_id

    def predict(self, frame: Any, /) -> Any:
        """As the model does, which is loaded if it has gone meanwhile."""
        with Lease(self._lessor, self.model_id) as model:
            return model.predict(frame)

    def __repr__(self) -> str:
        return f"<LeasedModel {self.model_id!r}>"
