"""Where calls are taken in and given to workers: what the callers' threads and the supervisor share."""

from __future__ import annotations

import contextlib
import itertools
import math
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from mlcache import clock
from mlcache.errors import CallTimeoutError, OffloadError, PoolClosedError, PoolFullError, WorkerStartError
from mlcache.offload import editions
from mlcache.offload.arena import Arena
from mlcache.offload.backoff import Backoff
from mlcache.offload.lobby import Lobby
from mlcache.offload.metrics import Meter
from mlcache.offload.queue import Queue
from mlcache.offload.wire import Stop

if TYPE_CHECKING:
    from mlcache.offload.item import Item
    from mlcache.offload.member import Member
    from mlcache.offload.plan import Plan

GRACE = 0.2
"""Seconds that a worker is given to end by itself."""
_CLOSED = "the pool is closed, and takes no more calls"


class Desk:
    """The queue, the workers that are idle, and the lock that guards both.

    Args:
        plan: of the pool.
        wake: tells the supervisor to look again.

    Attributes:
        edition: of the code that workers must have.
    """

    def __init__(self, plan: Plan, wake: Callable[[], None]) -> None:
        self.lock = threading.RLock()
        self.arena = Arena()
        self.meter = Meter()
        self.backoff = Backoff()
        self.queue = Queue(plan.max_queue, plan.max_queue_bytes)
        self.members: dict[int, Member] = {}
        self.idle: list[Member] = []
        self.lobby = Lobby(self.queue, self.idle)
        self.closed = False
        self.edition = editions.look()  # workers that start now have the code of now
        self.wakes_at = math.inf
        self.horizon = math.inf
        self._plan = plan
        self._wake = wake
        self._numbers = itertools.count(1)
        self._late: list[Item] = []
        self._taken_back: deque[Item] = deque()

    def admit(self, item: Item, come_in: Callable[[], None] | None = None) -> bool:
        """Reserve room for a call, which ``submit`` must follow or ``give_up``.

        Args:
            item: the call.
            come_in: if there is none, the call waits, and this is called once there is, in some thread that
                holds the lock; or never, if the call is answered before. None: the call does not wait.

        Returns:
            Whether there is room.

        Raises:
            PoolClosedError: no more calls are taken.
        """
        with self.lock:
            self._check_open()
            self.clear_taken_back()
            if self.lobby.enter(item.size):
                return True
            if come_in is not None:
                item.number, item.submitted = next(self._numbers), clock.ticks()
                self.lobby.wait(item, come_in)
                self._mind_deadline(item)
            return False

    def full_error(self) -> PoolFullError:
        """What to raise where there is no room, and that is not to be waited for."""
        return PoolFullError(
            f"{len(self.queue)} calls with {self.queue.bytes} bytes of arguments wait already: "
            "raise max_queue, add workers, or call less often"
        )

    def give_up(self, item: Item) -> None:
        """Return what ``admit`` reserved, or ``come_in`` told of."""
        with self.lock:
            self.lobby.leave(item.size)
            self.lobby.let_in()

    def leave(self, item: Item) -> bool:
        """Have a call wait for room no more; False if it does not."""
        with self.lock:
            waited = self.lobby.discard(item)
            self.lobby.let_in()
            return waited

    def submit(self, item: Item, *, admitted: bool = True) -> bool:
        """Take a call in: it goes to an idle worker at once, else it waits.

        Returns:
            False if it was not ``admitted`` before, and there is no room.

        Raises:
            PoolClosedError: no more calls are taken.
            OffloadError: its code was reloaded, and no worker can have the new one.
        """
        with self.lock:
            if admitted:
                self.lobby.leave(item.size)
            elif not self.lobby.is_open(item.size):
                return False
            error = self._accept(item)
        if error is not None:
            self.fail(item, error)
        return True

    def _accept(self, item: Item) -> WorkerStartError | None:
        try:
            self._check_open()
            if self.edition != editions.latest():
                self._renew()
        except OffloadError:
            self.release(item)
            self.lobby.let_in()
            raise
        item.number, item.submitted = item.number or next(self._numbers), item.submitted or clock.ticks()
        self.meter.count("submitted")
        if self._refuses():
            self.lobby.let_in()
            return self.start_error()
        self._take_or_keep(item)
        return None

    def _take_or_keep(self, item: Item) -> None:
        if self.idle and not len(self.queue):
            self._give(self.idle.pop(), item)
            self.lobby.let_in()  # the place that was reserved in the queue is not needed
            if len(self.queue):  # that worker is dead
                self.hand_out()
        else:
            self.queue.push(item)
            self._mind_deadline(item)
            self.hand_out()

    def _mind_deadline(self, item: Item) -> None:
        if item.deadline is not None and item.deadline < self.wakes_at:
            self._wake()

    def hand_out(self) -> None:
        """Give waiting calls to idle workers. The caller holds the lock."""
        while self.idle and (item := self.queue.pop()) is not None:
            self._give(self.idle.pop(), item)
        self.lobby.let_in()

    def _give(self, member: Member, item: Item) -> None:
        now = clock.ticks()
        if item.deadline is not None and item.deadline <= now:
            self._late.append(item)  # for the supervisor to say so to the caller
            self.idle.append(member)
            self._wake()
            return
        if not (item.started or item.future.set_running_or_notify_cancel()):
            self.release(item)
            self.idle.append(member)
            return
        timeout = self._plan.timeout if item.timeout is None else item.timeout
        member.state, member.item, member.due = "busy", item, now + timeout
        item.started = now
        try:
            member.send(item)  # last: the answer may be there before this returns
        except OSError as error:  # most likely it has died; if not, it is of no use any more
            member.item = None
            self.lose(member, error)
            self.queue.push(item)
            return
        except BaseException as error:  # of a signal's handler: whether it was sent nobody knows
            self.lose(member, error)
            raise
        self.horizon = min(self.horizon, timeout)
        if now + timeout < self.wakes_at:
            self._wake()

    def lose(self, member: Member, reason: BaseException) -> None:
        """Have the supervisor end a worker of which nobody knows what it does. The caller holds the lock."""
        member.state, member.reason, member.due = "ending", reason, -math.inf
        self._wake()

    def _renew(self) -> None:
        """Replace the workers that have code from before a reload: the busy ones when they have answered."""
        if self._plan.start_method == "fork":
            raise OffloadError(
                "a module was reloaded after this pool was started, and workers that were forked from it "
                "before cannot have the new code: close the pool and make a new one"
            )
        self.edition = editions.latest()
        for member in list(self.idle):
            self.retire(member)
        self._wake()

    def retire(self, member: Member) -> None:
        """Ask a worker without a call to end."""
        with self.lock:
            if member in self.idle:
                self.idle.remove(member)
            member.state, member.expected = "ending", True
            member.due = clock.ticks() + GRACE
            with contextlib.suppress(OSError):  # it has died
                member.line.send(Stop())

    def release(self, item: Item) -> None:
        """Give back the memory of a call's arguments."""
        slot, item.slot = item.slot, None
        if slot is not None:
            self.arena.give_back(slot)

    def cancel(self, item: Item) -> None:
        """Have a call wait no more that its caller has taken back.

        It takes no lock: a finalizer may come at any moment, in a thread that holds any of them, and cancel.
        """
        self._taken_back.append(item)
        self._wake()

    def clear_taken_back(self) -> None:
        """Let go of the calls that were taken back. The caller holds the lock."""
        if not self._taken_back:
            return
        while self._taken_back:
            item = self._taken_back.popleft()
            self.meter.count("cancelled")
            if self.queue.discard(item) or self.lobby.discard(item):
                item.future.set_running_or_notify_cancel()  # for who waits for several futures
                self.release(item)
        self.lobby.let_in()

    def fail(self, item: Item, error: BaseException) -> None:
        """Answer a call with an error. The caller does not hold the lock."""
        self.release(item)
        if item.future.running() or item.future.set_running_or_notify_cancel():
            item.future.settle(error=error)

    def next_deadline(self) -> float:
        """When the first of the calls that wait comes too late. The caller holds the lock."""
        return min(self.queue.next_deadline(), self.lobby.next_deadline())

    def fail_late(self) -> None:
        """Answer the calls whose deadline has passed."""
        now = clock.ticks()
        with self.lock:
            self.clear_taken_back()
            late = self._late + self.queue.expired(now) + self.lobby.expired(now)
            self._late = []
            self.lobby.let_in()
            self.meter.counts["timed_out"] += len(late)
        for item in late:
            waited = f"waited {now - item.submitted:.3g} s for a worker, longer than its deadline allows"
            self.fail(item, CallTimeoutError(f"the call of {item.name} {waited}"))

    def fail_waiting(self, error: BaseException) -> None:
        """Answer all calls that wait."""
        with self.lock:
            waiting, self._late = self._late + self.queue.clear(), []
            self.lobby.let_in()
        for item in waiting:
            self.fail(item, error)

    def close(self) -> None:
        """Take no more calls."""
        with self.lock:
            self.closed = True
            outside = self.lobby.clear()
        for item in outside:
            self.fail(item, PoolClosedError(_CLOSED))

    def start_error(self) -> WorkerStartError:
        """What to answer calls with while no worker can be started."""
        reason = self.backoff.reason
        error = WorkerStartError(f"workers cannot be started, {self.backoff.failed_starts} times: {reason}")
        error.__cause__ = reason
        return error

    def _refuses(self) -> bool:
        return self.backoff.is_broken and not any(
            member.state in ("idle", "busy") for member in self.members.values()
        )

    def _check_open(self) -> None:
        if self.closed:
            raise PoolClosedError(_CLOSED)
