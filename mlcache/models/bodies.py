"""Bodies of requests: JSON in, a frame of pandas out, and what was wrong where there is none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import numpy as np

from mlcache.errors import ModelInputError

SHAPES = '{"records": [{"a": 1, "b": 2}]} or {"columns": {"a": [1], "b": [2]}}'

MAX_COLUMNS = 1000
"""Columns of a request, at most, where nothing else is said."""

Columns = dict[str, list[Any]]


class BodyTooLargeError(Exception):
    """A body with more bytes than are read."""


async def read_body(declared: str | None, chunks: AsyncIterator[bytes], limit: int) -> bytes:
    """A body that is not read past ``limit`` bytes.

    Args:
        declared: what the client said of its length.
        chunks: of the body.
        limit: bytes.

    Raises:
        BodyTooLargeError: there are more.
    """
    if declared is not None and declared.isdecimal() and int(declared) > limit:
        raise BodyTooLargeError
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > limit:
            raise BodyTooLargeError
    return bytes(body)


def frame_of(body: bytes, max_rows: int, max_columns: int = MAX_COLUMNS) -> Any:
    """The rows that a body holds: records, or columns.

    Raises:
        ModelInputError: it holds none, or too many, or they do not fit together.
    """
    return frame_from(columns_of(body, max_rows, max_columns))


def columns_of(body: bytes, max_rows: int, max_columns: int) -> Columns:
    """The columns of the rows that a body holds; it raises as ``frame_of``."""
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelInputError(f"the body is no JSON: {error}{_hint(body)}") from None
    columns = _columns(said)
    if len(columns) > max_columns:
        raise ModelInputError(f"the body has {len(columns)} columns: give 1 to {max_columns}")
    lengths = {len(values) for values in columns.values()}
    if len(lengths) != 1:
        raise ModelInputError("the columns have different lengths")
    if not 0 < (count := lengths.pop()) <= max_rows:
        raise ModelInputError(f"the body has {count} rows: give 1 to {max_rows}")
    for name, values in columns.items():
        if not {list, dict}.isdisjoint(map(type, values)):
            raise ModelInputError(f"the column {name!r} holds lists or objects: give single values")
    return columns


def frame_from(columns: Columns) -> Any:
    """The frame of these columns. It takes a hundred microseconds for each that holds text."""
    import pandas as pd

    if all(set(map(type, values)) == {float} for values in columns.values()):
        # What most models are asked about: made of one array, a frame takes a third of the time.
        return pd.DataFrame(np.array(list(columns.values())).T, columns=list(columns))
    return pd.DataFrame(columns)


def _hint(body: bytes) -> str:
    """What to write in place of that which Python's and other writers of JSON put there."""
    if b"NaN" in body or b"Infinity" in body:
        return ". It has no word for NaN nor Infinity: give null for a value that is missing"
    return ""


def _columns(said: Any) -> Columns:
    only = next(iter(said.items())) if isinstance(said, dict) and len(said) == 1 else (None, None)
    if only[0] == "records" and isinstance(only[1], list):
        return _from_records(only[1])
    columns = only[1]
    if only[0] != "columns" or not isinstance(columns, dict):
        raise ModelInputError(f"the body is not understood: give {SHAPES}")
    if not columns or not all(isinstance(values, list) for values in columns.values()):
        raise ModelInputError('"columns" holds no columns, or something that is no list')
    return columns


def _from_records(records: list[Any]) -> Columns:
    if not records or not all(isinstance(record, dict) and record for record in records):
        raise ModelInputError('"records" holds none, or something that is no object with values')
    names = list(records[0])
    for number, record in enumerate(records):
        if record.keys() != records[0].keys():
            raise ModelInputError(f"record {number} has other columns than the first: {', '.join(names)}")
    return {name: [record[name] for record in records] for name in names}
