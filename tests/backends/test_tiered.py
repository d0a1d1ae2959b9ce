"""Several backends in a row."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from typing import Any, NoReturn

import pytest

from mlcache import clock
from mlcache.backends.many import ManyTiers
from mlcache.backends.memory import Lru
from mlcache.backends.tiered import Tiers
from mlcache.backends.walk import run, run_suspending
from mlcache.entry import FOREVER, Entry, Key
from mlcache.testing import FakeClock
from mlcache.testing.backends import key

KEY = key(1)


def fail(tier: str, operation: str, of: Key | None, error: Exception) -> NoReturn:
    raise AssertionError(f"{tier} failed at {operation} of {of}") from error


def entry(value: object, *, fresh: float = 60, stale: float = 0) -> Entry:
    now = clock.now()
    return Entry(value, now, now + fresh, now + fresh + stale)


class Named(Lru):
    def __init__(self, name: str) -> None:
        super().__init__(max_bytes=2**20)
        self.name = name


def row(number: int = 2) -> tuple[Tiers, list[Named]]:
    stores = [Named(f"tier {place}") for place in range(number)]
    return Tiers(stores, fail), stores


def test_the_nearest_fresh_entry_answers() -> None:
    tiers, (near, far) = row()
    near.put(KEY, entry("near"))
    far.put(KEY, entry("far"))
    found = tiers.find(KEY)
    assert found is not None
    assert (found.entry.value, found.tier) == ("near", "tier 0")


def test_what_is_found_far_is_copied_nearer_as_it_is() -> None:
    with FakeClock() as time:
        tiers, (near, middle, far) = row(3)
        kept = entry("far", fresh=60)
        far.put(KEY, kept)
        time.advance(59)
        found = tiers.find(KEY)
        assert found is not None
        assert (found.tier, found.entry, found.at) == ("tier 2", kept, time.now())
        assert near.get(KEY) is kept
        assert middle.get(KEY) is kept
        time.advance(1)
        assert tiers.find(KEY) is None, "its time is that of the far entry"


def test_a_stale_entry_is_found_only_where_none_is_fresh() -> None:
    with FakeClock() as time:
        tiers, (near, far) = row()
        near.put(KEY, entry("near", fresh=1, stale=100))
        far.put(KEY, entry("far", fresh=60))
        time.advance(2)
        found = tiers.find(KEY)
        assert found is not None
        assert found.entry.value == "far"
        promoted = near.get(KEY)
        assert promoted is not None
        assert promoted.value == "far"


@pytest.mark.parametrize("nearer_is_fresher", [True, False])
def test_of_stale_entries_the_last_to_become_stale_is_found(nearer_is_fresher: bool) -> None:  # noqa: FBT001
    with FakeClock() as time:
        tiers, (near, far) = row()
        near.put(KEY, entry("near", fresh=2 if nearer_is_fresher else 1, stale=100))
        far.put(KEY, entry("far", fresh=1 if nearer_is_fresher else 2, stale=100))
        time.advance(3)
        found = tiers.find(KEY)
        assert found is not None
        assert found.entry.value == ("near" if nearer_is_fresher else "far")


def test_what_is_dead_is_not_found() -> None:
    with FakeClock() as time:
        tiers, (near, far) = row()
        near.put(KEY, entry("near", fresh=1, stale=1))
        far.put(KEY, entry("far", fresh=1, stale=1))
        time.advance(2)
        assert tiers.find(KEY) is None


def test_an_entry_from_the_future_is_as_if_it_were_made_now() -> None:
    with FakeClock() as time:
        tiers, (near, _) = row()
        now = time.now()
        near.put(KEY, Entry("ahead", now + 0.5, now + 60.5, now + 70.5))
        found = tiers.find(KEY)
        assert found is not None
        assert (found.entry.created, found.entry.fresh_until, found.entry.stale_until) == (
            now,
            now + 60,
            now + 70,
        )


def test_what_is_further_from_the_future_is_passed_over() -> None:
    with FakeClock() as time:
        stores = [Named(f"tier {place}") for place in range(2)]
        tiers = ManyTiers(stores, fail)
        now = time.now()
        for each in (KEY, key(2)):
            stores[0].put(each, Entry("ahead", now + 2, now + 62, now + 72))
        stores[1].put(KEY, entry("far"))
        one, *many = tiers.find(KEY), *run(tiers.finding_many([KEY, key(2)]))
        assert one is not None
        assert one.entry.value == "far"
        assert [found and found.entry.value for found in many] == ["far", None]


def test_who_wants_a_younger_one_finds_it_farther_off() -> None:
    with FakeClock() as time:
        tiers, (near, far) = row()
        near.put(KEY, entry("old"))
        time.advance(10)
        wanted: list[dict[str, float]] = [{"after": time.now() - 10}, {"max_age": 9}]
        for how in wanted:
            found = tiers.find(KEY, **how)
            assert found is not None
            assert found.entry.value == "old", "there is none"
        far.put(KEY, entry("young"))
        assert (found := tiers.find(KEY, max_age=10)) is not None
        assert (found.entry.value, found.tier) == ("old", "tier 0")
        for how in wanted:
            near.put(KEY, Entry("old", time.now() - 10, time.now() + 90))
            found = tiers.find(KEY, **how)
            assert found is not None
            assert (found.entry.value, found.tier) == ("young", "tier 1")
            kept = near.get(KEY)
            assert kept is not None
            assert kept.value == "young"


def test_who_wants_younger_ones_of_many_finds_them_farther_off() -> None:
    with FakeClock() as time:
        _, stores = row()
        near, far = stores
        tiers = ManyTiers(stores, fail)
        keys = [key(number) for number in range(3)]
        for each in keys:
            near.put(each, entry("old"))
        time.advance(10)
        far.put(keys[0], entry("young"))
        before = time.now() - 10
        wanted: list[dict[str, Any]] = [{"max_age": 9}, {"after": [before, before, -FOREVER]}]
        for how in wanted:
            found = run(tiers.finding_many(keys, **how))
            assert [(each.entry.value, each.tier) for each in found if each] == [
                ("young", "tier 1"),
                ("old", "tier 0"),
                ("old", "tier 0"),
            ]
            near.put(keys[0], Entry("old", before, time.now() + 90))


def test_all_tiers_are_written_and_emptied() -> None:
    tiers, stores = row(3)
    tiers.keep(KEY, entry("kept"))
    assert all(store.get(KEY) for store in stores)
    assert tiers.drop(KEY) is True
    assert not any(store.get(KEY) for store in stores)
    assert tiers.drop(KEY) is False


def test_clearing_says_how_many_the_fullest_tier_had() -> None:
    tiers, (near, far) = row()
    for number in range(3):
        far.put(key(number), entry(number))
    near.put(key(0), entry(0))
    near.put(key(0, "app.g@1"), entry("other"))
    assert tiers.clear(KEY.namespace) == 3
    assert near.usage().items == 1
    assert far.usage().items == 0


def test_keys_of_all_tiers_are_listed_once() -> None:
    tiers, (near, far) = row()
    near.put(key(0), entry(0))
    near.put(key(1), entry(1))
    far.put(key(1), entry(1))
    far.put(key(2), entry(2))
    listed = list(tiers.keys(KEY.namespace))
    assert len(listed) == 3
    assert set(listed) == {key(0), key(1), key(2)}


def test_a_look_promotes_nothing() -> None:
    tiers, (near, far) = row()
    kept = entry("far")
    far.put(KEY, kept)
    assert tiers.look(KEY) == {"tier 0": None, "tier 1": kept}
    assert near.get(KEY) is None


def test_tiers_of_one_name_are_told_apart() -> None:
    stores = [Named("disk"), Named("lru"), Named("disk"), Named("disk")]
    tiers = Tiers(stores, fail)
    for store in stores[2:]:
        store.put(KEY, entry(id(store)))
    looked = tiers.look(KEY)
    assert list(looked) == ["disk", "lru", "disk 2", "disk 3"]
    assert [found is None for found in looked.values()] == [True, True, False, False]
    found = tiers.find(KEY)
    assert found is not None
    assert found.tier == "disk 2"


def test_without_tiers_nothing_is_found() -> None:
    tiers = Tiers((), fail)
    tiers.keep(KEY, entry("kept"))
    assert tiers.find(KEY) is None
    assert tiers.drop(KEY) is False
    assert tiers.clear(KEY.namespace) == 0
    assert list(tiers.keys(KEY.namespace)) == []
    assert tiers.usage(KEY.namespace)[0] == 0
    tiers.close()


class Raising(Lru):
    name = "raising"

    def get(self, key: Key) -> Entry | None:
        raise OSError(f"no {key}")

    def put(self, key: Key, entry: Entry) -> None:
        raise OSError(f"no {key} {entry}")


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_tier_that_fails_is_reported_and_passed_over(place: int) -> None:
    told: list[tuple[str, str, Key | None, str]] = []
    stores: list[Any] = [Named("a"), Named("b")]
    stores.insert(place, Raising(max_bytes=2**20))

    def on_failure(tier: str, operation: str, of: Key | None, error: Exception) -> None:
        told.append((tier, operation, of, type(error).__name__))

    tiers = Tiers(stores, on_failure)
    tiers.keep(KEY, entry("kept"))
    found = tiers.find(KEY)
    assert found is not None
    assert found.entry.value == "kept"
    failed = ["put", "get", "put"] if place == 0 else ["put"]
    assert told == [("raising", operation, KEY, "OSError") for operation in failed]


class FailingOnce(Named):
    """Fails at the next write, when told to."""

    fails = False

    def put(self, key: Key, entry: Entry) -> None:
        if self.fails:
            self.fails = False
            raise OSError("no space left")
        super().put(key, entry)


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("suspending", [False, True])
async def test_a_tier_that_fails_to_write_does_not_keep_what_is_older(place: int, suspending: bool) -> None:  # noqa: FBT001
    told: list[str] = []
    stores = [FailingOnce("a"), FailingOnce("b")]
    tiers = Tiers(stores, lambda tier, operation, *_: told.append(f"{tier} {operation}"))
    tiers.keep(KEY, entry("old"))
    stores[place].fails = True
    if suspending:
        await run_suspending(tiers.keeping(KEY, entry("new")))
    else:
        tiers.keep(KEY, entry("new"))
    assert stores[place].get(KEY) is None
    assert told == [f"{stores[place].name} put"]
    found = tiers.find(KEY)
    assert found is not None
    assert found.entry.value == "new"


def test_where_a_failure_is_raised_nothing_older_is_kept_either() -> None:
    stores = [FailingOnce("a")]
    tiers = Tiers(stores, fail)
    tiers.keep(KEY, entry("old"))
    stores[0].fails = True
    with pytest.raises(AssertionError, match="a failed at put"):
        tiers.keep(KEY, entry("new"))
    assert tiers.find(KEY) is None


def test_what_fails_is_told_once_to_who_looks_twice() -> None:
    told: list[str] = []
    backends = [Raising(max_bytes=2**20), Lru(max_bytes=2**20)]
    tiers = Tiers(backends, lambda tier, operation, *_: told.append(f"{tier} {operation}"))
    assert tiers.find(KEY) is tiers.find(KEY, again=True) is None
    assert told == ["raising get"]


Walk = Callable[[Tiers], Coroutine[Any, Any, Any]]


def interleaved(tiers: Tiers, walks: list[Walk], order: tuple[int, ...]) -> None:
    """Do the steps of several walks in the given order, as threads might."""
    under_way = {place: walk(tiers) for place, walk in enumerate(walks)}
    replies: dict[int, Any] = dict.fromkeys(under_way)
    for place in itertools.chain(order, itertools.cycle(range(len(walks)))):
        if not under_way:
            return
        if place in under_way:
            try:
                ask = under_way[place].send(replies[place])
            except StopIteration:
                del under_way[place]
            else:
                replies[place] = getattr(ask.backend, ask.operation)(*ask.args)


@pytest.mark.parametrize("number", [2, 3])
@pytest.mark.parametrize("lookups", [1, 2])
def test_a_lookup_never_brings_back_what_was_dropped_meanwhile(number: int, lookups: int) -> None:
    walks: list[Walk] = [lambda tiers: tiers.dropping(KEY)] + [lambda tiers: tiers.finding(KEY)] * lookups
    for order in itertools.product(range(1 + lookups), repeat=7 if lookups == 2 else 10):
        tiers, stores = row(number)
        stores[-1].put(KEY, entry("old"))
        interleaved(tiers, walks, order)
        assert tiers.find(KEY) is None, order


@pytest.mark.parametrize("number", [2, 3])
def test_a_lookup_never_brings_back_what_was_cleared_meanwhile(number: int) -> None:
    walks: list[Walk] = [lambda tiers: tiers.clearing(KEY.namespace), lambda tiers: tiers.finding(KEY)]
    for order in itertools.product(range(2), repeat=10):
        tiers, stores = row(number)
        stores[-1].put(KEY, entry("old"))
        interleaved(tiers, walks, order)
        assert tiers.find(KEY) is None, order


@pytest.mark.parametrize("number", [2, 3])
@pytest.mark.parametrize("lookups", [1, 2])
def test_a_lookup_never_covers_up_what_was_written_meanwhile(number: int, lookups: int) -> None:
    new = entry("new")
    walks: list[Walk] = [lambda tiers: tiers.keeping(KEY, new)] + [lambda tiers: tiers.finding(KEY)] * lookups
    for order in itertools.product(range(1 + lookups), repeat=7 if lookups == 2 else 10):
        tiers, stores = row(number)
        stores[-1].put(KEY, entry("old"))
        interleaved(tiers, walks, order)
        found = tiers.find(KEY)
        assert found is not None
        assert found.entry is new, order


# ---- one tier, in memory ----


class Watched(Lru):
    """A store in memory that counts lookups."""

    def __init__(self) -> None:
        super().__init__(max_bytes=2**20, max_items=2)
        self.lookups = 0
        self._find = self.find
        self.find = self._count  # type: ignore[assignment]

    def _count(self, digest: bytes) -> Entry | None:
        self.lookups += 1
        return self._find(digest)


@pytest.mark.parametrize(("age", "found"), [(0, True), (61, True), (71, False)])
def test_one_tier_in_memory_is_looked_up_once(age: float, found: bool) -> None:  # noqa: FBT001
    with FakeClock() as time:
        store = Watched()
        tiers = Tiers([store], fail)
        kept = entry("kept", fresh=60, stale=10)
        tiers.keep(KEY, kept)
        time.advance(age)
        answer = tiers.find(KEY)
        assert store.lookups == 1
        assert (answer is not None) is found
        assert answer is None or (answer.entry, answer.tier, answer.at) == (kept, "lru", time.now())


def test_one_tier_in_memory_finds_what_the_walk_finds() -> None:
    with FakeClock() as time:
        store = Watched()
        tiers = Tiers([store], fail, cap=lambda kept: Entry(kept.value, kept.created, kept.created + 30))
        for kept in (entry("young"), Entry("ahead", time.now() + 0.5, time.now() + 60.5)):
            tiers.keep(KEY, kept)
            near, far = tiers.find(KEY), run(tiers.finding(KEY))
            assert near is not None
            assert far is not None
            assert (near.entry.created, near.entry.fresh_until) == (time.now(), time.now() + 30)
            assert (far.entry.created, far.entry.fresh_until) == (time.now(), time.now() + 30)


def test_what_is_found_in_one_tier_in_memory_counts_as_used() -> None:
    tiers = Tiers([Watched()], fail)
    for number in (1, 2):
        tiers.keep(key(number), entry(number))
    assert tiers.find(key(1)) is not None
    tiers.keep(key(3), entry(3))
    assert [tiers.find(key(number)) is not None for number in (1, 2, 3)] == [True, False, True]


@pytest.mark.parametrize("raised", [False, True])
def test_one_tier_in_memory_that_fails_to_write_does_not_keep_what_is_older(raised: bool) -> None:  # noqa: FBT001
    class Full(Lru):
        def put(self, key: Key, entry: Entry) -> None:
            if entry.value == "new":
                raise MemoryError("no room")
            super().put(key, entry)

    told: list[Any] = []

    def tell(tier: str, operation: str, of: Key | None, error: Exception) -> None:
        told.append((tier, operation, of, type(error)))
        if raised:
            raise error

    tiers = Tiers([Full(max_bytes=2**20)], tell)
    tiers.keep(KEY, entry("old"))
    with pytest.raises(MemoryError) if raised else nullcontext():
        tiers.keep(KEY, entry("new"))
    assert told == [("lru", "put", KEY, MemoryError)]
    assert tiers.find(KEY) is None


def test_what_blocks_is_not_at_hand() -> None:
    class Blocking(Lru):
        blocking = True

    assert Tiers([Lru(max_bytes=2**20)], fail).at_hand
    assert not Tiers([Blocking(max_bytes=2**20)], fail).at_hand
    assert not row(2)[0].at_hand
    assert not Tiers([], fail).at_hand
