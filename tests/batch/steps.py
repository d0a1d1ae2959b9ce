"""Functions of many items that worker processes can import."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float64]


def where(numbers: list[int]) -> list[tuple[int, int]]:
    """Each number, and the process that saw it."""
    return [(number, os.getpid()) for number in numbers]


def load() -> float:
    """A model."""
    return 3.0


def scale(rows: Rows, model: Any) -> Rows:
    """What the model makes of rows."""
    return rows * float(model)


def careful(numbers: list[int]) -> list[int]:
    """Numbers, none of which may be below zero."""
    if min(numbers) < 0:
        raise ValueError("no numbers below zero")
    return numbers


def prepare(texts: list[str]) -> Rows:
    """A row of numbers for each text."""
    rows = np.zeros((len(texts), 16))
    for row, text in zip(rows, texts, strict=True):
        row[: len(text)] = list(text.encode())
    return rows


def predict(rows: Rows) -> Rows:
    """A number for each row."""
    return np.asarray(rows.sum(axis=1))


def deadly(numbers: list[int]) -> list[int]:
    """Numbers, of which one below zero ends the process."""
    if min(numbers) < 0:
        os._exit(1)
    return numbers


def endless(numbers: list[int]) -> list[int]:
    """Numbers, of which one below zero takes for ever."""
    if min(numbers) < 0:
        threading.Event().wait()
    return numbers
