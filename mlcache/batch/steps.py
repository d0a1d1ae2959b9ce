"""The steps that a batch takes beside those of a single call, and how the two drivers carry them out."""

from __future__ import annotations

from collections.abc import Collection, Coroutine, Sequence
from functools import partial
from typing import Any, cast

import msgspec

from mlcache.backends.many import ManyTiers
from mlcache.backends.tiered import Found
from mlcache.backends.walk import run, run_suspending
from mlcache.batch.writing import writing_many
from mlcache.call import Call
from mlcache.computing import Shipped, ship_aside
from mlcache.drive import ACTIONS, AWAITED, Parts
from mlcache.entry import FOREVER, Entry, Key
from mlcache.errors import RecursiveCallError
from mlcache.events import Event
from mlcache.flight import Flight, keys_computed_here, together
from mlcache.steps import Compute, Made, Outcome, Step
from mlcache.threads import in_thread


class FindMany(Step, frozen=True, eq=False):
    """Look keys up. Answered, by key, with a ``Found`` or None.

    Args:
        keys: to look up.
        again: whether the flow has done so just now, so that what fails need not be told once more.
        after: by key, what was made then or before is sought only where there is nothing younger; none: any.
        max_age: as above, of what is older than so many seconds.
    """

    keys: Sequence[Key]
    again: bool = False
    after: Sequence[float] = ()
    max_age: float = FOREVER


class KeepMany(Step, frozen=True, eq=False):
    """Write entries to all tiers. Answered, by entry, with whether nothing is there after.

    Args:
        items: the entries, under their keys.
        flights: by entry, the flight whose result it is, as for ``Keep``; none where they are of none.
    """

    items: Sequence[tuple[Key, Entry]]
    flights: Sequence[Flight] = ()


class DropMany(Step, frozen=True, eq=False):
    """Delete keys from all tiers, and keep nothing of their flights. Answered with whether any was there."""

    keys: Sequence[Key]


class SupersedeMany(Step, frozen=True, eq=False):
    """Let nobody else join the flights for keys, and keep no results of them but these, which are newest."""

    items: Sequence[tuple[Key, Entry]]


class OvertakeMany(Step, frozen=True, eq=False):
    """Let other processes that compute the keys keep nothing of them, as far as a tier can tell them."""

    keys: Sequence[Key]


class JoinMany(Step, frozen=True, eq=False):
    """Join the flights for keys. Answered, by key, with the flight and whether we lead it.

    Args:
        keys: of the flights.
        anew: whether to replace those that are under way.
        offered: whether the computation will be offered to all who wait: None if the driver does so
            wherever it leaves the thread.
    """

    keys: Sequence[Key]
    anew: bool = False
    offered: bool | None = None


class Hasten(Step, frozen=True, eq=False):
    """Let flights that others lead wait for no company: a batch that callers put together has enough."""

    flights: Collection[Flight]


class LandMany(Step, frozen=True, eq=False):
    """End flights, each with its outcome."""

    landings: Sequence[tuple[Flight, Outcome | None]]


class CrashMany(Step, frozen=True, eq=False):
    """End flights with an error; with more than one of them it may be about any."""

    flights: Sequence[Flight]
    error: BaseException


class Disband(Step, frozen=True, eq=False):
    """End a convoy whose flights have landed.

    Args:
        convoy: to be ended.
        result: for the caller whose it is.
        error: in place of a result.
    """

    convoy: Flight
    result: Any = None
    error: BaseException | None = None


class Sent(msgspec.Struct, frozen=True, eq=False):
    """A call that was given to an engine.

    Args:
        call: gives what the engine makes of it.
        shipped: by which it can be taken back; None if it was computed at once.
    """

    call: Call
    shipped: Shipped | None


class Ship(Step, frozen=True, eq=False):
    """Give a call to an engine, and wait for no more than that. Answered with ``Sent``."""

    call: Call
    flight: Flight


class LockMany(Step, frozen=True, eq=False):
    """Take the locks that processes share, as far as that needs no waiting. Answered with ``Locked``."""

    keys: Sequence[Key]


class UnlockMany(Step, frozen=True, eq=False):
    """Let go of locks.

    Args:
        locks: that we hold.
        wrote: the keys under which we have written, which is not to stay where others have invalidated or
            written them meanwhile.
    """

    locks: Sequence[Any]
    wrote: Collection[Key] = ()


class TellMany(Step, frozen=True, eq=False):
    """Count events and tell the hooks."""

    events: Sequence[Event]


def recursion(key: Key) -> RecursiveCallError:
    """The error for a batch that would wait for one of its items."""
    return RecursiveCallError(
        f"{key.namespace} asks for the answer to an item of the batch that it computes, directly or "
        "through others: it would wait for its own result"
    )


def _store(parts: Parts) -> ManyTiers:
    return cast("ManyTiers", parts.store)


def _supersede(step: SupersedeMany, parts: Parts) -> None:
    for key, newest in step.items:
        parts.flights.supersede(key, newest)


def _dropping(step: DropMany, parts: Parts) -> Coroutine[Any, Any, bool]:
    for key in step.keys:
        parts.flights.supersede(key)
    return _store(parts).dropping_many(step.keys)


def _keeping(step: KeepMany, parts: Parts) -> Coroutine[Any, Any, list[bool]]:
    return writing_many(step.items, step.flights, _store(parts), parts.flights)


def _join(step: JoinMany, parts: Parts, *, offered: bool = False) -> list[tuple[Flight, bool]]:
    queued = offered if step.offered is None else step.offered
    if step.anew:
        return [(parts.flights.lead_anew(key, queued=queued), True) for key in step.keys]
    try:
        return [parts.flights.join(key, queued=queued) for key in step.keys]
    except RecursiveCallError:
        raise recursion(step.keys[0]) from None


async def _join_suspending(step: JoinMany, parts: Parts) -> list[tuple[Flight, bool]]:
    return _join(step, parts, offered=not parts.suspends)


def _hasten(step: Hasten, _: Parts) -> None:
    for hasten in {flight.hasten for flight in step.flights}:
        if hasten is not None:
            hasten()


def _land(step: LandMany, parts: Parts) -> None:
    with together():
        for flight, outcome in step.landings:
            if outcome is not None and not outcome.shareable:
                flight.own, outcome = outcome, None  # noqa: PLW2901 - it is its leader's alone
            parts.flights.land(flight, outcome)


def _crash(step: CrashMany, parts: Parts) -> None:
    suspects = frozenset(flight.key for flight in step.flights)
    with together():
        for flight in step.flights:
            flight.suspects = suspects
            parts.flights.crash(flight, step.error)


def _disband(step: Disband, parts: Parts) -> None:
    step.convoy.disband()
    if step.error is None:
        parts.flights.land(step.convoy, step.result)
    else:
        parts.flights.crash(step.convoy, step.error)


def _ship(step: Ship, parts: Parts) -> Sent:
    return _sent(step, parts.ship(Compute(step.call, step.flight)))


async def _ship_suspending(step: Ship, parts: Parts) -> Sent:
    return _sent(step, await ship_aside(partial(parts.ship, Compute(step.call, step.flight))))


def _sent(step: Ship, given: Made | Shipped) -> Sent:
    shipped, value = (given, given) if isinstance(given, Shipped) else (None, given.value)
    return Sent(Call(step.call.key, (), lambda _: value), shipped)


def _tell(step: TellMany, parts: Parts) -> None:
    for event in step.events:
        parts.tell(event)


def _find(step: FindMany, parts: Parts) -> Coroutine[Any, Any, list[Found | None]]:
    how: dict[str, Any] = {"again": step.again, "after": step.after, "max_age": step.max_age}
    return _store(parts).finding_many(step.keys, **how)


ACTIONS.update(
    {
        FindMany: lambda step, parts: run(_find(step, parts)),
        KeepMany: lambda step, parts: run(_keeping(step, parts)),
        DropMany: lambda step, parts: run(_dropping(step, parts)),
        SupersedeMany: _supersede,
        OvertakeMany: lambda step, parts: run(_store(parts).superseding_many(step.keys)),
        JoinMany: _join,
        Hasten: _hasten,
        LandMany: _land,
        CrashMany: _crash,
        Disband: _disband,
        Ship: _ship,
        LockMany: lambda step, parts: run(_store(parts).locking_many(step.keys, ours=keys_computed_here())),
        UnlockMany: lambda step, parts: run(_store(parts).unlocking_many(step.locks, wrote=step.wrote)),
        TellMany: _tell,
    }
)
AWAITED.update(
    {
        FindMany: lambda step, parts: run_suspending(_find(step, parts)),
        KeepMany: lambda step, parts: run_suspending(_keeping(step, parts)),
        DropMany: lambda step, parts: run_suspending(_dropping(step, parts)),
        OvertakeMany: lambda step, parts: run_suspending(_store(parts).superseding_many(step.keys)),
        JoinMany: _join_suspending,
        Ship: _ship_suspending,
        LockMany: lambda step, parts: in_thread("store", partial(ACTIONS[LockMany], step, parts)),
        UnlockMany: lambda step, parts: in_thread("store", partial(ACTIONS[UnlockMany], step, parts)),
    }
)
