"""What was heard lately: complete after any mark, and bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcache.backends import recent as module
from mlcache.backends.recent import Recent
from mlcache.entry import Key

names = st.integers(0, 6)


@given(st.lists(st.one_of(names, st.just("all")), max_size=60), st.integers(0, 60), names)
def test_recent_knows_what_came_after_a_mark(heard: list[int | str], at: int, asked: int) -> None:
    recent = Recent()
    mark = 0
    for place, what in enumerate(heard):
        if place == at:
            mark = recent.mark
        recent.note(["app.f@1" if what == "all" else bytes([int(what)] * 16)])
    if at >= len(heard):
        mark = recent.mark
    after = heard[at:]
    expected = asked in after or "all" in after
    assert recent.has(Key("app.f@1", bytes([asked] * 16)), since=mark) is expected


def test_recent_is_bounded_and_errs_on_the_safe_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 3)
    recent = Recent()
    mark = recent.mark
    recent.note([bytes([number]) for number in range(3)])
    assert not recent.has(Key("app.f@1", b"other"), since=mark)
    recent.note([b"one too many"])
    assert recent.has(Key("app.f@1", b"other"), since=mark)
    assert len(recent._marks) == 3
    assert not recent.has(Key("app.f@1", b"other"), since=recent.mark)
