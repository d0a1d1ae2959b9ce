"""Polars' frames and series, by way of Arrow, which they are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
from polars.exceptions import PanicException

from mlcache.codec.nodes import NeedsPickleError, Node, Reader, Writer, expect


def _write_frame(value: pl.DataFrame, out: Writer) -> Node:
    # By number, because an empty name would come back as a made-up one.
    numbered = value.rename({name: str(place) for place, name in enumerate(value.columns)})
    try:
        table = numbered.to_arrow()
    except (Exception, PanicException) as error:
        raise NeedsPickleError(f"it cannot be turned into an Arrow table: {error}") from error
    # Of Polars' types some have no equal in Arrow, and would come back as others.
    if _frame(table.slice(0, 0)).schema != numbered.schema:
        raise NeedsPickleError(f"Arrow cannot express all of {value.schema}")
    return ["polars.DataFrame", out.node(table), value.columns]


def _read_frame(node: Node, source: Reader) -> pl.DataFrame:
    _, table, names = node
    frame = _frame(source.value(table))
    frame.columns = names
    return frame


def _frame(table: Any) -> pl.DataFrame:
    try:
        return expect(pl.from_arrow(table), pl.DataFrame)
    except PanicException as error:  # is no Exception
        raise ValueError(f"Polars cannot take this table in: {error}") from error


def _write_series(value: pl.Series, out: Writer) -> Node:
    return ["polars.Series", _write_frame(value.to_frame(), out)]


def _read_series(node: Node, source: Reader) -> pl.Series:
    return _read_frame(node[1], source).to_series()


WRITERS: dict[type, Callable[[Any, Writer], Node]] = {
    pl.DataFrame: _write_frame,
    pl.Series: _write_series,
}

READERS: dict[str, Callable[[Node, Reader], Any]] = {
    "polars.DataFrame": _read_frame,
    "polars.Series": _read_series,
}
