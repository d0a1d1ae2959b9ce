"""Keeping models as new as the store's: a newer version is loaded beside the older one, then replaces it."""

from __future__ import annotations

from functools import partial

from mlcache import clock
from mlcache.crew import crew
from mlcache.errors import NoRoomError, UnknownModelError
from mlcache.events import Counter
from mlcache.flight import on_its_own
from mlcache.models.gate import Gate
from mlcache.models.loading import Loader
from mlcache.models.refusals import too_large
from mlcache.models.shelf import Shelf
from mlcache.models.slot import Slot

SWAP_WAIT = 1.0
"""Seconds to wait for room in which both versions fit; without it the older one goes first."""


class Freshness:
    """Compares models with the store.

    Args:
        shelf: where the models are.
        loader: loads newer ones.
        gate: what stands before the store.
        check_every: seconds between two looks at the version of one model; None: never look.
    """

    def __init__(self, shelf: Shelf, loader: Loader, gate: Gate, check_every: float | None) -> None:
        self.refreshes = Counter()
        self.failures = Counter()
        self._shelf = shelf
        self._loader = loader
        self._gate = gate
        self._check_every = check_every

    def look_later(self, slot: Slot) -> None:
        """Have the version of a model that is used looked at in the background, if that is due."""
        if self._check_every is None or slot.checking or slot.flight is not None:
            return
        if clock.ticks() - slot.checked_at >= self._check_every and self._gate.would_ask:
            slot.checking = True
            if not crew().submit(partial(self._look_quietly, slot)):
                slot.checking = False

    def look(self, slot: Slot) -> bool | None:
        """Bring a model up to date; whether there was anything to do, None if it has gone meanwhile.

        Raises:
            ModelError: the store cannot tell, or what is there cannot be loaded: the older one stays.
        """
        holder = object()
        self._shelf.hold(slot, holder)  # lest it go before the newer one is there
        try:
            with slot.turn:
                return None if slot.retired else self._compare(slot)
        finally:
            slot.checked_at, slot.checking = clock.ticks(), False
            self._shelf.release(slot, holder)

    def _look_quietly(self, slot: Slot) -> None:
        try:
            if self._gate.would_ask:  # since it was queued, another look may have got no answer
                with on_its_own(), self._gate.passing(slot.model_id):
                    self.look(slot)
        except BaseException:  # noqa: BLE001 - the model that is there goes on, and so does the thread
            self.failures.add()
        finally:
            slot.checking = False

    def _compare(self, slot: Slot) -> bool:
        try:
            there = self._loader.describe(slot.model_id)
        except UnknownModelError:  # it was deleted
            self._loader.versions.forget(slot.model_id)
            self._shelf.retire(slot)
            return True
        version = there.version or slot.version  # a store that knows of no versions has no newer one
        self._loader.versions.note(slot.model_id, version)
        if version == slot.version:
            return False
        grown, room = self._loader.sizes.grown(slot.model_id, there), self._shelf.room.max_bytes
        if grown > room:  # the older one would have to go before that is certain
            raise too_large(slot.model_id, grown, room)
        self._replace(slot)
        return True

    def _replace(self, old: Slot) -> None:
        new = Slot(old.model_id)
        try:
            model = self._loader.load(new, clock.ticks() + SWAP_WAIT)
        except NoRoomError as error:
            self._shelf.take_down(new)
            if not error.passing:
                raise
            self._shelf.retire(old)  # whoever asks next waits for the newer one
        except BaseException:
            self._shelf.take_down(new)
            raise
        else:
            self._shelf.swap(old, new, model)
        self.refreshes.add()
