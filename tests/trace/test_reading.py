"""From traces to a workload."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from mlcache.errors import ConfigurationError, TraceError
from mlcache.trace.format import CHUNK, HEADER, NOT_KEPT, RECORD, UNKNOWN, write_trace
from mlcache.trace.reading import Recorded, load

Row = tuple[int, float, float, float]


def loaded(folder: Path, *files: list[Row]) -> Recorded:
    paths = [folder / str(number) for number in range(len(files))]
    for path, rows in zip(paths, files, strict=True):
        write_trace(path, np.array(rows, dtype=RECORD))
    return load(paths)


def test_calls_come_in_the_order_of_time_from_all_processes(tmp_path: Path) -> None:
    first = [(70, 5.0, 1.0, 10.0), (80, 9.0, 2.0, 20.0)]
    second = [(80, 6.0, 2.0, 20.0), (70, 5.5, 1.0, 10.0)]
    workload = loaded(tmp_path, first, second).workload
    assert workload.keys.tolist() == [0, 0, 1, 1]
    assert workload.times.tolist() == [0.0, 0.5, 1.0, 4.0]
    assert workload.costs.tolist() == [1.0, 2.0]
    assert workload.sizes.tolist() == [10, 20]


def test_a_key_costs_and_weighs_what_it_did_on_average(tmp_path: Path) -> None:
    rows = [(7, 1.0, 1.0, 10.0), (7, 2.0, UNKNOWN, UNKNOWN), (7, 3.0, 2.0, 21.0)]
    workload = loaded(tmp_path, rows).workload
    assert len(workload) == 3
    assert workload.costs.tolist() == [1.5]
    assert workload.sizes.tolist() == [16]


def test_calls_of_which_nothing_is_known_are_left_out_and_counted(tmp_path: Path) -> None:
    recorded = loaded(tmp_path, [(1, 1.0, UNKNOWN, UNKNOWN), (2, 2.0, 0.5, 9.0), (1, 3.0, UNKNOWN, UNKNOWN)])
    assert len(recorded.workload) == 1
    assert (recorded.unknown, recorded.not_kept) == (2, 0)


def test_keys_whose_values_are_mostly_not_kept_are_left_out_and_counted(tmp_path: Path) -> None:
    never = [(1, time, 0.5, size) for time in (1.0, 2.0) for size in (9.0, NOT_KEPT)]
    once = [(2, 1.0, 0.5, 9.0), (2, 1.0, UNKNOWN, NOT_KEPT), (2, 3.0, 0.5, 9.0), (2, 4.0, 0.5, 9.0)]
    recorded = loaded(tmp_path, never + once)
    assert len(recorded.workload) == 3
    assert (recorded.unknown, recorded.not_kept) == (0, 2)


def test_a_sample_keeps_all_calls_for_its_share_of_the_keys(tmp_path: Path) -> None:
    digests = np.random.default_rng(0).integers(2**64, size=4_000, dtype=np.uint64)
    rows = [(int(digest), time, 0.1, 100.0) for time in (1.0, 2.0) for digest in digests]
    write_trace(tmp_path / "t", np.array(rows, dtype=RECORD))
    recorded = load([tmp_path / "t"], sample=0.25)
    assert len(recorded.workload.asked) == pytest.approx(1_000, rel=0.1)
    assert (np.bincount(recorded.workload.keys) == 2).all()
    assert recorded.sample == 0.25


@pytest.mark.parametrize(
    ("time", "cost", "size"),
    [
        (-1.0, 0.5, 9.0),
        (math.nan, 0.5, 9.0),
        (math.inf, 0.5, 9.0),
        (1e300, 0.5, 9.0),
        (1.0, -0.5, 9.0),
        (1.0, math.inf, 9.0),
        (1.0, 1e30, 9.0),
        (1.0, 0.5, -9.0),
        (1.0, 0.5, -math.inf),
        (1.0, 0.5, 1e30),
    ],
)
def test_a_record_that_no_call_can_have_is_named(
    time: float, cost: float, size: float, tmp_path: Path
) -> None:
    rows = [(1, 1.0, 0.5, 9.0)] * (CHUNK + 5) + [(2, time, cost, size)]
    named = rf"/0 is damaged: record {CHUNK + 5}, .* at byte {16 + 24 * (CHUNK + 5)}"
    with pytest.raises(TraceError, match=named):
        loaded(tmp_path, rows)


def test_random_bytes_after_a_good_header_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(HEADER + np.random.default_rng(0).bytes(24 * 100))
    with pytest.raises(TraceError, match="is damaged: record 0"):
        load([tmp_path / "t"])


@pytest.mark.parametrize("sample", [0.0, -1.0, 1.5, math.nan])
def test_a_sample_that_is_no_share_is_refused(sample: float) -> None:
    with pytest.raises(ConfigurationError, match=r"sample is .*above 0 and at most 1"):
        load([], sample=sample)


def test_a_trace_without_calls_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"no call to replay in .*/0"):
        loaded(tmp_path, [])
    with pytest.raises(TraceError, match="no call to replay in no trace"):
        load([])
