"""Values of all types inside each other: equal ones have equal keys, and different ones different keys."""

from __future__ import annotations

import io
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, NamedTuple

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given

from mlcache.keys import digest
from tests.keys import samples


@dataclass(frozen=True)
class Point:
    """A dataclass of two parts."""

    one: Any
    other: Any


class Pair(NamedTuple):
    """A tuple of the same two parts."""

    one: Any
    other: Any


def leaves() -> dict[str, Any]:
    """Values of every supported type, by name; no two of them are equal. Each call makes them anew."""
    made = samples.values() | samples.of_code()
    del made["recursive"]
    for library, make in _OPTIONAL.items():
        if find_spec(library) is not None:
            made |= {f"{library} {name}": value for name, value in make().items()}
    return made


def _arrow() -> dict[str, Any]:
    import pyarrow as pa

    table = pa.table({"a": [1, 2, None]})
    return {"table": table, "array": pa.array([1, 2, None]), "type": pa.int64(), "schema": table.schema}


def _polars() -> dict[str, Any]:
    import polars as pl

    series = pl.Series("a", [1, 2, None])
    return {"frame": pl.DataFrame([series]), "series": series, "type": pl.Int64()}


def _scipy() -> dict[str, Any]:
    from scipy import sparse

    return {kind: sparse.eye_array(3, format=kind) for kind in ("csr", "csc", "coo", "lil", "dia")}


def _torch() -> dict[str, Any]:
    import torch

    ones = torch.ones(2, 3)
    about = {"no gradients": torch.no_grad(), "device": torch.device("cpu"), "type": torch.float32}
    weights = torch.nn.Parameter(ones)
    return about | {"tensor": ones, "half": ones.half(), "weights": weights, "state": {"w": ones}}


def _pillow() -> dict[str, Any]:
    from PIL import Image

    pixels = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    return {"image": pixels, "grey": pixels.convert("L")}


def _sklearn() -> dict[str, Any]:
    from sklearn.linear_model import Ridge

    rows = np.arange(6.0).reshape(3, 2)
    return {"new": Ridge(), "other": Ridge(alpha=2.0), "fitted": Ridge().fit(rows, [1.0, 2.0, 3.0])}


_OPTIONAL: dict[str, Callable[[], dict[str, Any]]] = {
    "pyarrow": _arrow,
    "polars": _polars,
    "scipy": _scipy,
    "torch": _torch,
    "PIL": _pillow,
    "sklearn": _sklearn,
}
LEAVES = leaves(), leaves()
"""Twice, so that equal values are not the same objects."""

Recipe = Any
"""The name of a leaf, or the name of a container and the recipes of its parts."""


def _objects(parts: list[Any]) -> Any:
    array = np.empty(len(parts), object)
    for place, part in enumerate(parts):
        array[place] = part
    return array


CONTAINERS: dict[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "deque": deque,
    "dict": lambda parts: {f"key {place}": part for place, part in enumerate(parts)},
    "ordered": lambda parts: OrderedDict(enumerate(parts)),
    "with default": lambda parts: defaultdict(list, enumerate(parts)),
    "point": lambda parts: Point(parts[:1], parts[1:]),
    "pair": lambda parts: Pair(parts[:1], parts[1:]),
    "objects": _objects,
    "column": lambda parts: pd.Series(_objects(parts), dtype=object),
}

RECIPES = st.recursive(
    st.sampled_from(sorted(LEAVES[0])),
    lambda inner: st.tuples(st.sampled_from(sorted(CONTAINERS)), st.lists(inner, max_size=3)),
    max_leaves=8,
)


def cook(recipe: Recipe, given: dict[str, Any]) -> Any:
    """The value that a recipe describes."""
    if isinstance(recipe, str):
        return given[recipe]
    name, parts = recipe
    return CONTAINERS[name]([cook(part, given) for part in parts])


@given(RECIPES)
def test_equal_values_have_equal_keys(recipe: Recipe) -> None:
    assert digest(cook(recipe, LEAVES[0])) == digest(cook(recipe, LEAVES[1]))


@given(RECIPES, RECIPES)
def test_different_values_have_different_keys(one: Recipe, other: Recipe) -> None:
    assert (digest(cook(one, LEAVES[0])) == digest(cook(other, LEAVES[1]))) == (one == other)


@given(RECIPES.filter(lambda recipe: not isinstance(recipe, str) and bool(recipe[1])), st.data())
def test_each_part_counts(recipe: Recipe, data: st.DataObject) -> None:
    name, parts = recipe
    place = data.draw(st.integers(0, len(parts) - 1))
    changed = [*parts[:place], data.draw(RECIPES), *parts[place + 1 :]]
    same = digest(cook(recipe, LEAVES[0])) == digest(cook((name, changed), LEAVES[1]))
    assert same == (parts == changed)


def test_every_pair_of_leaves_is_apart() -> None:
    keys: dict[bytes, str] = {}
    for name, value in LEAVES[0].items():
        before = keys.setdefault(digest(value), name)
        assert before == name


@pytest.mark.parametrize("container", sorted(CONTAINERS))
def test_a_container_is_neither_its_only_part_nor_another_container(container: str) -> None:
    keys = [digest(cook(("list", []), {})), digest("part")]
    keys += [digest(make(["part"])) for make in CONTAINERS.values()]
    assert len(set(keys)) == len(keys)
    assert digest(CONTAINERS[container]([])) != digest(CONTAINERS[container](["part"]))


def test_an_image_that_was_written_and_read_is_the_same() -> None:
    image = pytest.importorskip("PIL.Image")
    buffer = io.BytesIO()
    image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(buffer, "png")
    with image.open(buffer) as read:
        assert digest([read]) == digest([LEAVES[0]["PIL image"]])
