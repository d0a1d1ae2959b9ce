"""The workers of a pool: ordered, heard, ended and replaced. Only the supervisor's thread is here."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import selectors
import signal
from functools import partial
from typing import TYPE_CHECKING

from mlcache import clock
from mlcache.errors import CallTimeoutError, WorkerDied, WorkerStartError
from mlcache.offload import failures, functions, journal
from mlcache.offload.answers import Answers
from mlcache.offload.arena import store
from mlcache.offload.backoff import TRIES
from mlcache.offload.desk import GRACE
from mlcache.offload.hire import Nursery
from mlcache.offload.member import Member
from mlcache.offload.nursery import BORN, UNBORN
from mlcache.offload.wire import Answer, Message, Need, Ready, Said, Setup, Unready, WireError

if TYPE_CHECKING:
    from mlcache.offload.desk import Desk
    from mlcache.offload.item import Item
    from mlcache.offload.plan import Plan

AGAIN = 1.0
"""Seconds after which one that is to be killed is killed once more."""


class Staff:
    """The workers, and the nursery that they come from.

    Args:
        plan: of the pool.
        desk: which gives them calls.
        selector: where what they say is waited for.
    """

    def __init__(self, plan: Plan, desk: Desk, selector: selectors.BaseSelector) -> None:
        self._plan = plan
        self._desk = desk
        self._selector = selector
        self._answers = Answers(plan, desk)
        self._nursery: Nursery | None = None
        self._numbers = itertools.count(1)
        self._hire_at = 0.0
        self.starts = [0] * plan.workers
        factories = [functions.pack(factory) for factory in plan.resources.values()]
        self._factories, self._slot = store(factories, desk.arena)

    def fill(self, now: float) -> None:
        """Order workers for the places that nobody has, if it is time to."""
        if now < self._hire_at:
            return
        taken = {member.slot for member in self._desk.members.values() if member.has_place}
        for slot in sorted(set(range(self._plan.workers)) - taken):
            try:
                self._hire(slot, now)
            except OSError as error:
                self._failed_to_start(error)
                return

    def next_due(self) -> float:
        """When something has to be done if nothing is heard. The caller holds the desk's lock."""
        members = self._desk.members.values()
        due = min((member.due for member in members), default=math.inf)
        missing = self._plan.workers > sum(member.has_place for member in members)
        needed = not self._desk.closed or len(self._desk.queue)
        return min(due, self._hire_at) if missing and needed else due

    def check(self, now: float) -> None:
        """End the workers that take too long."""
        for member in [each for each in self._desk.members.values() if each.due <= now]:
            if member.state == "starting":
                self._desk.backoff.failed_starts += TRIES - 1  # to try once more would take as long again
                waited = f"loading its resources took longer than {self._plan.load_timeout:.3g} s"
                self._end(member, WorkerStartError(waited))
            elif member.state == "busy":
                self._hear(member)  # the answer may have come while this thread was busy
                if member.state == "busy" and member.due <= now:
                    self._time_out(member)
            else:
                self._end(member)

    def send_home(self) -> None:
        """Have those end that do nothing; the others are asked when they are done."""
        for member in list(self._desk.members.values()):
            if member.state == "idle":
                self._desk.retire(member)
            elif member.state == "starting":
                self._end(member, expected=True)

    def dismiss(self, error: BaseException) -> None:
        """End all workers at once, and answer everybody who waits with ``error``."""
        nursery, self._nursery = self._nursery, None
        if nursery is not None:
            nursery.close()
        self._desk.fail_waiting(error)
        for member in list(self._desk.members.values()):
            if member.item is not None:
                self._desk.fail(member.item, error)
            member.close()
        self._desk.members.clear()
        self._desk.idle.clear()
        self._desk.arena.close()

    def forget(self) -> None:
        """In a fork of the process: close what came along."""
        for member in self._desk.members.values():
            member.close()
        self._desk.arena.forget()
        if self._nursery is not None:
            self._nursery.forget()

    def _hire(self, slot: int, now: float) -> None:
        if self._nursery is None:
            self._nursery = Nursery(self._plan.start_method, self._plan.threads)
            self._selector.register(self._nursery, selectors.EVENT_READ, self._hear_nursery)
        number, edition = next(self._numbers), self._desk.edition
        # Those that begin together would all be replaced together, and nobody be there meanwhile.
        share = 1.0 if self.starts[slot] else (slot + 1) / self._plan.workers
        member = Member(number, slot, share, edition, self._nursery.start(number))
        member.due = now + self._plan.load_timeout
        try:
            opens, files = None, list[int]()
            if self._slot is not None:
                opens, files = self._slot.segment.described, [self._slot.segment.file]
            names, threads = list(self._plan.resources), self._plan.threads
            member.line.send(Setup(names, self._factories, threads, journal.terms(), opens), files)
        except OSError:
            member.close()
            raise
        self._selector.register(member.line, selectors.EVENT_READ, partial(self._hear, member))
        with self._desk.lock:
            self._desk.members[number] = member
            self._desk.meter.counts["restarts"] += self.starts[slot] > 0
        self.starts[slot] += 1

    def _hear(self, member: Member) -> bool:
        """Heed what a worker says; False if there may be more to do, True if it goes on as before."""
        if member.line.fileno() < 0:
            return False
        was_ready = member.state != "starting"
        try:
            for message in member.line.arrived():
                self._heed(member, message)
        except EOFError:
            self._lose(member)
        except (WireError, OSError) as error:
            self._end(member, error)
        return was_ready and member.state != "ending"

    def _heed(self, member: Member, message: Message) -> None:
        if isinstance(message, Said):
            journal.replay(message.journal)
        elif isinstance(message, Answer) and member.item is not None:
            self._answers.take(member, message)
        elif isinstance(message, Need) and member.item is not None:
            member.make_room(message.size)
            member.due = max(member.due, clock.ticks() + AGAIN)  # it has computed, and is copying
        elif isinstance(message, Ready) and member.state == "starting":
            self._started(member, message)
        elif isinstance(message, Unready) and member.state == "starting":
            journal.replay(message.journal)
            error = WorkerStartError("the resources of a worker could not be loaded")
            error.__cause__ = failures.unpack(message.failure)
            self._end(member, error)
        elif member.state != "ending":
            raise WireError(f"a worker said {type(message).__name__} out of turn")

    def _started(self, member: Member, ready: Ready) -> None:
        journal.replay(ready.journal)
        member.memory, member.born = ready.memory, clock.ticks()
        self._desk.backoff.started()
        with self._desk.lock:
            self._answers.is_free(member)

    def _time_out(self, member: Member) -> None:
        with self._desk.lock:
            item, member.item = member.item, None
            due = member.due
            self._desk.meter.count("timed_out")
        self._end(member, expected=True)
        if item is not None:
            took = f"took longer than {due - item.started:.3g} s, and was ended with its worker"
            self._desk.fail(item, CallTimeoutError(f"the call of {item.name} {took}"))

    def _end(self, member: Member, reason: BaseException | None = None, *, expected: bool = False) -> None:
        """Kill a worker; what it was doing is seen to once it is dead."""
        with self._desk.lock:
            if member in self._desk.idle:
                self._desk.idle.remove(member)
            member.state = "ending"
            member.reason = member.reason or reason
            member.expected = member.expected or expected
            member.due = clock.ticks() + AGAIN
        if self._nursery is not None:
            self._nursery.kill(member.number)

    def _lose(self, member: Member) -> None:
        """See to a worker that has closed its end: it is dead, or has gone wrong."""
        self._selector.unregister(member.line)
        member.line.close()
        with self._desk.lock:
            if member in self._desk.idle:
                self._desk.idle.remove(member)
            member.state = "ending"
            member.due = clock.ticks() + GRACE

    def _hear_nursery(self) -> bool:
        nursery = self._nursery
        if nursery is not None:
            self._heed_nursery(nursery)
        return False

    def _heed_nursery(self, nursery: Nursery) -> None:
        try:
            for number, process, status in nursery.reports():
                member = self._desk.members.get(number)
                if member is not None and status == BORN:
                    member.pid = process
                elif member is not None and status == UNBORN:
                    member.reason = OSError(process, os.strerror(process))
                    self._bury(member, None)
                elif member is not None:
                    self._bury(member, status)
        except EOFError:
            self._lose_nursery(nursery)

    def _lose_nursery(self, nursery: Nursery) -> None:
        self._selector.unregister(nursery)
        self._nursery = None
        nursery.close()
        members = list(self._desk.members.values())
        with self._desk.lock:
            self._desk.idle.clear()  # none of them is to be given what another one leaves
            for member in members:
                member.state = "ending"
        for member in members:
            if member.pid is not None:
                with contextlib.suppress(OSError):
                    os.kill(member.pid, signal.SIGKILL)
            self._bury(member, None)

    def _bury(self, member: Member, status: int | None) -> None:
        """See to what a dead worker leaves: an answer that it still gave, its call, its memory, its place."""
        member.state = "ending"
        if member.line.fileno() >= 0:
            self._hear(member)
        if member.line.fileno() >= 0:
            self._selector.unregister(member.line)
        with self._desk.lock:
            del self._desk.members[member.number]
            if member in self._desk.idle:
                self._desk.idle.remove(member)
            item, member.item = member.item, None
        for slot in member.pinned.values():
            self._desk.arena.give_back(slot)
        member.close()
        if not member.expected and not member.born:
            ended = member.end_in_words(status)
            self._failed_to_start(member.reason or WorkerDied(f"{ended} before it took calls"))
        elif not member.expected:
            self._desk.backoff.died()
            self._hire_at = clock.ticks() + self._desk.backoff.delay()
        if item is not None:
            self._lost_call(item, member, status)

    def _lost_call(self, item: Item, member: Member, status: int | None) -> None:
        item.kills += 1
        if item.retry and item.kills <= 1:
            with self._desk.lock:
                self._desk.queue.push(item)
                self._desk.hand_out()
            return
        self._desk.meter.count("died")
        more = ": it has ended two workers, and is not tried again" * (item.kills > 1)
        ended, advice = member.end_in_words(status), member.advice_on_end(status)
        error = WorkerDied(f"{ended} while it computed the call of {item.name}{more}{advice}")
        error.__cause__ = member.reason
        self._desk.fail(item, error)

    def _failed_to_start(self, reason: BaseException) -> None:
        backoff = self._desk.backoff
        backoff.failed_to_start(reason)
        self._hire_at = clock.ticks() + backoff.delay()
        if backoff.is_broken and not any(member.born for member in self._desk.members.values()):
            self._desk.fail_waiting(self._desk.start_error())
