from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from mlcache import ml_cache
from mlcache.errors import ModelInputError
from mlcache.models.bodies import frame_of

COLUMNS: dict[str, dict[str, list[Any]]] = {
    "floats": {"b": [1.5, -0.0, 3.0], "a": [4.0, 5.0, 6.0]},
    "one row of floats": {"b": [1.5], "a": [4.0]},
    "whole numbers": {"b": [1, 2], "a": [3, 4]},
    "floats beside whole numbers": {"b": [1.5, 2.5], "a": [3, 4]},
    "a column of both": {"b": [1, 2.5], "a": [3.0, 4.0]},
    "missing values": {"b": [1.5, None], "a": [None, None]},
    "texts and truths": {"b": ["x", "y"], "a": [True, False]},
    "numbers that no integer holds": {"b": [2**70, 1]},
}


@pytest.mark.parametrize("columns", COLUMNS.values(), ids=COLUMNS.keys())
@pytest.mark.parametrize("shape", ["columns", "records"])
def test_a_frame_is_the_one_that_pandas_makes(columns: dict[str, list[Any]], shape: str) -> None:
    right = pd.DataFrame(columns)
    records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    said = {"columns": columns} if shape == "columns" else {"records": records}
    frame = frame_of(msgspec.json.encode(said), 10)
    pd.testing.assert_frame_equal(frame, right)
    # The order in memory may change the last digit of what a model answers.
    assert frame.to_numpy().flags.c_contiguous == right.to_numpy().flags.c_contiguous

    @ml_cache(version=None)
    def total(frame: Any) -> Any:
        return frame

    assert total.cache_key(frame) == total.cache_key(right)


def test_rows_can_be_written_to() -> None:
    frame = frame_of(b'{"columns": {"a": [1.0], "b": [2.0]}}', 10)
    frame["a"] += 1  # as a model that prepares its rows in place does
    assert np.array_equal(frame.to_numpy(), [[2.0, 2.0]])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_who_writes_what_json_has_no_word_for_is_told_what_to_write(value: float) -> None:
    body = json.dumps({"columns": {"a": [value, 1.0]}}).encode()  # as Python writes it unless told not to
    with pytest.raises(ModelInputError, match=r"no JSON.* give null for a value that is missing"):
        frame_of(body, 10)
    with pytest.raises(ModelInputError, match=r"no JSON: (?!.*null)"):
        frame_of(b'{"columns"', 10)
