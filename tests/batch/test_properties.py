"""Whatever the items lie in and however calls overlap: the plain answers, and each item computed once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcache import Batch, ml_cache

Function = Callable[[Any], Any]


def texts(numbers: list[int]) -> list[str]:
    return [f"text {number}" for number in numbers]


def frame(numbers: list[int]) -> pd.DataFrame:
    """Rows that differ by their numbers; the index says where each lay."""
    names = [f"name {number}" for number in numbers]
    place = [f"row {number}" for number in range(len(numbers))]
    columns = {
        "number": np.array(numbers, np.int64),
        "half": np.array(numbers, np.float32) / 2,
        "name": names,
    }
    return pd.DataFrame(columns, index=pd.Index(place, name="place"))


def plain_frame(numbers: list[int]) -> pd.DataFrame:
    return frame(numbers).reset_index(drop=True)


def series(numbers: list[int]) -> pd.Series[Any]:
    return frame(numbers)["half"]


CONTAINERS: dict[str, Callable[[list[int]], Any]] = {
    "list": list,
    "list of texts": texts,
    "tuple": tuple,
    "vector": lambda numbers: np.array(numbers, np.int32),
    "matrix": lambda numbers: np.outer(numbers, [1.0, 0.5, -1.0]),
    "texts in an array": lambda numbers: np.array(texts(numbers), dtype="U20"),
    "array of three axes": lambda numbers: np.outer(numbers, np.arange(6)).reshape(-1, 2, 3),
    "series": series,
    "frame": frame,
    "frame with a plain index": plain_frame,
}


def rows_of(items: Any) -> list[Any]:
    """The items, as values that can be counted."""
    if isinstance(items, pd.DataFrame):
        return list(items.itertuples(index=False, name=None))
    if isinstance(items, np.ndarray):
        return [item.tobytes() if isinstance(item, np.ndarray) else item for item in items]
    return list(items)


def as_list(items: Any) -> list[Any]:
    return [(row, len(str(row))) for row in rows_of(items)]


def as_lengths(items: Any) -> Any:
    return np.array([len(str(row)) for row in rows_of(items)], np.int16)


def as_matrix(items: Any) -> Any:
    return np.array([[len(str(row)), hash(str(row)) % 7] for row in rows_of(items)], np.float32)


def as_dict(items: Any) -> Any:
    return {row: str(row) for row in rows_of(items)}


def as_fresh_frame(items: Any) -> Any:
    rows = rows_of(items)
    return pd.DataFrame({"size": [len(str(row)) for row in rows], "text": [str(row) for row in rows]})


def as_frame_of_own_index(items: Any) -> Any:
    return as_fresh_frame(items).set_index(pd.Index([f"of {row}" for row in rows_of(items)], name="whose"))


def as_categories(items: Any) -> Any:
    kinds = pd.CategoricalDtype(["odd", "even"])
    return pd.Series(
        ["odd" if len(str(row)) % 2 else "even" for row in rows_of(items)], dtype=kinds, name="kind"
    )


def doubled(items: Any) -> Any:
    return items.assign(number=items["number"] * 2) if isinstance(items, pd.DataFrame) else items * 2


ANSWERS: list[Function] = [
    as_list, as_lengths, as_matrix, as_fresh_frame, as_frame_of_own_index, as_categories,
]  # fmt: skip
OF_ITS_KIND = {"series", "frame", "frame with a plain index", "vector", "matrix", "array of three axes"}
HASHABLE = {"list", "list of texts", "tuple", "vector", "series"}
CASES = [
    *((container, answer) for container in CONTAINERS for answer in ANSWERS),
    *((container, doubled) for container in sorted(OF_ITS_KIND)),
    *((container, as_dict) for container in sorted(HASHABLE)),
]


def assert_same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected)
    elif isinstance(expected, pd.Series):
        pd.testing.assert_series_equal(found, expected)
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected
        assert list(found) == list(expected)


@pytest.mark.parametrize(("container", "answer"), CASES, ids=lambda value: getattr(value, "__name__", value))
@settings(max_examples=12)
@given(
    batches=st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=8), min_size=1, max_size=6),
    data=st.data(),
)
def test_any_split_gives_the_plain_answers_and_computes_each_item_once(
    container: str, answer: Function, batches: list[list[int]], data: st.DataObject
) -> None:
    computed: Counter[Any] = Counter()
    largest = data.draw(st.sampled_from([None, 1, 2, 3, 100]))
    calls: list[int] = []

    @ml_cache(backend="lru?max_bytes=10MiB", batch=Batch("items", max_size=largest))
    def cached(items: Any) -> Any:
        rows = rows_of(items)
        computed.update(rows)
        calls.append(len(rows))
        return answer(items)

    for numbers in batches:
        items = CONTAINERS[container](numbers)
        assert_same(cached(items), answer(items))
    assert set(computed.values()) <= {1}
    wanted = {row for numbers in batches for row in rows_of(CONTAINERS[container](numbers))}
    assert set(computed) == wanted
    assert largest is None or max(calls) <= largest
    assert cached.cache_info().misses == len(wanted)


@given(numbers=st.lists(st.integers(0, 5), min_size=1, max_size=8), axis=st.sampled_from([0, 1, 2, -1]))
def test_items_may_lie_along_any_axis(numbers: list[int], axis: int) -> None:
    calls: list[tuple[int, ...]] = []

    @ml_cache(backend="lru?max_bytes=10MiB", batch=Batch("blocks", axis=axis))
    def total(blocks: Any) -> Any:
        calls.append(blocks.shape)
        return np.moveaxis(blocks, axis, 0).sum(axis=(1, 2))

    blocks = np.moveaxis(np.stack([np.full((2, 3), number) for number in numbers]), 0, axis)
    expected = np.moveaxis(blocks, axis, 0).sum(axis=(1, 2))
    assert_same(total(blocks), expected)
    assert_same(total(blocks), expected)
    assert [shape[axis] for shape in calls] == [len(set(numbers))]
