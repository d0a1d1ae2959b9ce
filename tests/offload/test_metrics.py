"""What a pool counts, held against the measurements themselves."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcache.offload.metrics import Meter, Summary

Seconds = st.floats(0.0, 1e5, allow_nan=False)


def summary(values: list[float]) -> Summary:
    """What is said of calls that waited so long."""
    meter = Meter()
    for value in values:
        meter.measure(value, 0.0, 0.0, 0.0, 0.0, 1.0)
    wait: Summary = meter.fields()["wait"]
    return wait


@given(st.lists(Seconds, min_size=1, max_size=600))
def test_a_summary_says_what_the_measurements_were_like(values: list[float]) -> None:
    said, by_size = summary(values), sorted(values)
    assert said.count == len(values)
    assert said.total == pytest.approx(math.fsum(values))
    assert said.mean == pytest.approx(math.fsum(values) / len(values))
    assert said.largest == max(values)
    for part, percentile in ((0.5, said.p50), (0.95, said.p95), (0.99, said.p99)):
        exact = by_size[max(math.ceil(part * len(values)), 1) - 1]
        assert exact <= percentile * (1 + 1e-9) or percentile == said.largest
        assert percentile <= max(exact * 2**0.25, 1e-6) * (1 + 1e-9)


def test_nothing_measured_is_nothing() -> None:
    assert summary([]) == Summary(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def test_reading_does_not_count_twice() -> None:
    meter = Meter()
    meter.measure(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    assert meter.fields() == meter.fields()
    meter.measure(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    assert [meter.fields()[name].total for name in ("wait", "bytes_out", "items")] == [2.0, 10.0, 12.0]
