"""Payloads: what goes into the functions that are cached, and what comes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from mlcache.errors import ConfigurationError, MissingExtraError


class Payload(msgspec.Struct, frozen=True):
    """A kind of argument and answer.

    Args:
        about: both, in words.
        argument: that of the call of that number.
        answer: that to the call of that number, of about so many bytes.
        sizes: least and greatest bytes of an answer.
    """

    about: str
    argument: Callable[[int], Any]
    answer: Callable[[int, int], Any]
    sizes: tuple[float, float]


def payload(name: str) -> Payload:
    """The payload of that name.

    Raises:
        ConfigurationError: there is none.
    """
    if name not in PAYLOADS:
        raise ConfigurationError(f"there is no payload {name!r}: give one of {', '.join(PAYLOADS)}")
    return PAYLOADS[name]


def _rng(number: int) -> np.random.Generator:
    return np.random.default_rng(number)


def _prompt(number: int) -> str:
    return f"Question {number}: " + "what does the text say of this, and where? " * 20


def _image(number: int) -> Any:
    return _rng(number).integers(0, 256, (224, 224, 3), np.uint8)


def _vector(number: int, size: int) -> Any:
    return _rng(number).random(max(size // 4, 1), np.float32)


def _frame(number: int, rows: int = 1000) -> Any:
    try:
        import pandas as pd
    except ImportError:
        raise MissingExtraError("the payload 'frame'", "pandas", "frames") from None
    values = _rng(number).random((rows, 10))
    return pd.DataFrame(values, columns=[f"feature_{column}" for column in range(10)])


PAYLOADS: dict[str, Payload] = {
    "text": Payload(
        "a prompt of 900 characters to a text",
        _prompt,
        lambda number, size: f"Answer {number}: ".ljust(size, "x"),
        (500, 20_000),
    ),
    "image": Payload(
        "an image of 224 × 224 × 3 bytes to a vector of scores", _image, _vector, (1_000, 40_000)
    ),
    "embedding": Payload("a text to a vector of float32", _prompt, _vector, (1_000, 100_000)),
    "frame": Payload(
        "a frame of 1,000 × 10 to a frame of 10 columns",
        _frame,
        lambda number, size: _frame(number, max(size // 80, 1)),
        (4_000, 200_000),
    ),
    "batch": Payload(
        "a batch of 32 vectors of float32 to a matrix of 32 rows",
        lambda number: _rng(number).random((32, 768), np.float32),
        lambda number, size: _rng(number).random((32, max(size // 128, 1)), np.float32),
        (10_000, 1_000_000),
    ),
}
