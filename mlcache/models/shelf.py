"""The books of the models in memory: who is there, who holds it, what room there is.

Nothing is loaded here, and a model is closed with no lock held. What a model takes counts from before
it is loaded until after it was closed, so the bounds hold at every moment.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from mlcache import clock
from mlcache.errors import ModelError
from mlcache.models.churn import Churn
from mlcache.models.policies import Policy
from mlcache.models.refusals import in_use, too_large
from mlcache.models.room import Room
from mlcache.models.slot import Slot


class Shelf:
    """Models within bounds.

    Args:
        room: that they may take.
        policy: which goes first.
        close: called with each slot that goes, before its room is free; it must not raise.
        churn: is told of each model that goes to make room.
    """

    def __init__(self, room: Room, policy: Policy, close: Callable[[Slot], object], churn: Churn) -> None:
        self.room = room
        self.slots: dict[str, Slot] = {}
        self.pinned: set[str] = set()
        self.changed = threading.Condition()
        self._policy = policy
        self._close = close
        self._churn = churn
        self._queue: deque[object] = deque()  # whoever waits for room, first come, first served
        self._order = itertools.count(1)
        self._closed = False

    def claim(self, model_id: str, holder: object, *, queued: bool = False) -> tuple[Slot, bool]:
        """A lease on a model, and whether the caller has to load it.

        Args:
            model_id: of the model.
            holder: of the lease.
            queued: whether the caller would not load it itself, but offer that as a job.

        Raises:
            ModelError: the shelf was closed.
        """
        with self.changed:
            self._check_open()
            slot = self.slots.get(model_id)
            if slot is None:
                slot = self.slots[model_id] = Slot(model_id, queued=queued)
                self._use(slot, holder)
                return slot, True
            if slot.flight is not None:
                slot.flight.watched = True
            self._use(slot, holder)
            return slot, False

    def hold(self, slot: Slot, holder: object) -> None:
        """Keep a model that is there, which does not count as a use of it."""
        with self.changed:
            slot.hold(holder)

    def release(self, slot: Slot, holder: object) -> None:
        """End a lease; the last one on a model that was to go lets it go."""
        if self.leave(slot, holder):
            self.discard(slot)

    def leave(self, slot: Slot, holder: object) -> bool:
        """End a lease; whether it was the last one on a model that was to go, and has to be discarded now."""
        with self.changed:
            if slot.holders.pop(holder, None) is not None:
                slot.used_at = clock.ticks()
            if self._queue:
                self.changed.notify_all()
            return self._may_leave(slot)

    def discard(self, slot: Slot) -> None:
        """Close a model that is leaving, and then free its room."""
        try:
            self._close(slot)
        finally:
            with self.changed:
                slot.model = None
                self._charge(slot, None)

    def reserve(self, slot: Slot, size: int, ends: float) -> None:
        """Set room aside for a model that is about to be loaded, evicting others for it.

        Whoever comes first is served first: else a large model might wait for ever while small
        ones slip in.

        Raises:
            NoRoomError: it is larger than all the room there is, or the room is still in use
                at the moment ``ends``.
            ModelError: the shelf was closed meanwhile.
        """
        if size > self.room.max_bytes:
            raise too_large(slot.model_id, size, self.room.max_bytes)
        turn = object()
        with self.changed:
            self._queue.append(turn)
        try:
            while (victim := self._take_room(slot, size, turn, ends)) is not None:
                self.discard(victim)
        finally:
            with self.changed:
                self._queue.remove(turn)
                self.changed.notify_all()

    def settle(self, slot: Slot, size: int) -> bool:
        """Correct what was set aside to what the model turned out to take; False if there is no room.

        Raises:
            NoRoomError: it is larger than all the room there is.
        """
        if size > self.room.max_bytes:
            raise too_large(slot.model_id, size, self.room.max_bytes)
        while True:
            with self.changed:
                more = size - slot.size
                if self.room.fits(more, 0):
                    self._charge(slot, size)
                    return True
                victim = self._take_victim() if self._can_fit(more, 0) else None
            if victim is None:
                return False
            self.discard(victim)

    def give_back(self, slot: Slot) -> None:
        """Free what was set aside for a model that did not come."""
        with self.changed:
            self._charge(slot, None)

    def put_up(self, slot: Slot, model: Any) -> None:
        """Let a model that was loaded be used."""
        with self.changed:
            goes = self._install(slot, model)
        if goes:  # it was retired while it was loaded, and nobody waits for it
            self.discard(slot)

    def take_down(self, slot: Slot) -> None:
        """Forget a model that could not be loaded."""
        with self.changed:
            self._forget(slot)
            self._charge(slot, None)

    def retire(self, slot: Slot) -> None:
        """Give no more leases on this slot; close it when the last one has ended."""
        with self.changed:
            self._forget(slot)
            slot.retired = True
            goes = self._may_leave(slot)
        if goes:
            self.discard(slot)

    def swap(self, old: Slot, new: Slot, model: Any) -> None:
        """Put a newer version in the place of an older one, which goes when its last lease ends."""
        with self.changed:
            if self.slots.get(old.model_id) is old:
                self.slots[old.model_id] = new
                new.uses, new.order = old.uses, old.order
            else:  # the older one was evicted or retired meanwhile
                new.retired = True
            goes = self._install(new, model)
        if goes:
            self.discard(new)
        self.retire(old)

    def close(self) -> None:
        """Give no more leases on anything; close all models, those in use when their last lease ends."""
        with self.changed:
            self._closed = True
            self.changed.notify_all()  # who waits for room
            slots = list(self.slots.values())
        for slot in slots:
            self.retire(slot)

    def idle_since(self, moment: float) -> list[Slot]:
        """The models that nobody has used since ``moment`` and that are not pinned."""
        with self.changed:
            return [slot for slot in self._evictable() if slot.used_at <= moment]

    def evict(self, slot: Slot) -> bool:
        """Close a model that nobody uses; whether it went."""
        with self.changed:
            goes = slot.is_idle and self.slots.get(slot.model_id) is slot
            if goes:
                self._let_go(slot)
        if goes:
            self.discard(slot)
        return goes

    def unpin(self, model_id: str) -> None:
        """Let a model go again."""
        with self.changed:
            self.pinned.discard(model_id)
            self.changed.notify_all()

    def leased(self) -> int:
        """How many models somebody uses."""
        with self.changed:
            return sum(bool(slot.holders) for slot in self.room)

    def after_fork(self) -> None:
        """In a forked child: forget loads and leases of threads that it does not have."""
        self.changed = threading.Condition()
        self._queue.clear()
        me = threading.get_ident()
        with self.changed:
            for slot in {*self.room, *self.slots.values()}:
                slot.holders = {holder: thread for holder, thread in slot.holders.items() if thread == me}
                slot.checking = False
                slot.turn = threading.Lock()
                unusable = slot.retired or not getattr(slot.model, "fork_safe", True)
                if not slot.is_ready or (unusable and not slot.holders):
                    self.take_down(slot)

    def _take_room(self, slot: Slot, size: int, turn: object, ends: float) -> Slot | None:
        """Take the room and return None, or a model that has to be closed first."""
        with self.changed:
            in_time = self.changed.wait_for(
                lambda: self._closed or (self._queue[0] is turn and self._can_fit(size, 1)),
                max(ends - clock.ticks(), 0),
            )
            self._check_open()
            if not in_time:
                raise in_use(slot.model_id, size, len(self.room), self.room.bytes)
            if self.room.fits(size, 1):
                self._charge(slot, size)
                return None
            return self._take_victim()

    def _check_open(self) -> None:
        if self._closed:
            raise ModelError("the cache of models was closed")

    def _use(self, slot: Slot, holder: object) -> None:
        slot.hold(holder)
        slot.uses += 1
        slot.order = next(self._order)
        self._policy.used(slot)

    def _can_fit(self, size: int, models: int) -> bool:
        """Whether there is room, or would be if all went that may."""
        if self.room.fits(size, models):
            return True
        free = list(self._evictable())
        return self.room.fits(size - sum(slot.size for slot in free), models - len(free))

    def _evictable(self) -> Iterator[Slot]:
        return (slot for slot in self.slots.values() if slot.is_idle and slot.model_id not in self.pinned)

    def _take_victim(self) -> Slot:
        victim = min(self._evictable(), key=self._policy.rank)
        self._policy.evicted(victim)
        self._churn.evicted(victim.model_id)
        self._let_go(victim)
        return victim

    def _let_go(self, slot: Slot) -> None:
        self._forget(slot)
        slot.retired = slot.leaving = True

    def _install(self, slot: Slot, model: Any) -> bool:
        """Let a model be used; whether it has to go at once."""
        slot.model, slot.flight = model, None
        slot.used_at = slot.checked_at = clock.ticks()
        self._policy.used(slot)
        self.changed.notify_all()
        return self._may_leave(slot)

    def _may_leave(self, slot: Slot) -> bool:
        goes = slot.retired and slot.is_idle
        slot.leaving = slot.leaving or goes
        return goes

    def _forget(self, slot: Slot) -> None:
        if self.slots.get(slot.model_id) is slot:
            del self.slots[slot.model_id]

    def _charge(self, slot: Slot, size: int | None) -> None:
        self.room.charge(slot, size)
        self.changed.notify_all()
