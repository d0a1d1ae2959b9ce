"""From a model's id to the model in its slot, within the room there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from mlcache import clock
from mlcache.errors import InvalidModelError, ModelError, NoRoomError
from mlcache.models.closing import close_model
from mlcache.models.gate import Gate
from mlcache.models.measure import Sizes, size_of_model
from mlcache.models.protocols import Describes, Description, Fetches, ModelRepository, Versioned
from mlcache.models.shelf import Shelf
from mlcache.models.slot import Slot
from mlcache.models.versions import Versions

T = TypeVar("T")

TRIES = 3
"""Times that a load is begun again, because the model grew or was replaced while it was loaded."""


class Loaded(msgspec.Struct, frozen=True):
    """A model as it came from the store.

    Args:
        model: that can be used.
        version: of exactly this one; None if nobody can tell.
        size: bytes that it takes in memory.
        cost: seconds that loading took.
    """

    model: Any
    version: str | None
    size: int
    cost: float


class Loader:
    """Loads models from a repository.

    Args:
        repository: where they come from.
        shelf: where they go.
        gate: what stands before the repository.
    """

    def __init__(self, repository: ModelRepository, shelf: Shelf, gate: Gate) -> None:
        self.repository = repository
        self.sizes = Sizes()
        self.versions = Versions()
        self._shelf = shelf
        self._gate = gate

    def describe(self, model_id: str) -> Description:
        """What the repository says of a model; nothing, where it says nothing of any.

        Raises:
            ModelError: there is no such model, or the store is down.
        """
        if not isinstance(self.repository, Describes):
            return Description()
        return self._ask(model_id, self.repository.describe)

    def refusal(self, model_id: str) -> ModelError | None:
        """Why a load would fail at once, without a look at the store; None if it would not."""
        try:
            self._gate.check(model_id)
        except ModelError as error:
            return error
        return None

    def load(self, slot: Slot, ends: float) -> Any:
        """Load the model of ``slot`` into room that is free before it comes; the model.

        Room is waited for until the moment ``ends``.

        It is for the caller to put it up, and to take the slot down if this raises.

        Raises:
            ModelError: there is no such model, it is none, the store is down, or there is no room.
        """
        with self._gate.passing(slot.model_id):
            return self._load(slot, ends)

    def _load(self, slot: Slot, ends: float) -> Any:
        for _ in range(TRIES):
            loaded = self._load_within(slot, ends)
            if loaded.version is not None and self._fits(slot, loaded):
                slot.version, slot.cost = loaded.version, loaded.cost
                self.versions.note(slot.model_id, slot.version)
                return loaded.model
            close_model(loaded.model)
            del loaded  # its memory, too, is free before its room is
            self._shelf.give_back(slot)
        raise NoRoomError(
            f"model {slot.model_id!r} was replaced, or was larger than the room set aside for it, "
            f"each of {TRIES} times that it was loaded: try again, or raise max_bytes"
        )

    def _load_within(self, slot: Slot, ends: float) -> Loaded:
        before = self.describe(slot.model_id)
        expected = self.sizes.expect(slot.model_id, before, self._shelf.room.max_bytes)
        self._shelf.reserve(slot, expected, ends)
        started = clock.ticks()
        model = self._ask(slot.model_id, lambda model_id: self._fetch(model_id, before))
        try:
            version = self._version(slot.model_id, model, before)
            loaded = Loaded(model, version, size_of_model(model), clock.ticks() - started)
        except BaseException:
            close_model(model)
            raise
        self.sizes.learn(slot.model_id, before, loaded.size)
        return loaded

    def _fetch(self, model_id: str, described: Description) -> Any:
        if isinstance(self.repository, Fetches):
            model: Any = self.repository.fetch(model_id, described)
        else:
            model = self.repository.get_model(model_id)
        if model is None:
            raise InvalidModelError(
                f"the repository returned None for model {model_id!r}: "
                "it has to raise UnknownModelError where there is no such model"
            )
        return model

    def _version(self, model_id: str, model: Any, before: Description) -> str | None:
        """The version of ``model``; None if it was replaced while it was loaded, so that nobody can tell.

        It is the store's own word, with which later looks are compared, wherever the store has one.
        """
        own = str(model.version) if isinstance(model, Versioned) else ""
        if own == before.version or not before.version:
            return own
        after = self.describe(model_id).version
        return after if after in (before.version, own) else None

    def _ask(self, model_id: str, question: Callable[[str], T]) -> T:
        """The store's answer to a question about a model; whether there was one is noted."""
        try:
            answer = question(model_id)
        except ModelError as error:
            self._gate.note(model_id, error)
            raise
        except StopIteration as error:  # which no future takes: who awaits one would wait for ever
            raise RuntimeError(f"the store raised StopIteration for model {model_id!r}") from error
        self._gate.note(model_id, None)
        return answer

    def _fits(self, slot: Slot, loaded: Loaded) -> bool:
        try:
            return self._shelf.settle(slot, loaded.size)
        except NoRoomError:
            close_model(loaded.model)
            raise

    def after_fork(self) -> None:
        """Release locks that other threads held."""
        self.sizes.after_fork()
