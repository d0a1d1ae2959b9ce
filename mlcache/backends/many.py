"""Several backends in a row, asked for many keys at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import msgspec

from mlcache import clock
from mlcache.backends.one_by_one import one_by_one
from mlcache.backends.protocol import Backend, Locks
from mlcache.backends.shared_lock import SharedLock
from mlcache.backends.tiered import Found, Tiers
from mlcache.backends.walk import Ask, OnFailure, tell_nobody
from mlcache.entry import FOREVER, Entry, Key, Verdict, judge
from mlcache.errors import BackendError

Written = tuple[Key, Entry]


class Locked(msgspec.Struct, frozen=True, eq=False):
    """What came of taking the locks of many keys.

    Args:
        locks: that we hold.
        elsewhere: by key, whether somebody else holds its lock. A key that has none is nobody's.
    """

    locks: list[SharedLock]
    elsewhere: list[bool]


class OneByOne:
    """One operation of a backend, for many items one after the other.

    Args:
        backend: to be asked.
        ask: does it for one.
    """

    def __init__(self, backend: Backend, ask: Callable[..., Any]) -> None:
        self.name = backend.name
        self.blocking = backend.blocking
        self._ask = ask

    def do(self, items: Sequence[tuple[Any, ...]]) -> list[Any]:
        """By item, which is a tuple of arguments, what it returns, or the error that it raises."""
        return one_by_one(self._ask, items)


class ManyTiers(Tiers):
    """``Tiers`` that are asked for many keys at once, each tier in one go."""

    async def finding_many(
        self,
        keys: Sequence[Key],
        *,
        again: bool = False,
        after: Sequence[float] = (),
        max_age: float = FOREVER,
    ) -> list[Found | None]:
        """By key, what ``finding`` gives.

        Args:
            keys: to look up.
            again: whether the same call has looked just now, and what failed was told then.
            after: by key, as for ``finding``; with none, entries made at any time will do.
            max_age: as for ``finding``.
        """
        if len(keys) == 1:
            oldest = after[0] if after else -FOREVER
            return [await self.finding(keys[0], again=again, after=oldest, max_age=max_age)]

        def is_young(place: int, entry: Entry) -> bool:
            return (not after or entry.created > after[place]) and now - entry.created <= max_age

        asked = is_young if after or max_age < FOREVER else None
        now, mark = clock.now(), self._recent.mark
        tell = tell_nobody if again else self._on_failure
        best: list[Found | None] = [None] * len(keys)
        places: Sequence[int] = range(len(keys))
        for tier, backend in enumerate(self.backends):
            wanted = [keys[place] for place in places] if tier else keys
            entries = await _get_many(backend, wanted, tell)
            fresh, places = self._sort(zip(places, entries, strict=True), best, self.names[tier], now, asked)
            if tier and fresh:
                await self._promote_many([(keys[place], entry) for place, entry in fresh], tier, mark)
            if not places:
                break
        return best

    def _sort(
        self,
        entries: Iterable[tuple[int, Entry | None]],
        best: list[Found | None],
        tier: str,
        now: float,
        is_young: Callable[[int, Entry], bool] | None,
    ) -> tuple[list[tuple[int, Entry]], list[int]]:
        """Note in ``best`` what was found; what of it was fresh, and the places where nothing fresh was."""
        fresh: list[tuple[int, Entry]] = []
        left: list[int] = []
        for place, found in entries:
            entry = None if found is None else self._due(found, now)
            if entry is None:
                left.append(place)
                continue
            if now < entry.fresh_until and (is_young is None or is_young(place, entry)):
                best[place] = Found(entry, tier, now)
                fresh.append((place, entry))
                continue
            left.append(place)
            before = best[place]
            later = before is None or before.entry.fresh_until < entry.fresh_until
            if later and judge(entry, now) is not Verdict.DEAD:
                best[place] = Found(entry, tier, now)
        return fresh, left

    async def keeping_many(self, items: Sequence[Written]) -> set[Key]:
        """``keeping``, of many; the keys whose entries no tier took."""
        refused: set[Key] | None = None
        for backend in reversed(self.backends):
            failed = set(await self._put_many(backend, items))
            refused = failed if refused is None else refused & failed
            self._note([key.digest for key, _ in items])
        return {key for key, _ in items} if refused is None else refused

    async def dropping_many(self, keys: Sequence[Key]) -> bool:
        """``dropping``, of many; whether any was there."""
        await self.superseding_many(keys)
        return await self._delete_many(self.backends, keys, self._on_failure)

    async def superseding_many(self, keys: Sequence[Key]) -> None:
        """``superseding``, of many."""
        for backend in self.backends:
            if hasattr(backend, "supersede"):
                await self._each(backend, "supersede", keys, self._on_failure)

    async def locking_many(self, keys: Sequence[Key], *, ours: Collection[Key] = ()) -> Locked:
        """Take the locks of keys, as far as that needs no waiting.

        Args:
            keys: to be computed.
            ours: the keys whose locks the caller may hold, and would wait for in vain.
        """
        locks: list[SharedLock | None] = [None if key in ours else self.lock(key) for key in keys]
        asked = [lock for lock in locks if lock is not None]
        replies = await self._ask_locks("lock", "acquire_many", asked)
        # As with ``locking``, one that fails holds nobody back: errors count as true.
        refused = {lock for lock, reply in zip(asked, replies, strict=True) if not reply}
        held = [lock for lock in asked if lock not in refused]
        try:
            self._tell_of_locks("lock", asked, replies)
        except BaseException:
            await self._ask_locks("unlock", "release_many", held)
            raise
        return Locked(held, [lock in refused for lock in locks])

    async def unlocking_many(self, locks: Sequence[SharedLock], *, wrote: Collection[Key]) -> None:
        """``unlocking``, of many.

        Args:
            locks: that we hold.
            wrote: the keys under which we have written.
        """
        replies = await self._ask_locks("unlock", "release_many", locks)
        superseded = [lock.key for lock, reply in zip(locks, replies, strict=True) if reply is True]
        stale = [key for key in superseded if key in wrote]
        if stale:
            await self._delete_many(self.backends, stale, self._on_failure)
        self._tell_of_locks("unlock", locks, replies)

    async def _ask_locks(self, operation: str, at_once: str, locks: Sequence[SharedLock]) -> list[Any]:
        """By lock, what came of taking it or letting go of it, or the error that it raised."""
        if not locks:
            return []
        failures: list[Exception] = []
        backend: Any = next(each for each in reversed(self.backends) if isinstance(each, Locks))
        if hasattr(backend, at_once):
            asking = Ask(
                backend, at_once, ([lock.inner for lock in locks],), lambda *what: failures.append(what[-1])
            )
        else:
            singly: Any = OneByOne(backend, getattr(SharedLock, operation))
            asking = Ask(singly, "do", ([(lock,) for lock in locks],), tell_nobody)
        replies: list[Any] | None = await asking
        return failures * len(locks) if replies is None else replies

    def _tell_of_locks(self, operation: str, locks: Sequence[SharedLock], replies: Sequence[Any]) -> None:
        """Tell of errors, each once though it may be that of all."""
        failed = {
            id(reply): (lock, reply)
            for lock, reply in zip(locks, replies, strict=True)
            if isinstance(reply, Exception)
        }
        for lock, error in failed.values():
            self._on_failure(lock.name, operation, lock.key, error)

    async def _promote_many(self, items: Sequence[Written], tier: int, mark: int) -> None:
        nearer = self.backends[:tier]
        for backend in nearer:
            await self._put_many(backend, items)
        overtaken = [key for key, _ in items if self._recent.has(key, since=mark)]
        if overtaken:
            await self._delete_many(nearer, overtaken, self._on_failure)

    async def _put_many(self, backend: Backend, items: Sequence[Written]) -> list[Key]:
        """Write to one tier; the keys that it did not take, of which it should not keep what is older."""
        failed: list[Key] = []
        try:
            replies = await _ask_many(backend, "put", items, self._on_failure)
            for (key, _), reply in zip(items, replies or items, strict=True):
                if replies is None or reply is not None:
                    failed.append(key)
                if isinstance(reply, Exception):
                    self._on_failure(backend.name, "put", key, reply)
        finally:
            if failed:
                await self._delete_many([backend], failed, tell_nobody)
        return failed

    async def _delete_many(self, backends: Sequence[Backend], keys: Sequence[Key], tell: OnFailure) -> bool:
        gone = False
        for backend in reversed(backends):
            gone = await self._each(backend, "delete", keys, tell) or gone
            self._note([key.digest for key in keys])
        return gone

    async def _each(self, backend: Backend, operation: str, keys: Sequence[Key], tell: OnFailure) -> bool:
        """Ask a backend for each key; whether any reply was true."""
        any_true = False
        replies = await _ask_many(backend, operation, [(key,) for key in keys], tell)
        for key, reply in zip(keys, replies or (), strict=False):
            if isinstance(reply, Exception):
                tell(backend.name, operation, key, reply)
            else:
                any_true = any_true or bool(reply)
        return any_true


async def _get_many(backend: Backend, keys: Sequence[Key], tell: OnFailure) -> list[Entry | None]:
    asked = await _ask_many(backend, "get", [(key,) for key in keys], tell)
    replies: list[Any] = asked or [None] * len(keys)
    for place, reply in enumerate(replies):
        if reply is not None and not isinstance(reply, Entry):
            none = BackendError(f"it returned {reply!r:.80}, which is no entry")
            tell(backend.name, "get", keys[place], reply if isinstance(reply, Exception) else none)
            replies[place] = None
    return replies


async def _ask_many(
    backend: Backend, operation: str, items: Sequence[tuple[Any, ...]], tell: OnFailure
) -> list[Any] | None:
    """By item, what a backend replied to it, errors among them; None if it failed as a whole."""
    replies: list[Any] | None
    if not _is_many(backend, operation):
        # In one go, so that an event loop needs one thread for all, not one for each.
        singly: Any = OneByOne(backend, getattr(backend, operation))
        replies = await Ask(singly, "do", (items,), tell)
    elif operation == "put":
        replies = await Ask(backend, "put_many", (items,), tell)
    else:
        replies = await Ask(backend, f"{operation}_many", ([key for (key,) in items],), tell)
    return replies


def _is_many(backend: Backend, operation: str) -> bool:
    """What ``isinstance`` would say of ``Many`` and its like, for a hundredth of the time."""
    if operation in ("get", "put"):
        return hasattr(backend, "get_many") and hasattr(backend, "put_many")
    return hasattr(backend, f"{operation}_many")
