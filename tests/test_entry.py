"""Entries, their judgement and their lifetimes."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcache.entry import FOREVER, Entry, Expiry, Key, Verdict, judge
from mlcache.errors import ConfigurationError
from mlcache.testing import FakeClock

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        (0.0, Verdict.FRESH),
        (9.999, Verdict.FRESH),
        (10.0, Verdict.STALE),
        (19.999, Verdict.STALE),
        (20.0, Verdict.DEAD),
        (math.inf, Verdict.DEAD),
    ],
)
def test_a_deadline_is_the_first_instant_past_it(now: float, verdict: Verdict) -> None:
    assert judge(Entry("v", 0.0, fresh_until=10.0, stale_until=20.0), now) is verdict


@given(st.floats(0, 1e12), st.floats(0, 1e12), st.floats(0, 1e12))
def test_an_entry_only_ages(created: float, first: float, second: float) -> None:
    order = [Verdict.FRESH, Verdict.STALE, Verdict.DEAD]
    entry = Entry("v", created, created + 5.0, created + 50.0)
    early, late = sorted((first, second))
    assert order.index(judge(entry, early)) <= order.index(judge(entry, late))


def test_an_entry_without_deadline_is_always_fresh() -> None:
    assert judge(Entry("v", 0.0), 1e300) is Verdict.FRESH


def test_an_entry_is_frozen() -> None:
    with pytest.raises(AttributeError):
        Entry("v", 0.0).value = "w"  # type: ignore[misc]


def test_a_key_is_compared_by_content_and_travels() -> None:
    key = Key("app.score@12", b"0" * 16)
    assert key == Key("app.score@12", b"0" * 16) == pickle.loads(pickle.dumps(key))
    assert key != Key("app.score@13", b"0" * 16)
    assert len({key, Key("app.score@12", b"0" * 16)}) == 1
    assert str(key) == "app.score@12/" + "30" * 16


@pytest.mark.parametrize("ttl", [60, 60.0, "60", "1m", timedelta(minutes=1)], ids=repr)
def test_a_span_counts_from_when_the_value_was_made(ttl: Any) -> None:
    assert Expiry(ttl).deadline("v", NOW) == NOW + 60


def test_no_ttl_is_for_ever() -> None:
    assert Expiry().deadline("v", NOW) == FOREVER == Expiry(None).deadline("v", NOW)


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=9))], ids=str)
def test_a_datetime_is_one_deadline_for_all(zone: timezone) -> None:
    end = datetime.fromtimestamp(NOW + 3600, zone)
    with FakeClock(NOW):
        expiry = Expiry(end)
    assert expiry.deadline("v", NOW) == expiry.deadline("v", NOW + 1000) == NOW + 3600


@pytest.mark.parametrize(
    "wrong",
    [
        *(0, -1, "0", "-1h", "soon", "", timedelta(0), timedelta(-1), math.inf, math.nan, True, False),
        *([60], {"ttl": 60}, b"60", date(2999, 1, 1)),
    ],
    ids=repr,
)
def test_what_is_no_lifetime_is_refused_when_it_is_said(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="ttl is"):
        Expiry(wrong)


def test_a_datetime_without_zone_is_refused_with_the_way_to_mend_it() -> None:
    with pytest.raises(ConfigurationError, match=r"time zone.*datetime\.now\(UTC\)"):
        Expiry(datetime(2999, 1, 1))


def test_a_datetime_in_the_past_is_refused() -> None:
    with FakeClock(NOW), pytest.raises(ConfigurationError, match="already past"):
        Expiry(datetime.fromtimestamp(NOW, UTC))


@pytest.mark.parametrize(
    ("says", "deadline"),
    [
        (30, NOW + 30),
        ("30s", NOW + 30),
        (timedelta(seconds=30), NOW + 30),
        (np.float32(30), NOW + 30),
        (np.int64(30), NOW + 30),
        (None, FOREVER),
        (datetime.fromtimestamp(NOW + 30, UTC), NOW + 30),
    ],
    ids=repr,
)
def test_a_function_of_the_value_may_say_whatever_ttl_may_be(says: Any, deadline: float) -> None:
    seen: list[object] = []

    def ttl(value: object) -> Any:
        seen.append(value)
        return says

    assert Expiry(ttl).deadline("the value", NOW) == deadline
    assert seen == ["the value"]


@pytest.mark.parametrize(
    "says",
    [
        *(0, -1, 0.0, "0", "-1", "0s", timedelta(0), timedelta(days=-1), np.float32(0), np.int64(-3)),
        datetime.fromtimestamp(NOW - 1, UTC),
    ],
    ids=repr,
)
def test_a_function_may_say_that_the_time_is_over(says: Any) -> None:
    assert Expiry(lambda _: says).deadline("v", NOW) <= NOW


@pytest.mark.parametrize("says", ["soon", True, [1], math.nan, math.inf, ...], ids=repr)
def test_a_function_that_says_nonsense_is_a_clear_error(says: Any) -> None:
    with pytest.raises(ConfigurationError, match="ttl is"):
        Expiry(lambda _: says).deadline("v", NOW)


@pytest.mark.parametrize(
    ("ttl", "shown"),
    [
        (None, "never expires"),
        ("90m", "ttl 1h 30m"),
        (datetime(2999, 1, 1, tzinfo=UTC), "until 2999-01-01T00:00:00+00:00"),
        (len, "ttl by value"),
    ],
)
def test_a_lifetime_is_shown_for_people(ttl: Any, shown: str) -> None:
    assert str(Expiry(ttl)) == shown
    assert repr(Expiry(ttl)).startswith("Expiry(")


def test_all_terms_are_shown() -> None:
    terms = Expiry("1h", stale="10m", early=1.5, jitter=0.1, stale_if_error="1d", errors={KeyError: 5})
    shown = "ttl 1h, then stale for 10m, served on errors for 1d, KeyError kept for 5s, early 1.5, jitter 0.1"
    assert str(terms) == shown


def test_another_lifetime_leaves_all_other_terms_as_they_are() -> None:
    terms = Expiry("1h", stale="10m", early=1.5, jitter=0.1, stale_if_error="1d", errors={KeyError: 5})
    assert str(terms.lasting("2h")) == str(terms).replace("ttl 1h", "ttl 2h")
    assert terms.lasting("2h").deadline("v", NOW, luck=1.0) == NOW + 7200 * 0.9
    assert str(Expiry("1h").lasting(None)) == "never expires"


def test_jitter_may_take_all_of_a_lifetime_and_early_be_any_number() -> None:
    assert Expiry(60, jitter=1).deadline("v", NOW, luck=0.5) == NOW + 30
    assert Expiry(60, early=1e9).early == 1e9


def test_an_entry_can_be_changed_only_into_a_new_one() -> None:
    entry = Entry([1], 1.0, cost=2.0)
    later = msgspec.structs.replace(entry, fresh_until=5.0)
    assert (entry.fresh_until, later.fresh_until, later.cost) == (FOREVER, 5.0, 2.0)


@pytest.mark.parametrize("make", [Expiry, lambda ttl: Expiry(lambda _: ttl).deadline("v", NOW)])
def test_the_error_says_what_would_be_right(make: Callable[[Any], Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"1h30m.*timedelta"):
        make("tomorrow")
