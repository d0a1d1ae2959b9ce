"""Rows of several requests as one frame, for batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlcache.errors import ModelInputError


def concat_rows(frames: Sequence[Any]) -> Any:
    """The rows of all frames, one below the other, for ``Batch("frame", collate=concat_rows)``.

    ``pandas.concat`` fills the columns that one of them lacks with missing values, so that a model which
    takes these would answer a request that it refuses alone.

    Raises:
        ModelInputError: their columns differ: they are then computed one by one.
    """
    import pandas as pd

    columns = set(frames[0].columns)
    if any(set(frame.columns) != columns for frame in frames):
        raise ModelInputError("the frames of this batch have different columns")
    return pd.concat(frames, ignore_index=True)
