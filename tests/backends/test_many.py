"""Tiers that are asked for many keys at once: what is asked together, and what a failure costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from mlcache import clock
from mlcache.backends.many import ManyTiers
from mlcache.backends.memory import Lru
from mlcache.backends.walk import run, run_suspending
from mlcache.entry import Entry, Key
from mlcache.testing.backends import key

KEYS = [key(number) for number in range(4)]


class Lock:
    """Of a store: what it returns when it is taken and let go of, or raises."""

    def __init__(self, taken: Any = True, let_go: Any = False) -> None:  # noqa: FBT002 - answers
        self.taken, self.let_go = taken, let_go
        self.log: list[str] = []

    def acquire(self) -> bool:
        self.log.append("acquire")
        return bool(given(self.taken))

    def release(self) -> bool:
        self.log.append("release")
        return bool(given(self.let_go))


def given(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


class Store(Lru):
    """A memory with locks, one for each key, which are taken one by one."""

    name = "store"

    def __init__(self, **locks: Lock) -> None:
        super().__init__(max_bytes=2**20)
        self.locks = [locks.get(f"lock{number}", Lock()) for number in range(4)]
        self.superseded: list[list[Key]] = []

    def lock(self, key: Key) -> Lock:
        return self.locks[KEYS.index(key)]

    def supersede(self, key: Key) -> None:
        self.superseded.append([key])


class AtOnce(Store):
    """With locks that are taken together."""

    fails: Exception | None = None

    def acquire_many(self, locks: Sequence[Lock]) -> list[Any]:
        given(self.fails)
        return [outcome(lock.acquire) for lock in locks]

    def release_many(self, locks: Sequence[Lock]) -> list[Any]:
        given(self.fails)
        return [outcome(lock.release) for lock in locks]

    def supersede_many(self, keys: Sequence[Key]) -> list[Any]:
        self.superseded.append(list(keys))
        return [RuntimeError("not this one") if each == KEYS[1] else None for each in keys]

    def delete_many(self, keys: Sequence[Key]) -> list[Any]:
        return [RuntimeError("not this one") if each == KEYS[1] else self.delete(each) for each in keys]


def outcome(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except RuntimeError as error:
        return error


class Told(list[tuple[str, str, int | None]]):
    """The failures: the tier, the operation, and which key it was."""

    def __call__(self, tier: str, operation: str, key: Key | None, error: Exception) -> None:  # noqa: ARG002
        self.append((tier, operation, None if key is None else KEYS.index(key)))


@pytest.mark.parametrize("kind", [Store, AtOnce])
def test_what_others_hold_is_elsewhere_and_the_rest_is_ours(kind: type[Store]) -> None:
    store, told = kind(lock1=Lock(taken=False)), Told()
    tiers = ManyTiers([Lru(max_bytes=2**20), store], told)
    locked = run(tiers.locking_many(KEYS, ours=[KEYS[2]]))
    assert locked.elsewhere == [False, True, False, False]
    assert [lock.key for lock in locked.locks] == [KEYS[0], KEYS[3]]
    run(tiers.unlocking_many(locked.locks, wrote=KEYS[:3]))
    assert [lock.log for lock in store.locks] == [
        ["acquire", "release"],
        ["acquire"],
        [],
        ["acquire", "release"],
    ]
    assert told == []


@pytest.mark.parametrize("kind", [Store, AtOnce])
def test_a_lock_that_fails_holds_nobody_back(kind: type[Store]) -> None:
    error = RuntimeError("broken")
    store, told = kind(lock1=Lock(error, error), lock3=Lock(taken=False)), Told()
    tiers = ManyTiers([store], told)
    locked = run(tiers.locking_many(KEYS))
    assert locked.elsewhere == [False, False, False, True]
    run(tiers.unlocking_many(locked.locks, wrote=KEYS[:3]))
    assert told == [("store", "lock", 1), ("store", "unlock", 1)]


def test_locks_that_fail_as_a_whole_are_told_once() -> None:
    store, told = AtOnce(), Told()
    store.fails = RuntimeError("no answer")
    tiers = ManyTiers([store], told)
    locked = run(tiers.locking_many(KEYS))
    assert locked.elsewhere == [False] * 4
    run(tiers.unlocking_many(locked.locks, wrote=KEYS[:3]))
    assert [operation for _, operation, _ in told] == ["lock", "unlock"]


@pytest.mark.parametrize("kind", [Store, AtOnce])
def test_where_a_failure_is_raised_no_lock_stays_taken(kind: type[Store]) -> None:
    def fail(*what: Any) -> None:
        raise what[-1]

    store = kind(lock1=Lock(RuntimeError("broken")), lock2=Lock(taken=False))
    with pytest.raises(RuntimeError, match="broken"):
        run(ManyTiers([store], fail).locking_many(KEYS))
    assert [lock.log[1:] for lock in store.locks] == [["release"], ["release"], [], ["release"]]


@pytest.mark.parametrize("kind", [Store, AtOnce])
async def test_what_we_wrote_and_was_superseded_is_deleted_from_all_tiers(kind: type[Store]) -> None:
    store, near = kind(lock2=Lock(let_go=True), lock3=Lock(let_go=True)), Lru(max_bytes=2**20)
    tiers = ManyTiers([near, store], Told())
    await run_suspending(tiers.keeping_many([(each, Entry("value", clock.now())) for each in KEYS]))
    locked = await run_suspending(tiers.locking_many(KEYS))
    await run_suspending(tiers.unlocking_many(locked.locks, wrote=KEYS[:3]))
    for backend in (near, store):
        assert [backend.get(each) is None for each in KEYS] == [False, False, True, False]


def test_without_locks_all_is_ours() -> None:
    tiers = ManyTiers([Lru(max_bytes=2**20)], Told())
    locked = run(tiers.locking_many(KEYS))
    assert (locked.locks, locked.elsewhere) == ([], [False] * 4)
    run(tiers.unlocking_many(locked.locks, wrote=KEYS[:3]))


@pytest.mark.parametrize("kind", [Store, AtOnce])
def test_what_is_dropped_is_superseded_first_and_one_failure_spoils_no_other(kind: type[Store]) -> None:
    store, told = kind(), Told()
    tiers = ManyTiers([store], told)
    run(tiers.keeping_many([(each, Entry("value", clock.now())) for each in KEYS]))
    assert run(tiers.dropping_many(KEYS)) is True
    together = kind is AtOnce
    assert store.superseded == ([KEYS] if together else [[each] for each in KEYS])
    assert told == ([("store", "supersede", 1), ("store", "delete", 1)] if together else [])
    assert [store.get(each) is None for each in KEYS] == [True, not together, True, True]
    assert run(tiers.dropping_many(KEYS)) is False
