"""Keeping models as new as the store's: a newer version is loaded beside the older one, then replaces it."""

from __future__ import annotations

from functools import partial

from mlcache import clock
from mlcache.crew import crew
from mlcache.errors import ModelError, NoRoomError, UnknownModelError
from mlcache.events import Counter
from mlcache.flight import on_its_own
from mlcache.models.gate import Gate
from mlcache.models.loading import Loader
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
        if clock.ticks() - slot.checked_at >= self._check_every and not self._gate.is_closed:
            slot.checking = True
            if not crew().submit(partial(self._look_quietly, slot)):
                slot.checking = False

    def look(self, slot: Slot) -> bool:
        """Bring a model up to date; whether there was anything to do.

        Raises:
            ModelError: the store cannot tell, or what is there cannot be loaded: the older one stays.
        """
        self._shelf.hold(slot, self)  # lest it go before the newer one is there
        try:
            return self._compare(slot)
        finally:
            slot.checked_at, slot.checking = clock.ticks(), False
            self._shelf.release(slot, self)

    def _look_quietly(self, slot: Slot) -> None:
        with on_its_own():
            try:
                self.look(slot)
            except Exception:  # noqa: BLE001 - the model that is there goes on
                self.failures.add()

    def _compare(self, slot: Slot) -> bool:
        if slot.retired:
            return False
        try:
            there = self._loader.describe(slot.model_id)
        except UnknownModelError:  # it was deleted
            self._loader.versions.forget(slot.model_id)
            self._shelf.retire(slot)
            return True
        except ModelError as error:
            self._gate.note(slot.model_id, error)
            raise
        if there.version == slot.version:
            self._loader.versions.note(slot.model_id, slot.version)
            return False
        self._replace(slot)
        return True

    def _replace(self, old: Slot) -> None:
        new = Slot(old.model_id)
        try:
            model = self._loader.load(new, SWAP_WAIT)
        except NoRoomError:
            self._shelf.take_down(new)
            self._shelf.retire(old)  # whoever asks next waits for the newer one
        except BaseException:
            self._shelf.take_down(new)
            raise
        else:
            self._shelf.swap(old, new, model)
        self.refreshes.add()
