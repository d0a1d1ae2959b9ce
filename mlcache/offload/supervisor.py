"""The supervisor: the one thread of a pool, which waits for workers, for time to pass, and for orders."""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import selectors
import socket
import threading
import weakref
from typing import TYPE_CHECKING, Any

from mlcache import clock
from mlcache.errors import PoolClosedError
from mlcache.offload.desk import Desk
from mlcache.offload.intake import take_in
from mlcache.offload.staff import Staff

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from mlcache.offload.engine import CallOptions
    from mlcache.offload.plan import Plan


_LONGEST = 86400.0
"""Seconds that the thread waits at a time: systems refuse to wait for more than 24 days, or years."""


class Supervisor:
    """The thread of a pool, and what belongs to it.

    Args:
        plan: of the pool.

    Raises:
        Exception: a factory of the resources cannot be sent to another process.
    """

    def __init__(self, plan: Plan) -> None:
        self._process = os.getpid()
        self._plan = plan
        self.desk = Desk(plan, self.wake)
        self._selector = selectors.DefaultSelector()
        self.staff = Staff(plan, self.desk, self._selector)
        self._ears, self._bell = socket.socketpair()
        for end in (self._ears, self._bell):
            end.setblocking(False)  # noqa: FBT003 - its signature
        self._selector.register(self._ears, selectors.EVENT_READ, self._hear_bell)
        self._closing = self._aborting = False
        self.thread = threading.Thread(target=self._run, name="mlcache-pool", daemon=True)
        self.thread.start()
        _alive.add(self)

    def wake(self) -> None:
        """Have the thread look again at what there is to do. It takes no lock."""
        with contextlib.suppress(OSError):  # there is more than enough to hear, or it has ended
            self._bell.send(b"\0")

    def take_in(
        self,
        options: CallOptions,
        call: tuple[Callable[..., Any], Any, Any],
        *,
        wait: bool,
        later: object = None,
    ) -> Future[Any]:
        """Take a call in, as ``intake.take_in``."""
        return take_in(self._plan, self.desk, options, call, wait=wait, later=later)

    def retire(self) -> None:
        """End once all calls are answered. It takes no lock, as the pool may be collected at any moment."""
        self._closing = True
        if self._process == os.getpid():
            self.wake()

    def close(self, timeout: float | None) -> None:
        """Take no more calls, and end once all are answered; after ``timeout`` answer them with an error."""
        self.desk.close()
        self.retire()
        if self.thread is threading.current_thread():
            return
        self.thread.join(timeout)
        if self.thread.is_alive():
            self._aborting = True
            self.wake()
            self.thread.join()

    def forget(self) -> None:
        """In a fork of the process: close what came along, and touch nothing of the process it came from."""
        for thing in (self._selector, self._ears, self._bell):
            thing.close()
        self.staff.forget()

    def _run(self) -> None:
        error: BaseException = PoolClosedError("the pool was closed before the call was computed")
        try:
            while self._goes_on():
                self._take_turn()
        except BaseException as failure:  # a fault of the pool's own must leave nobody waiting
            error = failure
            raise
        finally:
            self.desk.close()
            self.staff.dismiss(error)
            for thing in (self._selector, self._ears, self._bell):
                thing.close()

    def _goes_on(self) -> bool:
        if self._aborting:
            return False
        if self._closing and not len(self.desk.queue):
            self.desk.close()
            self.staff.send_home()
            return bool(self.desk.members)
        return True

    def _take_turn(self) -> None:
        """Look around, then hear what there is to hear, until that is more than answers or it is time.

        Who was just answered waits for this thread to let go of the interpreter: so there is nothing between.
        """
        self._look_around(clock.ticks())
        patience = self._patience()
        while heard := self._selector.select(patience):
            as_before = [key.data() for key, _ in heard]
            if not all(as_before) or self._closing:
                return
            if patience is not None:
                patience = min(self.desk.wakes_at - clock.ticks(), _LONGEST)
                if patience <= 0:
                    return

    def _look_around(self, now: float) -> None:
        self.desk.fail_late()
        self.staff.check(now)
        if not self._closing or len(self.desk.queue):
            self.staff.fill(now)

    def _patience(self) -> float | None:
        """Seconds until there is something to do; None if nothing is known of.

        It is never longer than the shortest time that a call was given lately, so that nobody who
        gives out a call has to wake this thread for its sake.
        """
        desk = self.desk
        with desk.lock:
            now = clock.ticks()
            due = min(desk.next_deadline(), self.staff.next_due())
            desk.wakes_at = min(due, now + desk.horizon)
            if not any(member.item for member in desk.members.values()):
                desk.horizon = math.inf
            return None if math.isinf(desk.wakes_at) else min(max(desk.wakes_at - now, 0.0), _LONGEST)

    def _hear_bell(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            while len(self._ears.recv(4096)) == 4096:  # noqa: PLR2004 - as many as it asks for
                pass
        return False


_alive: weakref.WeakSet[Supervisor] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """At the end of the program nobody waits for answers any more."""
    for supervisor in list(_alive):
        if supervisor.thread.is_alive():
            supervisor.close(0)
