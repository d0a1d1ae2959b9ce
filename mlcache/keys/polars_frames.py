"""Codes of polars' frames and series, through their Arrow buffers."""

from __future__ import annotations

from marshal import dumps
from typing import Any

from mlcache.keys.arrow import encode_chunks
from mlcache.keys.classes import encode_class
from mlcache.keys.digest import Encoder, Seen, encode, tracked

_CONTENT = frozenset({"_df", "_s"})
"""Attributes in which frames and series keep their content."""

_NOT_IN_ARROW = ("Object", "Int128")
"""In the names of types of which Arrow knows nothing: their values are encoded one by one."""


def encoder_for(kind: type) -> Encoder | None:
    """How a type of polars' is encoded; None if not here."""
    import polars as pl

    if issubclass(kind, pl.DataType):
        return lambda value, _: b"@polars.DataType:" + dumps(str(value), 2)
    for base, encoder in ((pl.DataFrame, _encode_frame), (pl.Series, _encode_series)):
        if issubclass(kind, base):
            return encoder if kind is base else _derived(encoder)
    return None


def _derived(encoder: Encoder) -> Encoder:
    """How a subclass is encoded: its class, its content, and the attributes set besides."""

    def encode_derived(value: Any, seen: Seen) -> bytes:
        own = {name: content for name, content in vars(value).items() if name not in _CONTENT}
        return b"@derived:" + encode_class(type(value), seen) + encoder(value, seen) + encode(own, seen)

    return tracked(encode_derived)


def _encode_frame(frame: Any, seen: Seen) -> bytes:
    columns = [_encode_series(column, seen) for column in frame.get_columns()]
    return b"@polars.DataFrame:" + dumps((frame.height, len(columns)), 2) + b"".join(columns)


def _encode_series(series: Any, seen: Seen) -> bytes:
    head = b"@polars.Series:" + dumps((series.name, str(series.dtype)), 2)
    if any(name in str(series.dtype) for name in _NOT_IN_ARROW):
        return head + encode(series.to_list(), seen)
    return head + encode_chunks(series.to_arrow(), seen)
