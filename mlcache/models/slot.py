"""The place of one model in memory."""

from __future__ import annotations

import threading
from typing import Any

from mlcache.entry import Key
from mlcache.flight import Flight


class Slot:
    """One model: being loaded, there, or on its way out.

    Attributes:
        model_id: of the model.
        flight: the load under way; None once that has ended.
        model: once it is loaded, and until it is closed.
        version: of what was loaded.
        size: bytes that it takes, or that are set aside for it while it is loaded.
        cost: seconds that loading took.
        uses: how often it was asked for.
        order: of its last use, among the uses of all models.
        used_at: when it was asked for or given back last.
        checked_at: when its version was last compared with the store's.
        checking: whether that is to be done, or being done.
        turn: held by whoever compares it with the store's: one at a time, or it would be replaced twice.
        priority: what its policy makes of all this.
        holders: the leases on it, by the thread that took each.
        retired: whether it takes no more leases, and goes when the last one ends.
        leaving: whether it is being closed.
    """

    __slots__ = (
        *("checked_at", "checking", "cost", "flight", "holders", "leaving", "model", "model_id", "order"),
        *("priority", "retired", "size", "turn", "used_at", "uses", "version"),
    )

    def __init__(self, model_id: str, *, queued: bool = False) -> None:
        self.model_id = model_id
        key = Key("mlcache.models", model_id.encode())
        self.flight: Flight | None = Flight(key, queued=queued)
        self.model: Any = None
        self.version = ""
        self.size = 0
        self.cost = 0.0
        self.uses = 0
        self.order = 0
        self.used_at = 0.0
        self.checked_at = 0.0
        self.checking = False
        self.turn = threading.Lock()
        self.priority = 0.0
        self.holders: dict[object, int] = {}
        self.retired = False
        self.leaving = False

    @property
    def is_ready(self) -> bool:
        """Whether the model is there, and may be used."""
        return self.model is not None and not self.leaving

    @property
    def is_idle(self) -> bool:
        """Whether the model is there, and nobody uses it."""
        return self.is_ready and not self.holders

    def hold(self, holder: object) -> None:
        """Note a lease."""
        self.holders[holder] = threading.get_ident()
