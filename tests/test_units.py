"""Durations and sizes as people write them."""

from __future__ import annotations

import math
from datetime import timedelta
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcache.errors import ConfigurationError
from mlcache.units import seconds, show_seconds, show_size, size


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (90, 90.0),
        (0.25, 0.25),
        ("90", 90.0),
        ("1.5", 1.5),
        ("250ms", 0.25),
        ("90s", 90.0),
        ("2m", 120.0),
        ("1h30m", 5400.0),
        (" 1h 30m ", 5400.0),
        ("1H30M", 5400.0),
        ("1.5h", 5400.0),
        ("7d", 604800.0),
        ("1w", 604800.0),
        (timedelta(minutes=3), 180.0),
        (Fraction(1, 2), 0.5),
        (np.int64(60), 60.0),
        (np.float32(0.5), 0.5),
    ],
)
def test_a_duration_is_understood(written: Any, meant: float) -> None:
    assert seconds(written, what="ttl") == meant


@pytest.mark.parametrize(
    "wrong",
    [
        *(0, -1, 0.0, "0", "-5", "0s", timedelta(0), timedelta(seconds=-1)),
        *(math.inf, math.nan, -math.inf, "inf", "nan", "9" * 400 + "d", 10**400),
        *("", " ", "h", "1 hour", "1h30", "1y", "-5m", "1e3", "5 5", "1h-30m"),
        *(True, False, None, [1], b"90", ..., 1 + 2j),
    ],
    ids=repr,
)
def test_what_is_no_duration_names_the_option_and_the_value(wrong: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        seconds(wrong, what="the option")
    assert str(caught.value).startswith(f"the option is {wrong!r}")
    assert "give seconds" in str(caught.value) or "above zero" in str(caught.value)


@given(st.integers(0, 50), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_parts_of_a_duration_add_up(days: int, hours: int, minutes: int, secs: int, millis: int) -> None:
    text = f"{days}d{hours}h{minutes}m{secs}s{millis}ms"
    span = timedelta(days=days, hours=hours, minutes=minutes, seconds=secs, milliseconds=millis)
    if span:
        assert math.isclose(seconds(text, what="ttl"), span.total_seconds())
    else:
        with pytest.raises(ConfigurationError):
            seconds(text, what="ttl")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (1, 1),
        ("1048576", 2**20),
        ("1b", 1),
        ("1kb", 1000),
        ("512MiB", 512 * 2**20),
        ("512 mib", 512 * 2**20),
        ("10GB", 10**10),
        ("1.5KiB", 1536),
        ("2TiB", 2**41),
        (np.int64(1024), 1024),
    ],
)
def test_a_size_is_understood(written: int | str, meant: int) -> None:
    assert size(written, what="max_bytes") == meant


@pytest.mark.parametrize(
    "wrong",
    [0, -1, "0", "0.1b", "-5", "", "MiB", "10 gibs", "1e9", "5 5", "9" * 400, True, None, 1.5, [1]],
    ids=repr,
)
def test_what_is_no_size_names_the_option_and_the_value(wrong: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        size(wrong, what="the option")
    assert str(caught.value).startswith(f"the option is {wrong!r}")
    assert "512MiB" in str(caught.value)


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (5 * 2**30, "5.0 GiB"),
        (2**50, "1024.0 TiB"),
    ],
)
def test_sizes_are_shown_for_people(number: int, shown: str) -> None:
    assert show_size(number) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        *((0.0, "0s"), (0.0123, "0.0123s"), (59.0, "59s"), (60.0, "1m"), (61.0, "1m 1s")),
        *((3600.0, "1h"), (5400.0, "1h 30m"), (90061.0, "1d 1h"), (86400.0 * 7, "7d")),
    ],
)
def test_durations_are_shown_for_people(number: float, shown: str) -> None:
    assert show_seconds(number) == shown


@given(st.floats(0.001, 1e7))
def test_what_is_shown_is_read_back_to_within_its_last_part(number: float) -> None:
    assert math.isclose(seconds(show_seconds(number), what="ttl"), number, rel_tol=0.05)
