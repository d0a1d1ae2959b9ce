"""The steps: what a flow asks its driver for, and what it is answered with."""

from __future__ import annotations

import enum
from collections.abc import Coroutine, Generator
from typing import Any

import msgspec

from mlcache.call import Call
from mlcache.entry import FOREVER, Entry, Key
from mlcache.events import Event
from mlcache.flight import Flight
from mlcache.flight.shared import Lock


class Step(msgspec.Struct, frozen=True, eq=False):
    """Something that a flow asks its driver for."""

    def __await__(self) -> Generator[Step, Any, Any]:
        return (yield self)


class Find(Step, frozen=True, eq=False):
    """Look the key up. Answered with a ``Found`` or None.

    Args:
        key: to look up.
        again: whether the flow has done so just now, so that what fails need not be told once more.
        after: what was made then or before is sought only where there is nothing younger.
        max_age: as above, of what is older than so many seconds.
    """

    key: Key
    again: bool = False
    after: float = -FOREVER
    max_age: float = FOREVER

    @property
    def how(self) -> dict[str, Any]:
        """What to look for."""
        return {"again": self.again, "after": self.after, "max_age": self.max_age}


class Join(Step, frozen=True, eq=False):
    """Join the flight for the key, or replace it. Answered with the flight and whether we lead it.

    Args:
        key: of the flight.
        anew: whether to replace it.
        later: whether, if we lead it, ``Later`` will follow.
    """

    key: Key
    anew: bool = False
    later: bool = False


class Lead(Step, frozen=True, eq=False):
    """Drive another flow for a flight, here or elsewhere. Awaiting it gives its outcome; None if it gave up.

    A driver that goes on with the other flow itself answers with that flow. It is then part of this one, so
    that cached functions which call each other go less deep.
    """

    flight: Flight
    flow: Coroutine[Step, Any, Outcome]

    def __await__(self) -> Generator[Step, Any, Any]:
        reply = yield self
        return (yield from self.flow.__await__()) if reply is self.flow else reply


class Later(Step, frozen=True, eq=False):
    """Have another flow driven in the background; where there is no room for it, its flight lands at once."""

    flight: Flight
    flow: Coroutine[Step, Any, Outcome]


class Draw(Step, frozen=True, eq=False):
    """Answered with a random number between 0 and 1."""


class Now(Step, frozen=True, eq=False):
    """Answered with the time."""


class Wait(Step, frozen=True, eq=False):
    """Wait for a flight that somebody else leads. Answered as ``Lead``."""

    flight: Flight


class Compute(Step, frozen=True, eq=False):
    """Call the function. Answered with a ``Made``: the value, when it was there, and what it cost."""

    call: Call
    flight: Flight | None = None


class GetLock(Step, frozen=True, eq=False):
    """Answered with the lock that processes share for the key, or None where there is none."""

    key: Key


class TryLock(Step, frozen=True, eq=False):
    """Take the lock, if nobody holds it. Answered with whether we hold it."""

    lock: Lock


class Overtaken(Step, frozen=True, eq=False):
    """Answered with whether another process has invalidated or written the key since we took the lock."""

    lock: Lock


class Unlock(Step, frozen=True, eq=False):
    """Let go of the lock.

    Args:
        lock: that we hold.
        wrote: whether we have written, which is not to stay where others have invalidated or written the key.
    """

    lock: Lock
    wrote: bool = True


class Pause(Step, frozen=True, eq=False):
    """Let some seconds pass."""

    seconds: float


class Keep(Step, frozen=True, eq=False):
    """Write the entry to all tiers. Answered with whether nothing is there after, as none took it.

    Args:
        key: of the entry.
        entry: to be written.
        flight: for the key, whose result it is: it is not written, or not for long, if that is superseded.
    """

    key: Key
    entry: Entry
    flight: Flight | None = None


class Drop(Step, frozen=True, eq=False):
    """Delete the key from all tiers, and keep nothing of a flight. Answered with whether it was there."""

    key: Key


class Supersede(Step, frozen=True, eq=False):
    """Let nobody else join the flight for the key, and keep no result of it, but ``newest``."""

    key: Key
    newest: Entry | None = None


class Overtake(Step, frozen=True, eq=False):
    """Let other processes that compute the key keep nothing of it, as far as a tier can tell them."""

    key: Key


class Land(Step, frozen=True, eq=False):
    """End the flight with an outcome for all who wait, or with an error."""

    flight: Flight
    outcome: Outcome | None
    error: BaseException | None = None


class Share(Step, frozen=True, eq=False):
    """Give all who wait for the flight its outcome already. It stays under way for who comes later."""

    flight: Flight
    outcome: Outcome


class Tell(Step, frozen=True, eq=False):
    """Count the event and tell the hooks."""

    event: Event


class Status(enum.Enum):
    """How a call was answered."""

    HIT = "hit"
    STALE = "stale"
    COALESCED = "coalesced"
    MISS = "miss"
    BYPASS = "bypass"


class Outcome(msgspec.Struct, frozen=True, eq=False):
    """An entry and how it came about.

    Args:
        entry: the answer.
        status: how it came about.
        tier: where it was found.
        kept: whether it is in the cache; of what is shared before it is written, whether it may be.
        shareable: whether others who wait may have it, too; what cannot be copied is its caller's alone.
    """

    entry: Entry
    status: Status
    tier: str | None = None
    kept: bool = True
    shareable: bool = True


class Made(msgspec.Struct, frozen=True, eq=False):
    """What calling the function gave.

    Args:
        value: what it returned.
        at: the time at which it was there.
        cost: the seconds it took.
    """

    value: Any
    at: float
    cost: float
