from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from mlcache.codec import FrameCodec, Signer
from mlcache.entry import Entry
from mlcache.errors import CannotEncodeError
from tests.codec.likeness import CODEC, round_trip

pl = pytest.importorskip("polars")
plt = pytest.importorskip("polars.testing")
pytest.importorskip("pyarrow")

FRAME = pl.DataFrame(
    {
        "int": pl.Series([1, None, 3]),
        "u8": pl.Series([1, 2, 3], dtype=pl.UInt8),
        "float": [1.5, float("nan"), None],
        "text": ["a", None, "bc"],
        "bool": [True, None, False],
        "binary": [b"a", b"", None],
        "date": [dt.date(2024, 1, 1), None, dt.date(1900, 1, 1)],
        "time": pl.Series([dt.datetime(2024, 1, 1, tzinfo=dt.UTC)] * 3).dt.convert_time_zone("Europe/Rome"),
        "ms": pl.Series([1, 2, 3], dtype=pl.Datetime("ms")),
        "span": [dt.timedelta(1), None, dt.timedelta(2)],
        "category": pl.Series(["a", "b", None], dtype=pl.Categorical),
        "enum": pl.Series(["b", "b", None], dtype=pl.Enum(["b", "a"])),
        "list": [[1], None, [2, 3]],
        "struct": [{"a": 1, "b": "x"}, None, {"a": 2, "b": None}],
        "decimal": pl.Series([Decimal("1.50"), None, Decimal(2)]),
        "null": [None] * 3,
        "": [1, 2, 3],
    }
)


@pytest.mark.parametrize(
    "frame",
    [FRAME, FRAME[:0], FRAME[1:2], pl.DataFrame(), pl.concat([FRAME, FRAME], rechunk=False)],
    ids=["frame", "no rows", "one row", "nothing", "chunks"],
)
def test_frames_come_back(frame: Any) -> None:
    back = round_trip([frame])[0]
    assert back.schema == frame.schema
    plt.assert_frame_equal(back, frame, check_exact=True)


@pytest.mark.parametrize("name", FRAME.columns)
def test_series_come_back(name: str) -> None:
    for series in (FRAME[name], FRAME[name][:0], FRAME[name].rename("")):
        back = round_trip(series)
        plt.assert_series_equal(back, series, check_exact=True)
        assert back.dtype == series.dtype


def test_objects_need_pickle() -> None:
    frame = pl.DataFrame({"a": pl.Series([object()], dtype=pl.Object)})
    with pytest.raises(CannotEncodeError):
        CODEC.encode(Entry(frame, 1.0))


def test_a_lazy_frame_is_no_value() -> None:
    with pytest.raises(CannotEncodeError, match="LazyFrame"):
        CODEC.encode(Entry(FRAME.lazy(), 1.0))
    back = round_trip(FRAME.select("int").lazy(), FrameCodec(signer=Signer(b"k" * 32)))
    plt.assert_frame_equal(back.collect(), FRAME.select("int"))
