"""Prints the keys of many values as JSON. ``python samples.py`` run twice must print the same.

To renew the golden keys after a change of ``KEY_VERSION``::

    python -m tests.keys.samples --golden > tests/keys/golden.json
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import functools
import json
import pathlib
import sys
import uuid
import zoneinfo
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from mlcache.keys import KEY_VERSION, digest, identify


class Struct(msgspec.Struct):
    x: int


class Colour(enum.Enum):
    RED = 1


@dataclass(frozen=True)
class Point:
    x: int
    y: Any = None


def function(x: str, *, flag: frozenset[str] = frozenset({"a", "b", "c"})) -> Any:
    """Something with a set of constants in it."""
    return x in {"p", "q", "r"} and flag


def values() -> dict[str, Any]:
    numbers = np.arange(1000.0)
    return {
        "none": None,
        "true": True,
        "one": 1,
        "big": 2**100,
        "float": 0.1,
        "nan": float("nan"),
        "minus zero": -0.0,
        "complex": 1 + 2j,
        "text": "naïve",
        "bytes": b"\0\1",
        "long text": "naïve " * 20_000,
        "many bytes": bytes(100_000),
        "memory view": memoryview(b"abcdef")[::2],
        "integers": {3, 1, 2**70},
        "dict of integers": {2: "b", 1: [None]},
        "exception": ValueError("a"),
        "bytearray": bytearray(b"ab"),
        "range": range(3),
        "slice": slice(1, 2),
        "list": [1, "a", [2.5, None]],
        "tuple": (1, ("a",)),
        "arguments": (np.arange(3), "a"),
        "texts": [f"text {i}" for i in range(100)],
        "set": {"a", "b", "c", "d"},
        "mixed set": {1, "a", (2, "b"), None},
        "frozenset": frozenset("abcdef"),
        "dict": {"b": [1], "a": {"d": {"x", "y"}, "c": 2}},
        "mixed dict": {1: "a", "b": 2, (3,): None},
        "moment": dt.datetime(2020, 1, 2, 3, 4, 5, 6, dt.UTC),
        "date": dt.date(2020, 1, 2),
        "delta": dt.timedelta(1, 2, 3),
        "zoned": dt.datetime(2020, 1, 2, tzinfo=zoneinfo.ZoneInfo("Europe/Paris")),
        "decimal": decimal.Decimal("1.50"),
        "uuid": uuid.UUID(int=7),
        "path": pathlib.PurePosixPath("/a/b"),
        "array": numbers,
        "image": np.zeros((8, 8, 3), np.uint8),
        "strided": numbers.reshape(20, 50).T[::2],
        "big-endian": numbers.astype(">f4"),
        "fields": np.zeros(3, "i4,f8"),
        "padded fields": np.zeros(3, np.dtype("i1,f8", align=True)),
        "objects": np.array([1, "a", None], object),
        "texts in an array": np.array(["a", "bc"]),
        "scalar": np.float32(1.5),
        "times": np.array(["2020-01-01", "NaT"], "M8[s]"),
        "masked": np.ma.array([1, 2], mask=np.array([False, True])),
        "empty": np.zeros((0, 3)),
        "frame": pd.DataFrame(
            {
                "a": [1, 2],
                "b": [0.5, None],
                "c": pd.array([1, None], "Int64"),
                "o": pd.Series(["x", 1], dtype=object),
            }
        ).set_axis(pd.Index(["a", "b", "c", "o"], dtype=object), axis=1),
        "categories": pd.Series(pd.Categorical.from_codes([0, 1, 0], pd.Index(["x", "y"], dtype=object))),
        "offset": pd.offsets.BusinessHour(2, start="10:00"),
        "zoned times": pd.date_range("2020", periods=3, tz="UTC", unit="ns").to_series(),
        "recursive": _recursive(),
        "builtin": len,
        "type": dict,
        "partial": functools.partial(len, [1]),
    }


def of_code() -> dict[str, Any]:
    """Values whose key depends on the version of Python, as what it compiles does."""
    made = {"function": function, "point": Point(1, [Colour.RED]), "lambda": lambda x: x + 1, "class": Point}
    return made | {"model": _model(), "attributes": _attributes(), "struct": Struct(1)}


def _model() -> Any:
    try:
        import pydantic
    except ImportError:
        return None
    return pydantic.create_model("Model", x=(int, 1), y=(list[str], ["a"]), z=(dict[str, Point], {}))()


def _attributes() -> Any:
    try:
        import attrs
    except ImportError:
        return 0
    return attrs.make_class("Attributes", ["x"], frozen=True)(1)


def _recursive() -> list[Any]:
    ring: list[Any] = [1]
    ring.append({"ring": ring})
    return ring


def main() -> None:
    keys = {name: digest(value).hex() for name, value in values().items()}
    if "--golden" in sys.argv:
        sys.stdout.write(json.dumps({"version": KEY_VERSION, "keys": keys}, indent=1) + "\n")
        return
    keys |= {f"code of {name}": digest(value).hex() for name, value in of_code().items()}
    keys["code of a cached function"] = identify(function).digest.hex()
    sys.stdout.write(json.dumps(keys))


if __name__ == "__main__":
    main()
