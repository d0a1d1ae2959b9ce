"""Values of every kind that is written without pickle, and some whose frames are small."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import numpy as np

SMALL: dict[str, Any] = {
    "none": None,
    "int": 12345,
    "big int": -(2**100),
    "float": 1.5,
    "text": "naïve \U0001f600",
    "surrogate": "\ud800",
    "bytes": b"x" * 1500,
    "containers": {"a": [1, (2.0, None)], "b": {frozenset({1}): {"c", "d"}}, 3: bytearray(b"y")},
    "times": [
        dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Rome")),
        dt.date(2024, 1, 1),
        dt.time(1, 2, 3, 4, tzinfo=dt.timezone(dt.timedelta(hours=1), "mine")),
        dt.timedelta(1, 2, 3),
    ],
    "others": [1 + 2j, range(3), slice(None, 2), Decimal("1.50"), UUID(int=7), PurePosixPath("/a"), ...],
    "arrays": {
        "c": np.arange(12, dtype="<i4").reshape(3, 4),
        "f": np.asfortranarray(np.arange(12, dtype=">f8").reshape(3, 4)),
        "dates": np.array(["2024-01-01", "NaT"], "M8[D]"),
        "text": np.array(["a", "bcd"]),
        "structure": np.array([(1, 2.5)], [("a", "<i8"), ("b", "<f4")]),
        "objects": np.array([1, None, "a"], object),
        "empty": np.zeros((0, 3)),
        "scalar": np.float32(1.5),
        "text scalar": np.str_("a\0"),
    },
}
