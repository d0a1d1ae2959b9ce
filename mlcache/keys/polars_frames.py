"""Codes of polars' frames and series, through their Arrow buffers."""

from __future__ import annotations

from marshal import dumps
from typing import Any

from mlcache.keys.arrow import encode_chunks
from mlcache.keys.digest import Encoder, Seen, encode


def encoder_for(kind: type) -> Encoder | None:
    """How a type of polars' is encoded; None if not here."""
    import polars as pl

    if issubclass(kind, pl.DataFrame):
        return _encode_frame
    return _encode_series if issubclass(kind, pl.Series) else None


def _encode_frame(frame: Any, seen: Seen) -> bytes:
    columns = [_encode_series(column, seen) for column in frame.get_columns()]
    return b"@polars.DataFrame:" + dumps((frame.height, len(columns)), 2) + b"".join(columns)


def _encode_series(series: Any, seen: Seen) -> bytes:
    head = b"@polars.Series:" + dumps((series.name, str(series.dtype)), 2)
    if "Object" in str(series.dtype):
        return head + encode(series.to_list(), seen)
    return head + encode_chunks(series.to_arrow(), seen)
