"""A backend of any kind against a plain dict, under a clock that the test sets."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from mlcache import clock
from mlcache.backends.protocol import Clears, Closes, Lists, Measures
from mlcache.entry import Entry, Key
from mlcache.testing import FakeClock
from mlcache.testing.backends import key

SPACES = ("app.f@1", "app.g@1")
KEYS = [key(number, space) for space in SPACES for number in range(3)]
SIZES = st.sampled_from([0, 10, 5000, 300_000])
"""Bytes: a backend may keep what is large in another way."""

SPANS = st.sampled_from([1e3, 1e5, math.inf])
"""Seconds."""

Open = Callable[[Path], Any]


class Machine(RuleBasedStateMachine):
    """A backend that has room for all, and a dict of what was put last.

    What is dead may have gone, or be found as it was. Nothing lasts for so short a time that a server with a
    clock of its own would find it dead while the test runs.
    """

    open: ClassVar[Open]
    persistent: ClassVar[bool]

    @initialize()
    def begin(self) -> None:
        self.time = FakeClock()
        self.time.__enter__()
        self.folder = tempfile.TemporaryDirectory()
        self.backend: Any = type(self).open(Path(self.folder.name))
        self.last: dict[Key, tuple[Any, ...]] = {}
        for space in SPACES:
            if isinstance(self.backend, Clears):
                self.backend.clear(space)

    def teardown(self) -> None:
        if hasattr(self, "backend"):
            self.close()
            self.folder.cleanup()
            self.time.__exit__(None, None, None)

    @rule(at=st.sampled_from(KEYS), size=SIZES, letter=st.sampled_from("abc"), lasts=SPANS)
    def put(self, at: Key, size: int, letter: str, lasts: float) -> None:
        now = clock.now()
        data, until = letter.encode() * size, now + lasts
        if self.backend.holds == "bytes":
            self.last[at] = (data, until)
            self.backend.put(at, data, until)
        else:
            self.last[at] = (data, now, until, until + 5, 0.5)
            self.backend.put(at, Entry(data, now, until, until + 5, 0.5, size))

    @rule(at=st.sampled_from(KEYS))
    def get(self, at: Key) -> None:
        expected = self.last.get(at)
        found = self.parts(self.backend.get(at))
        if expected is None:
            assert found is None
        elif self.is_alive(at):
            assert found == expected[: len(found or ())]
        else:
            assert found in (None, expected[: len(found or ())])

    @rule(at=st.sampled_from(KEYS))
    def delete(self, at: Key) -> None:
        gone = self.backend.delete(at)
        assert gone is (at in self.last) or not self.is_alive(at)
        self.last.pop(at, None)

    @rule(space=st.sampled_from(SPACES))
    def clear(self, space: str) -> None:
        if isinstance(self.backend, Clears):
            number = len(self.alive(space))
            assert number <= self.backend.clear(space) <= len(self.there(space))
            self.last = {at: parts for at, parts in self.last.items() if at.namespace != space}

    @rule()
    def restart(self) -> None:
        if self.persistent:
            self.close()
            self.backend = type(self).open(Path(self.folder.name))

    @rule(seconds=st.sampled_from([500.0, 5000.0, 50_000.0]))
    def wait(self, seconds: float) -> None:
        self.time.advance(seconds)

    @invariant()
    def lists_and_counts_what_is_alive(self) -> None:
        for space in SPACES if hasattr(self, "backend") else ():
            if isinstance(self.backend, Lists):
                listed = list(self.backend.keys(space))
                assert self.alive(space) <= set(listed) <= self.there(space)
                assert len(set(listed)) == len(listed)
            if isinstance(self.backend, Measures):
                assert len(self.alive(space)) <= self.backend.count(space) <= len(self.there(space))

    def parts(self, found: Any) -> tuple[Any, ...] | None:
        if found is None:
            return None
        if isinstance(found, Entry):
            return found.value, found.created, found.fresh_until, found.stale_until, found.cost
        return (bytes(found),)

    def is_alive(self, at: Key) -> bool:
        return at not in self.last or self.last[at][1 if self.backend.holds == "bytes" else 3] > clock.now()

    def there(self, space: str) -> set[Key]:
        return {at for at in self.last if at.namespace == space}

    def alive(self, space: str) -> set[Key]:
        return {at for at in self.there(space) if self.is_alive(at)}

    def close(self) -> None:
        if isinstance(self.backend, Closes):
            self.backend.close()


def check(make: Open, *, persistent: bool, examples: int = 10) -> None:
    """Run it on backends that ``make`` makes in a folder.

    Args:
        make: a backend. What it holds is cleared before each run, if it can be.
        persistent: whether a backend made anew has what the one before it had.
        examples: how many runs.
    """
    machine = type("BackendMachine", (Machine,), {"open": staticmethod(make), "persistent": persistent})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=30, deadline=None)
    )
