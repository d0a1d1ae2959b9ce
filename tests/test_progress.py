"""Progress bars: those that were asked for, those that come by themselves, and that of neither any trace."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from mlcache import Batch, MissingExtraError, ml_cache
from mlcache.testing import FakeClock

LRU = "lru?max_bytes=8MiB"


class Terminal(io.StringIO):
    """Standard error, where a person watches."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    with FakeClock() as clock:
        yield clock


@pytest.fixture(autouse=True)
def _no_monitor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tqdm.tqdm.monitor_interval", 0)  # or its thread would outlive the test


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """What standard error is from now on. No fixture, since pytest sets it before the test itself."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    return screen


def slow(clock: FakeClock, seconds: float, **options: Any) -> Any:
    @ml_cache(backend=LRU, batch=Batch("numbers", max_size=10, **options), ignore=["clock"], name="slow")
    def double(numbers: list[int]) -> list[int]:
        clock.advance(seconds)
        return [number * 2 for number in numbers]

    return double


def test_a_long_call_shows_a_bar_where_a_person_watches(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = terminal(monkeypatch)
    double = slow(clock, 0.6)
    double(list(range(5)))
    assert screen.getvalue() == ""  # it was quick
    double(list(range(50)))
    shown = screen.getvalue()
    assert "slow" in shown
    assert "25/50" in shown  # those that were kept, and two chunks, which took more than a second


def test_nobody_sees_a_bar_where_nobody_watches(clock: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
    slow(clock, 5.0)(list(range(50)))
    slow(clock, 5.0, progress=None).warm([[1], [2]])
    assert capsys.readouterr().err == ""


def test_a_bar_may_be_asked_for_or_refused(
    clock: FakeClock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(clock, 0.0, progress=True)(list(range(30)))
    assert "30/30" in capsys.readouterr().err
    screen = terminal(monkeypatch)
    slow(clock, 5.0, progress=False)(list(range(30)))
    assert screen.getvalue() == ""


def test_warming_shows_how_many_calls_are_done(clock: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
    @ml_cache(backend=LRU, name="plain")
    def plain(number: int) -> int:
        return number

    assert plain.warm([1, 2, 3], progress=True) == 3
    assert "3/3" in capsys.readouterr().err
    assert asyncio.run(plain.aio.warm(iter([4, 5]), progress=True)) == 2
    assert "2 calls" in capsys.readouterr().err  # of how many, nobody knew
    assert slow(clock, 0.0).warm([[1, 2], [3]], progress=True) == 3
    shown = capsys.readouterr().err
    assert "2/2" in shown
    assert "items" not in shown  # no bar of each call beside that of all
    assert slow(clock, 0.0).warm([[1, 2]], progress=True) == 2
    assert "2/2" in capsys.readouterr().err  # items, as there is one call


def test_a_bar_ends_where_its_call_fails(capsys: pytest.CaptureFixture[str]) -> None:
    @ml_cache(backend=LRU, batch=Batch("numbers", max_size=1, progress=True))
    def broken(numbers: list[int]) -> list[int]:
        if numbers == [2]:
            raise ValueError("no twos")
        return numbers

    with pytest.raises(ValueError, match="no twos"):
        broken([1, 2, 3])
    assert "1/3" in capsys.readouterr().err


def test_without_tqdm_only_who_asks_for_a_bar_is_told_of_it(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = terminal(monkeypatch)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    monkeypatch.setattr("mlcache.progress.find_spec", lambda _: None)
    assert slow(clock, 5.0)([1, 2]) == [2, 4]
    assert screen.getvalue() == ""
    with pytest.raises(MissingExtraError, match=r"mlcache\[progress\]"):
        slow(clock, 5.0, progress=True)([1, 2])
