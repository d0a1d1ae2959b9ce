"""Rows of several requests as one frame, for batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlcache.errors import ModelInputError


def concat_rows(frames: Sequence[Any]) -> Any:
    """The rows of all frames, one below the other, for ``Batch("frame", collate=concat_rows)``.

    Together, each row is what it is alone: ``pandas.concat`` alone would fill columns that one of them
    lacks, bring columns into another order, which a model without names for them reads by their places,
    and make whole numbers beside others floats, which do not have all of them.

    Raises:
        ModelInputError: their columns, the order of these, or their types differ: they are then computed
            one by one.
    """
    import pandas as pd

    layout = _layout(frames[0])
    if any(_layout(frame) != layout for frame in frames):
        raise ModelInputError("the frames of this batch have different columns or types")
    return pd.concat(frames, ignore_index=True)


def _layout(frame: Any) -> tuple[list[Any], list[Any]]:
    return list(frame.columns), list(frame.dtypes)
