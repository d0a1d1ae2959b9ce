"""Every policy in memory against a plain dict: what is found is right, and the accounts are true."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mlcache import clock
from mlcache.backends.gdsf import Gdsf
from mlcache.backends.memory import Lru, Memory
from mlcache.backends.policies import Lfu, Rr, Ttl
from mlcache.entry import Entry, Key
from mlcache.errors import EntryTooLargeError
from mlcache.testing import FakeClock

NAMESPACES = ("app.f@1", "app.g@1")
KEYS = [
    Key(namespace, bytes([place]) * 15 + bytes([n]))
    for n, namespace in enumerate(NAMESPACES)
    for place in range(6)
]
ROOM = 6 * 1500


class Machine(RuleBasedStateMachine):
    """A store that is too small for all keys at once, and a dict of what was last put."""

    kind: ClassVar[type[Memory]]

    def __init__(self) -> None:
        super().__init__()
        self.time = FakeClock()
        self.time.__enter__()
        self.store = self.kind(max_bytes=ROOM, max_items=8)
        self.last: dict[Key, Entry] = {}

    def teardown(self) -> None:
        self.time.__exit__(None, None, None)

    @rule(
        key=st.sampled_from(KEYS),
        size=st.sampled_from([0, 100, 800, 2000, ROOM]),
        lasts=st.sampled_from([-1.0, 5.0, 60.0, math.inf]),
        cost=st.sampled_from([0.0, 0.1, 3.0]),
    )
    def put(self, key: Key, size: int, lasts: float, cost: float) -> None:
        now = clock.now()
        entry = Entry(object(), now, now + lasts, now + lasts, cost, size)
        self.last.pop(key, None)
        try:
            self.store.put(key, entry)
        except EntryTooLargeError:
            assert size == ROOM
        else:
            self.last[key] = entry
            assert self.store.find(key.digest) is entry, "what was just put is there"

    @rule(key=st.sampled_from(KEYS), times=st.integers(1, 3))
    def get(self, key: Key, times: int) -> None:
        for _ in range(times):
            assert self.store.get(key) in (None, self.last.get(key))

    @rule(key=st.sampled_from(KEYS))
    def delete(self, key: Key) -> None:
        there = self.store.find(key.digest) is not None
        assert self.store.delete(key) is there
        self.last.pop(key, None)
        assert self.store.get(key) is None

    @rule(namespace=st.sampled_from(NAMESPACES))
    def clear(self, namespace: str) -> None:
        number = len(self.there(namespace))
        assert self.store.clear(namespace) == number
        self.last = {key: entry for key, entry in self.last.items() if key.namespace != namespace}

    @rule(seconds=st.sampled_from([1.0, 10.0, 100.0]))
    def wait(self, seconds: float) -> None:
        self.time.advance(seconds)

    @precondition(lambda self: self.last)
    @rule(data=st.data())
    def what_fits_beside_all_others_evicts_nothing(self, data: Any) -> None:
        key = data.draw(st.sampled_from(sorted(self.last, key=str)))
        before = set(self.there())
        if key in before:
            self.store.put(key, self.last[key])
            assert set(self.there()) == before

    @invariant()
    def finds_only_what_was_last_put(self) -> None:
        assert all(entry is self.last.get(key) for key, entry in self.there().items())

    @invariant()
    def the_accounts_are_true(self) -> None:
        there = self.there()
        used = self.store.usage()
        assert used.items == len(there) <= 8
        assert used.bytes == sum(entry.size + self.store.overhead for entry in there.values()) <= ROOM
        for namespace in NAMESPACES:
            assert set(self.store.keys(namespace)) == set(self.there(namespace))
            assert self.store.count(namespace) == len(self.there(namespace))

    def there(self, namespace: str | None = None) -> dict[Key, Entry]:
        found = {key: self.store.find(key.digest) for key in KEYS if namespace in (None, key.namespace)}
        return {key: entry for key, entry in found.items() if entry is not None}


@pytest.mark.parametrize("kind", [Lru, Lfu, Rr, Ttl, Gdsf], ids=lambda kind: kind.name)
def test_a_policy_behaves_as_a_dict_that_forgets(kind: type[Memory]) -> None:
    from hypothesis import settings
    from hypothesis.stateful import run_state_machine_as_test

    machine = type(f"{kind.__name__}Machine", (Machine,), {"kind": kind})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=50, stateful_step_count=40, deadline=None)
    )
