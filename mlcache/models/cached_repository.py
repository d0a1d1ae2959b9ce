"""A repository whose models stay in memory, within bounds, for as long as they are worth it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from types import TracebackType
from typing import Any, Self

from mlcache import clock, forks, units
from mlcache.entry import Span
from mlcache.errors import ConfigurationError
from mlcache.models.churn import Churn
from mlcache.models.closing import close_model
from mlcache.models.freshness import Freshness
from mlcache.models.gate import Gate
from mlcache.models.idle import Sweeper
from mlcache.models.info import ModelCacheInfo
from mlcache.models.lease import Lease, LeasedModel
from mlcache.models.leases import Leases
from mlcache.models.loading import Loader
from mlcache.models.policies import policy_of
from mlcache.models.protocols import Description, ModelRepository
from mlcache.models.room import Room
from mlcache.models.shelf import Shelf
from mlcache.models.slot import Slot
from mlcache.units import show_size
from mlcache.warning import warn


class CachedModelRepository:
    """Keeps the models of another repository in memory.

    A model is loaded once, however many ask for it at a time; different ones are loaded in parallel. Its
    room is set aside before it is loaded, so the bounds hold while it comes. A leased model is never
    evicted nor closed. All methods may be called from any thread.

    Args:
        repository: where models come from.
        max_bytes: bound on what all models take in memory, such as ``"4GiB"``.
        max_models: bound on their number; None: no bound.
        policy: what goes first: ``"lru"``, ``"lfu"``, or ``"gdsf"``, by which a model that takes long to
            load stays longer, and a large one goes earlier.
        idle: how long a model stays that nobody uses; None: until its room is needed.
        check_every: how often, at most, the version of a model in use is compared with the store's, in the
            background; None: never. For about so long an older version may go on answering.
        unknown_for: how long it is remembered that there is no model of some id.
        retry_after: how long loads fail at once after the store did not answer.
        wait: how long a load waits for room that others are using.
        loaders: threads that load for event loops.
        on_close: called with the id and the model after it has left, before its own ``close()``.

    Raises:
        ConfigurationError: an option that cannot be understood.
    """

    def __init__(  # noqa: PLR0913 - options of one thing, each with a default
        self,
        repository: ModelRepository,
        *,
        max_bytes: int | str = "1GiB",
        max_models: int | None = None,
        policy: str = "gdsf",
        idle: Span | None = None,
        check_every: Span | None = "30s",
        unknown_for: Span = "5s",
        retry_after: Span = "1s",
        wait: Span = "30s",
        loaders: int = 8,
        on_close: Callable[[str, Any], object] | None = None,
    ) -> None:
        for what, number in (("max_models", max_models), ("loaders", loaders)):
            _check_count(number, what)
        self.repository = repository
        self._check_every = _optional(check_every, "check_every")
        bound = units.size(max_bytes, what="max_bytes")
        churn = Churn()
        self._shelf = Shelf(Room(bound, max_models), policy_of(policy), partial(_close, on_close), churn)
        pause = units.seconds(retry_after, what="retry_after")
        self._gate = Gate(pause, units.seconds(unknown_for, what="unknown_for"))
        self._loader = Loader(repository, self._shelf, self._gate)
        self._freshness = Freshness(self._shelf, self._loader, self._gate, self._check_every)
        seconds = units.seconds(wait, what="wait")
        self._leases = Leases(self._shelf, self._loader, self._freshness, seconds, loaders, churn)
        self._sweeper = Sweeper(self, _optional(idle, "idle"))
        self._sweeper.start()
        forks.tend(self)

    def lease(self, model_id: str) -> Lease:
        """The use of a model for the time of a block: ``with``, or ``async with`` on an event loop.

        Entering the block raises:
            UnknownModelError: there is no such model.
            InvalidModelError: what is stored is no whole model that may be loaded.
            ModelStoreError: the store does not answer.
            NoRoomError: it is too large, or others use the room for longer than ``wait``.

        Raises:
            TypeError: the id is no text.
        """
        if not isinstance(model_id, str):
            raise TypeError(f"the id of a model is a text, not {model_id!r}")
        return Lease(self._leases, model_id)

    def get_model(self, model_id: str, /) -> LeasedModel:
        """A model that is leased whenever it predicts; it raises as entering a lease does."""
        with self.lease(model_id):
            return LeasedModel(self._leases, model_id)

    def describe(self, model_id: str, /) -> Description:
        """What the store says of a model."""
        return self._loader.describe(model_id)

    def known_version(self, model_id: str) -> str | None:
        """The version of a model as far as it is known without asking the store; None where it is not.

        It is the one of the model in memory, or the one that was seen less than ``check_every`` ago.
        """
        slot = self._shelf.slots.get(model_id)
        if slot is not None and slot.is_ready:
            self._freshness.look_later(slot)
            return slot.version
        return self._loader.versions.get(model_id, self._check_every)

    def warm(self, model_ids: Iterable[str]) -> int:
        """Load models ahead, several at a time; how many were not there yet."""
        before = self._leases.tally.loads.value
        for done in [self._leases.executor().submit(self.get_model, model_id) for model_id in model_ids]:
            done.result()
        return self._leases.tally.loads.value - before

    def pin(self, model_id: str) -> None:
        """Keep a model, once it is loaded, whatever room others need and however long it is idle."""
        self._shelf.pinned.add(model_id)

    def unpin(self, model_id: str) -> None:
        """Let a model go again when its room is needed."""
        self._shelf.unpin(model_id)

    def refresh(self, model_id: str) -> bool:
        """Look now whether the store has another version, and load it; whether it had.

        The older version answers until the newer one is there. A model that is being loaded is waited for;
        one that is not in memory is only noted to have to be looked at.

        Raises:
            ModelError: the store cannot tell, or what it has cannot be loaded: the older one stays.
        """
        self._gate.forget(model_id)
        while (slot := self._shelf.slots.get(model_id)) is not None:
            self._leases.await_load(slot)
            if slot.is_ready and (found := self._freshness.look(slot)) is not None:
                return found
        self._loader.versions.forget(model_id)
        return False

    def evict(self, model_id: str) -> bool:
        """Let a model go: at once, or when its last lease ends; whether it was there."""
        slot = self._shelf.slots.get(model_id)
        if slot is not None:
            self._shelf.retire(slot)
        return slot is not None

    def sweep(self) -> int:
        """Close models that nobody has used for ``idle``; how many. A thread does so now and then."""
        if self._sweeper.idle is None:
            return 0
        gone = sum(map(self._shelf.evict, self._shelf.idle_since(clock.ticks() - self._sweeper.idle)))
        for _ in range(gone):
            self._leases.tally.idle.add()
        return gone

    def info(self) -> ModelCacheInfo:
        """What is held, and what was done so far."""
        shelf, tally, churn, freshness = self._shelf, self._leases.tally, self._leases.churn, self._freshness
        return ModelCacheInfo(
            models=len(shelf.room),
            bytes=shelf.room.bytes,
            max_models=shelf.room.max_models,
            max_bytes=shelf.room.max_bytes,
            leased=shelf.leased(),
            hits=tally.hits.value,
            coalesced=tally.coalesced.value,
            loads=tally.loads.value,
            failures=tally.failures.value,
            idle=tally.idle.value,
            refreshes=freshness.refreshes.value,
            check_failures=freshness.failures.value,
            evictions=churn.evictions,
            churn=churn.returns,
        )

    @property
    def store_is_down(self) -> bool:
        """Whether the store did not answer when it was asked last."""
        return self._gate.is_closed

    def close(self) -> None:
        """Close all models, those in use when their leases end, and grant no more leases."""
        self._sweeper.close()
        self._shelf.close()
        self._leases.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def after_fork(self) -> None:
        """In a forked child: keep what is loaded, forget what other threads were doing."""
        self._shelf.after_fork()
        self._loader.after_fork()
        self._sweeper.after_fork()
        self._leases.after_fork()

    def __repr__(self) -> str:
        room = self._shelf.room
        return f"<CachedModelRepository: {len(room)} models, {show_size(room.bytes)} of {room}>"


def _check_count(number: object, what: str) -> None:
    if number is None and what == "max_models":
        return
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ConfigurationError(f"{what} is {number!r}: give a whole number above zero")


def _optional(span: Span | None, what: str) -> float | None:
    return None if span is None else units.seconds(span, what=what)


def _close(on_close: Callable[[str, Any], object] | None, slot: Slot) -> None:
    if on_close is not None:
        try:
            on_close(slot.model_id, slot.model)
        except Exception as error:  # noqa: BLE001 - code of the user
            warn(f"on_close raised {error!r}")
    close_model(slot.model)
