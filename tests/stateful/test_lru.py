"""The order of Lru against a model that is nothing but an ordered dict."""

from __future__ import annotations

from collections import OrderedDict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mlcache.backends.memory import Lru
from mlcache.entry import Entry, Key
from mlcache.errors import EntryTooLargeError
from mlcache.testing.backends import key

KEYS = [key(number, namespace) for number in range(5) for namespace in ("app.f@1", "app.g@1")]


class Machine(RuleBasedStateMachine):
    """Every step is done to both, and both hold the same in the same order ever after."""

    @initialize(
        max_bytes=st.sampled_from([1, 4, 5.5, 8]).map(lambda entries: int(entries * Lru.overhead)),
        max_items=st.sampled_from([None, 3, 5]),
    )
    def open(self, max_bytes: int, max_items: int | None) -> None:
        self.bounds = (max_bytes, max_items)
        self.store = Lru(max_bytes=max_bytes, max_items=max_items)
        self.model: OrderedDict[Key, Entry] = OrderedDict()

    @rule(at=st.sampled_from(KEYS), size=st.sampled_from([0, 0, 1, 100, Lru.overhead, 5 * Lru.overhead]))
    def put(self, at: Key, size: int) -> None:
        entry = Entry(object(), 0.0, size=size)
        self.model.pop(at, None)
        if size + Lru.overhead > self.bounds[0]:
            try:
                self.store.put(at, entry)
            except EntryTooLargeError:
                return
            raise AssertionError("an entry larger than the store was taken")
        self.store.put(at, entry)
        self.model[at] = entry
        while self.is_over():
            self.model.popitem(last=False)

    @rule(data=st.data())
    def get_one_that_is_there(self, data: st.DataObject) -> None:
        if self.model:
            self.get(data.draw(st.sampled_from(list(self.model))))

    @rule(at=st.sampled_from(KEYS))
    def get(self, at: Key) -> None:
        expected = self.model.get(at)
        assert self.store.get(at) is expected
        if expected is not None:
            self.model.move_to_end(at)

    @rule(at=st.sampled_from(KEYS))
    def find_without_use(self, at: Key) -> None:
        assert self.store.find(at.digest) is self.model.get(at)

    @rule(at=st.sampled_from(KEYS))
    def delete(self, at: Key) -> None:
        assert self.store.delete(at) is (self.model.pop(at, None) is not None)

    @rule(namespace=st.sampled_from(["app.f@1", "app.g@1"]))
    def clear(self, namespace: str) -> None:
        gone = [at for at in self.model if at.namespace == namespace]
        assert self.store.clear(namespace) == len(gone)
        for at in gone:
            del self.model[at]

    @invariant()
    def holds_the_same_in_the_same_order(self) -> None:
        assert list(self.store._entries.items()) == [(at.digest, entry) for at, entry in self.model.items()]
        used = self.store.usage()
        assert (used.items, used.bytes) == (len(self.model), self.size())
        assert (used.max_bytes, used.max_items) == self.bounds
        assert not self.is_over()

    def size(self) -> int:
        return sum(entry.size + Lru.overhead for entry in self.model.values())

    def is_over(self) -> bool:
        max_bytes, max_items = self.bounds
        return self.size() > max_bytes or (max_items is not None and len(self.model) > max_items)


TestLru = Machine.TestCase
TestLru.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
