"""Several backends in a row, nearest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from mlcache import clock
from mlcache.backends.names import apart
from mlcache.backends.protocol import Backend, Clears, Closes, InMemory, Lists, Locks, Measures, Usage
from mlcache.backends.recent import Recent
from mlcache.backends.shared_lock import SharedLock
from mlcache.backends.walk import Ask, Asked, OnFailure, run, tell_nobody
from mlcache.entry import FOREVER, Entry, Key, Verdict, judge
from mlcache.errors import BackendError
from mlcache.skew import as_seen


class Found(msgspec.Struct, frozen=True):
    """An entry, the tier it was found in, and when."""

    entry: Entry
    tier: str
    at: float


class Tiers:
    """Backends in a row, nearest first; with one, just that one.

    A lookup ends at the first fresh entry, which is copied to the tiers before it with its
    deadline as it is, so lifetimes never add up. Writes go to all tiers. A tier that fails is
    reported and passed over.

    Whatever is written or deleted is so in the farthest tier first, and noted then. A lookup that
    read that tier before, and copies what it read afterwards, thus finds the note; one that
    copies before is overwritten.

    Args:
        backends: nearest first. With none, nothing is ever found.
        on_failure: told of each failure. What it raises is raised.
        cap: an entry with the deadline that it may have at most.

    Attributes:
        at_hand: whether there is one tier, in memory: asking it takes no time to speak of.
    """

    def __init__(
        self,
        backends: Sequence[Backend],
        on_failure: OnFailure,
        cap: Callable[[Entry], Entry] = lambda entry: entry,
    ) -> None:
        self.backends = tuple(backends)
        self.names = apart([backend.name for backend in self.backends])
        self._cap = cap
        self._recent = Recent()
        self._on_failure = on_failure
        self._nearest: Any = self.backends[0] if self.backends else None
        at_once = all(not each.blocking and isinstance(each, InMemory) for each in self.backends)
        self.at_hand = at_once and len(self.backends) == 1

    @property
    def memory(self) -> tuple[Callable[[bytes], Entry | None], Callable[[bytes], Any]] | None:
        """How the nearest tier is looked up and told of a use without going through here, if it can be."""
        nearest = self.backends[0] if self.backends else None
        return (nearest.find, nearest.touch) if isinstance(nearest, InMemory) else None

    def find(self, key: Key, **how: Any) -> Found | None:
        """The first fresh entry, or else the last to be stale of those not dead; ``how``: see ``finding``."""
        return self._find_at_hand(key) if self.at_hand else run(self.finding(key, **how))

    def keep(self, key: Key, entry: Entry) -> bool:
        """Write to all tiers; whether any took it."""
        return self._keep_at_hand(key, entry) if self.at_hand else run(self.keeping(key, entry))

    def drop(self, key: Key) -> bool:
        """Delete from all tiers; whether any had it."""
        return run(self.dropping(key))

    def clear(self, namespace: str) -> int:
        """Delete all entries of a namespace; the largest number that a tier had."""
        return run(self.clearing(namespace))

    async def finding(
        self, key: Key, *, again: bool = False, after: float = -FOREVER, max_age: float = FOREVER
    ) -> Found | None:
        """``find``, for either driver.

        Args:
            key: to look up.
            again: whether the same call has looked just now, and what failed was told then.
            after: a fresh entry that was made then or before counts as stale: there may be a younger one.
            max_age: as above, if it is older than so many seconds.
        """
        now = clock.now()
        tell = tell_nobody if again else self._on_failure
        best: Found | None = None
        mark = self._recent.mark
        for place, backend in enumerate(self.backends):
            kept: Entry | None = await Ask(backend, "get", (key,), tell)
            if kept is None or not _is_entry(kept, backend, key, tell):
                continue
            entry = self._due(kept, now)
            if entry is None:
                continue
            verdict = judge(entry, now)
            if verdict is Verdict.FRESH and entry.created > after and now - entry.created <= max_age:
                if place:
                    await self._promote(key, entry, self.backends[:place], mark)
                return Found(entry, self.names[place], now)
            if verdict is not Verdict.DEAD and (best is None or best.entry.fresh_until < entry.fresh_until):
                best = Found(entry, self.names[place], now)
        return best

    def _find_at_hand(self, key: Key) -> Found | None:
        """``finding`` where there is one tier, in memory: the walk takes several times as long."""
        kept: Entry | None = self._nearest.find(key.digest)
        if kept is None:
            return None
        with suppress(KeyError):  # evicted since
            self._nearest.touch(key.digest)
        now = clock.now()
        entry = self._due(kept, now)
        return (
            None if entry is None or judge(entry, now) is Verdict.DEAD else Found(entry, self.names[0], now)
        )

    def _keep_at_hand(self, key: Key, entry: Entry) -> bool:
        """``keeping``, as above."""
        try:
            self._nearest.put(key, entry)
        except Exception as error:  # noqa: BLE001 - whatever a store raises, the call goes on
            try:
                self._on_failure(self._nearest.name, "put", key, error)
            finally:
                Ask(self._nearest, "delete", (key,), tell_nobody).carry_out()
            return False
        return True

    def _due(self, entry: Entry, now: float) -> Entry | None:
        """``entry``, with deadlines that hold here; None if none do."""
        seen = as_seen(entry, now)
        return None if seen is None else self._cap(seen)

    def forget_nearest(self, namespace: str) -> None:
        """Clear a namespace in the nearest tier, if that is looked up without going through here."""
        if self.memory is not None:
            self._try(self.backends[0], "clear", namespace).carry_out()

    async def _promote(self, key: Key, entry: Entry, nearer: Sequence[Backend], mark: int) -> None:
        for backend in nearer:
            await self._put(backend, key, entry)
        if self._recent.has(key, since=mark):  # it was overtaken while it was looked up
            await self._delete(nearer, key)

    async def keeping(self, key: Key, entry: Entry) -> bool:
        """``keep``, for either driver."""
        taken = False
        for backend in reversed(self.backends):
            taken = await self._put(backend, key, entry) or taken
            self._note([key.digest])
        return taken

    async def _put(self, backend: Backend, key: Key, entry: Entry) -> bool:
        """Write to one tier; whether it took it. If not, it should not keep what it had, which is older."""
        failed = False

        def fail(*what: Any) -> None:
            nonlocal failed
            failed = True
            self._on_failure(*what)

        try:
            await Ask(backend, "put", (key, entry), fail)
        finally:
            if failed:
                await Ask(backend, "delete", (key,), tell_nobody)
        return not failed

    async def dropping(self, key: Key) -> bool:
        """``drop``, for either driver. What other processes are computing is not to be there after."""
        await self.superseding(key)
        return await self._delete(self.backends, key)

    async def superseding(self, key: Key) -> None:
        """Take its lock from who computes the key, as his answer rests on older facts."""
        for backend in self.backends:
            if hasattr(backend, "supersede"):  # whether it is ``Supersedes``
                await self._try(backend, "supersede", key)

    async def _delete(self, backends: Sequence[Backend], key: Key) -> bool:
        gone = False
        for backend in reversed(backends):
            gone = bool(await self._try(backend, "delete", key)) or gone
            self._note([key.digest])
        return gone

    async def clearing(self, namespace: str) -> int:
        """``clear``, for either driver. A tier that cannot is reported, as what it has would come back."""
        most = 0
        for backend in reversed(self.backends):
            most = max(most, await self._try(backend, "clear", namespace) or 0)
            self._note([namespace])
        return most

    def _note(self, names: Sequence[bytes | str]) -> None:
        """Note what changed, where a lookup may be about to copy it from one tier to another."""
        if len(self.backends) > 1:
            self._recent.note(names)

    @property
    def shared(self) -> bool:
        """Whether a tier has locks that processes share."""
        return any(isinstance(backend, Locks) for backend in self.backends)

    def lock(self, key: Key) -> Any:
        """The lock of a key in the farthest tier that has locks, which is the one most processes share."""
        for backend in reversed(self.backends):
            if isinstance(backend, Locks):
                lock = self._try(backend, "lock", key).carry_out()
                return None if lock is None else SharedLock(backend.name, lock, key)
        return None

    def try_lock(self, lock: SharedLock) -> bool:
        """Take a lock, if nobody holds it. One that fails holds nobody back."""
        return run(self.locking(lock))

    async def locking(self, lock: SharedLock) -> bool:
        """``try_lock``, for either driver. A lost lock may cost a second computation, never the call."""
        taken = await self._try_with(lock, "lock")
        return taken is None or bool(taken)

    async def overtaking(self, lock: SharedLock) -> bool:
        """Whether somebody else has invalidated or written the key since we took its lock, if that tells."""
        return bool(await self._try_with(lock, "overtaken"))

    async def unlocking(self, lock: SharedLock, *, wrote: bool = True) -> None:
        """Let go of a lock. What we ``wrote`` is not to stay if somebody else has taken the lock from us."""
        if await self._try_with(lock, "unlock") and wrote:
            await self._delete(self.backends, lock.key)

    def _try_with(self, lock: SharedLock, operation: str) -> Ask:
        def fail(tier: str, operation: str, _: Key | None, error: Exception) -> None:
            self._on_failure(tier, operation, lock.key, error)

        return Ask(lock, operation, (), fail)

    def forget(self, namespace: str, keys: Sequence[Key], *, before: int) -> None:
        """Delete keys, or with none of them a namespace, from the tiers before one that others changed."""
        self._note([key.digest for key in keys] or [namespace])
        for backend in self.backends[:before]:
            for key in keys:
                self._try(backend, "delete", key).carry_out()
            if not keys and isinstance(backend, Clears):
                self._try(backend, "clear", namespace).carry_out()

    def keys(self, namespace: str) -> Iterator[Key]:
        """The keys of a namespace in any tier, each once."""
        found: dict[bytes, Key] = {}
        for backend in self.backends:
            if isinstance(backend, Lists):
                listed = self._try(backend, "keys", namespace).carry_out()
                found.update((key.digest, key) for key in listed or ())
        return iter(found.values())

    def usage(self, namespace: str) -> tuple[int, Usage]:
        """How many entries of the namespace the nearest tier that can tell has, and how full it is."""
        for backend in self.backends:
            if isinstance(backend, Measures):
                number = self._try(backend, "count", namespace).carry_out()
                return number or 0, self._try(backend, "usage").carry_out() or Usage(0, 0)
        return 0, Usage(0, 0)

    def look(self, key: Key) -> dict[str, Entry | None]:
        """What each tier has, with the deadlines that it may have at most, and without promotion."""
        found = [self._try(backend, "get", key).carry_out() for backend in self.backends]
        return {name: entry and self._cap(entry) for name, entry in zip(self.names, found, strict=True)}

    def close(self) -> None:
        """Close those that can be closed."""
        for backend in self.backends:
            if isinstance(backend, Closes):
                backend.close()

    def _try(self, backend: Asked, operation: str, *args: Any) -> Ask:
        return Ask(backend, operation, args, self._on_failure)

    def __repr__(self) -> str:
        return " → ".join(map(repr, self.backends)) or "<no tier>"


def _is_entry(found: object, backend: Backend, key: Key, tell: OnFailure) -> bool:
    if isinstance(found, Entry):
        return True
    tell(backend.name, "get", key, BackendError(f"it returned {found!r:.80}, which is no entry"))
    return False
