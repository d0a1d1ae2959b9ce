"""Memory before disk against a dict: what is found is what was kept last, and never past its time."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any, NoReturn

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mlcache.backends.disk import Disk
from mlcache.backends.encoded import Encoded
from mlcache.backends.memory import Lru
from mlcache.backends.tiered import Tiers
from mlcache.codec import FrameCodec
from mlcache.entry import Entry, Key, Verdict, judge
from mlcache.testing import FakeClock
from mlcache.testing.backends import key

KEYS = [key(number, namespace) for number in range(3) for namespace in ("app.f@1", "app.g@1")]
SPANS = st.sampled_from([1000.0, 10_000.0, 100_000.0, math.inf])


def fail(tier: str, operation: str, of: Key | None, error: Exception) -> NoReturn:
    raise AssertionError(f"{tier} failed at {operation} of {of}") from error


class Machine(RuleBasedStateMachine):
    """The memory is so small that most is found on disk; now and then it is emptied, as by a restart."""

    def __init__(self) -> None:
        super().__init__()
        self.time = FakeClock()
        self.time.__enter__()
        self.folder = tempfile.TemporaryDirectory()
        self.disk = Disk(Path(self.folder.name) / "cache", max_bytes=2**26)
        self.last: dict[Key, Entry] = {}
        self.serial = 0
        self.open()

    def teardown(self) -> None:
        self.disk.close()
        self.folder.cleanup()
        self.time.__exit__(None, None, None)

    def open(self) -> None:
        self.near = Lru(max_bytes=2**20, max_items=2)
        self.tiers = Tiers([self.near, Encoded(self.disk, FrameCodec())], fail)

    @rule()
    def restart(self) -> None:
        self.open()
        for at in KEYS:
            self.find(at)

    @rule(at=st.sampled_from(KEYS), fresh=SPANS, stale=st.sampled_from([0.0, 5000.0]))
    def keep(self, at: Key, fresh: float, stale: float) -> None:
        now = self.time.now()
        self.serial += 1
        self.last[at] = Entry(f"value {self.serial}", now, now + fresh, now + fresh + stale, 0.5, 100)
        self.tiers.keep(at, self.last[at])

    @rule(at=st.sampled_from(KEYS))
    def find(self, at: Key) -> None:
        expected, now = self.last.get(at), self.time.now()
        found = self.tiers.find(at)
        if expected is None or judge(expected, now) is Verdict.DEAD:
            assert found is None
            return
        assert found is not None
        assert self.parts(found.entry) == self.parts(expected)
        assert found.at == now
        if judge(expected, now) is Verdict.FRESH:
            promoted = self.near.get(at)
            assert promoted is not None
            assert self.parts(promoted) == self.parts(expected), "its deadline is the same in every tier"

    @rule(at=st.sampled_from(KEYS))
    def drop(self, at: Key) -> None:
        assert self.tiers.drop(at) is (self.last.pop(at, None) is not None)

    @rule(namespace=st.sampled_from(["app.f@1", "app.g@1"]))
    def clear(self, namespace: str) -> None:
        gone = [at for at in self.last if at.namespace == namespace]
        assert self.tiers.clear(namespace) == len(gone)
        for at in gone:
            del self.last[at]

    @rule(seconds=st.sampled_from([500.0, 1000.0, 5000.0, 50_000.0]))
    def wait(self, seconds: float) -> None:
        self.time.advance(seconds)

    @invariant()
    def lists_what_was_kept(self) -> None:
        for namespace in ("app.f@1", "app.g@1"):
            assert set(self.tiers.keys(namespace)) == {at for at in self.last if at.namespace == namespace}

    def parts(self, entry: Entry) -> tuple[Any, ...]:
        return entry.value, entry.created, entry.fresh_until, entry.stale_until, entry.cost


TestTiers = Machine.TestCase
TestTiers.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
