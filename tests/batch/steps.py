"""Functions of many items that worker processes can import."""

from __future__ import annotations

import os
import threading
from pathlib import Path
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


def meet(numbers: list[int], folder: str) -> list[int]:
    """Numbers, once another call has begun, too."""
    Path(folder, str(numbers[0])).touch()
    for _ in range(20_000):
        if len(list(Path(folder).iterdir())) > 1:
            return numbers
        threading.Event().wait(0.001)
    raise TimeoutError("no other call has begun")


def meet_badly(numbers: list[int], folder: str) -> list[int]:
    """As ``meet``, but numbers below zero are an error then."""
    meet(numbers, folder)
    return careful(numbers)
