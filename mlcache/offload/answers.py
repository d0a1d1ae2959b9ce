"""What workers answer, brought to those who wait for it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mlcache import clock
from mlcache.offload import failures, journal, transport
from mlcache.offload.reuse import Reuse
from mlcache.offload.transport import Buffer
from mlcache.offload.wire import Answer, WireError

if TYPE_CHECKING:
    from mlcache.offload.desk import Desk
    from mlcache.offload.item import Item
    from mlcache.offload.member import Member
    from mlcache.offload.plan import Plan


class Answers:
    """Takes answers in, and gives the worker something else to do, or its leave.

    Args:
        plan: of the pool, which says when a worker is to be replaced.
        desk: which has the next call.
    """

    def __init__(self, plan: Plan, desk: Desk) -> None:
        self._plan = plan
        self._desk = desk
        self._reuse = Reuse()
        self._wears = any(map(math.isfinite, (plan.max_calls, plan.max_memory, plan.recycle)))

    def take(self, member: Member, answer: Answer) -> None:
        """Give an answer to who waits for it, after the next call to the worker.

        Raises:
            WireError: it does not fit what was asked.
        """
        item = member.item
        if item is None or item.number != answer.number:
            raise WireError("a worker answered another call than it was given")
        parts: list[Buffer] = []
        shortage: MemoryError | None = None
        try:
            parts = member.take(answer.payload, self._reuse)
        except MemoryError as error:
            shortage = error
        with self._desk.lock:
            self._count(item, answer, sum(map(len, parts)))
            self._settle(member, item, answer)
            if member.state == "busy":
                self.is_free(member)
        journal.replay(answer.journal)
        if shortage is None:
            _deliver(item, parts, ok=answer.ok)
        else:
            item.future.settle(error=shortage)

    def is_free(self, member: Member) -> None:
        """Give a worker a call that waits, have it wait for one, or replace it. The caller holds the lock."""
        member.due = math.inf
        if self._is_worn(member):
            self._desk.retire(member)
            return
        member.state = "idle"
        self._desk.idle.append(member)
        self._desk.hand_out()

    def _settle(self, member: Member, item: Item, answer: Answer) -> None:
        """Note what the answer says of the worker and of the memory that it looks at."""
        member.item = None
        member.calls += 1
        member.memory = answer.memory
        if item.slot is not None and not answer.ok:
            member.forget_segments()
        if answer.keeps and item.slot is not None:
            member.pinned[item.number], item.slot = item.slot, None
        self._desk.release(item)
        for number in answer.freed:
            if (slot := member.pinned.pop(number, None)) is not None:
                self._desk.arena.give_back(slot)
        self._desk.backoff.succeeded()

    def _is_worn(self, member: Member) -> bool:
        plan = self._plan
        if member.edition != self._desk.edition:
            return True
        return (
            self._wears
            and member.calls > 0
            and (
                member.calls >= plan.max_calls * member.share
                or member.held > plan.max_memory
                or clock.ticks() - member.born >= plan.recycle * member.share
            )
        )

    def _count(self, item: Item, answer: Answer, size: int) -> None:
        meter, now = self._desk.meter, clock.ticks()
        item.future.seconds = answer.seconds
        transfer = max(now - item.started - answer.seconds, 0.0)
        meter.measure(item.started - item.submitted, transfer, answer.seconds, item.size, size, item.items)
        meter.count("answered")
        if not answer.ok:
            meter.count("failed")


def _deliver(item: Item, parts: list[Buffer], *, ok: bool) -> None:
    try:
        if ok:
            item.future.settle(transport.load(parts))
        else:
            item.future.settle(error=failures.unpack(bytes(parts[0])))
    except BaseException as error:  # noqa: BLE001 - what a class does when it is unpickled is its own affair
        error.add_note("raised while the result of a worker was unpickled")
        parts.clear()  # the traceback refers to what refers to them, in a circle
        item.future.settle(error=error if isinstance(error, Exception) else RuntimeError(repr(error)))
