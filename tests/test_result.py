"""What ``call_with_info`` gives, and its headers."""

from __future__ import annotations

import asyncio
import email.utils
import locale
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcache import ml_cache
from mlcache.result import Result, moment
from mlcache.testing import FakeClock

MADE = datetime(2026, 3, 1, 12, 0, 0, 600_000, tzinfo=UTC)


def result(lifetime: float | None = 60.0, age: float = 0.0, **changes: Any) -> Result[str]:
    expires = None if lifetime is None else MADE + timedelta(seconds=lifetime)
    values: dict[str, Any] = {
        "value": "v",
        "status": "hit",
        "tier": "lru",
        "age": age,
        "created_at": MADE,
        "expires_at": expires,
        **changes,
    }
    return Result(**values)


def test_headers_let_a_client_end_when_the_entry_ends() -> None:
    with FakeClock(start=MADE.timestamp() + 9.2):
        assert result(60.9, age=9.2).http_headers() == {
            "Cache-Control": "max-age=51",
            "Age": "0",
            "Expires": "Sun, 01 Mar 2026 12:01:01 GMT",
        }


def test_headers_of_what_is_stale_have_clients_ask_again() -> None:
    with FakeClock(start=MADE.timestamp() + 70):
        assert result(60, age=70, status="stale").http_headers()["Cache-Control"] == "max-age=0"


def test_headers_say_what_is_left_when_they_are_made_and_not_when_the_answer_was_found() -> None:
    with FakeClock(start=MADE.timestamp()) as time:
        entry = result(60)
        time.advance(20)
        assert entry.http_headers()["Cache-Control"] == "max-age=40"


def test_headers_of_what_never_expires() -> None:
    headers = result(None, age=5.0).http_headers()
    assert headers == {"Cache-Control": "max-age=31536000", "Age": "0"}


@pytest.mark.parametrize("status", ["miss", "bypass", "coalesced"])
def test_what_is_not_kept_is_not_to_be_kept_by_clients(status: str) -> None:
    assert result(status=status, kept=False).http_headers() == {"Cache-Control": "no-store"}


@given(st.integers(1, 10**14).map(lambda micros: micros / 1e6), st.floats(0, 1e8))
def test_a_client_never_keeps_it_longer_than_the_entry_lasts(lifetime: float, age: float) -> None:
    entry = result(lifetime, age=age)
    with FakeClock(start=MADE.timestamp() + age):
        headers = entry.http_headers()
    most = int(headers["Cache-Control"].removeprefix("max-age="))
    assert most >= 0
    assert most == 0 or most <= lifetime - age + 1e-6  # of the clock
    assert entry.expires_at is not None
    assert (
        timedelta(0)
        <= entry.expires_at - email.utils.parsedate_to_datetime(headers["Expires"])
        < timedelta(seconds=1)
    )


def test_dates_are_in_english_whatever_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other locale may be installed here, so what would ask for it is watched."""

    class Watched(datetime):
        def strftime(self, format: str) -> str:  # noqa: A002 - as datetime has it
            raise AssertionError(f"{format} depends on {locale.setlocale(locale.LC_TIME)}")

    monkeypatch.setattr("mlcache.result.datetime", Watched)
    expires = Watched(2026, 3, 1, 12, 1, tzinfo=UTC)
    assert result(expires_at=expires).http_headers()["Expires"] == "Sun, 01 Mar 2026 12:01:00 GMT"


def test_a_moment_is_aware() -> None:
    assert moment(0.0) == datetime(1970, 1, 1, tzinfo=UTC)
    assert moment(0.0).tzinfo is UTC


def test_a_result_is_frozen_and_shows_what_it_has() -> None:
    entry = result()
    with pytest.raises(AttributeError):
        entry.value = "w"  # type: ignore[misc]
    assert "status='hit'" in repr(entry)


@pytest.mark.filterwarnings("ignore:.*does not fit into:mlcache.MlcacheWarning")
@pytest.mark.parametrize("on_loop", [False, True], ids=["thread", "loop"])
@pytest.mark.parametrize(
    ("backend", "kept"),
    [("lru?max_bytes=10KB", False), ("lru?max_bytes=10KB, disk", True), ("disk?max_bytes=4KB", False)],
)
def test_what_no_tier_takes_is_not_kept(backend: str, kept: bool, on_loop: bool) -> None:  # noqa: FBT001
    @ml_cache(backend=backend, ttl="1h")
    def compute() -> bytes:
        return random.randbytes(50_000)

    info = asyncio.run(compute.aio.call_with_info()) if on_loop else compute.call_with_info()
    assert (info.status, info.kept, compute.peek() is not None) == ("miss", kept, kept)
    assert (info.http_headers()["Cache-Control"] == "no-store") is not kept
