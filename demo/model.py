"""The expensive function: a real ensemble classifier of handwritten digits.

The digits ship inside scikit-learn; the first half of them trains the classifier, the second is asked about.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mlcache import ml_cache

RUNS: list[int] = []
"""How many images the model was asked about, one number for each time it really ran."""


class Digits(NamedTuple):
    """Images of 8 × 8 pixels, one a row, and the digit that each shows."""

    images: np.ndarray[Any, np.dtype[np.float64]]
    labels: np.ndarray[Any, np.dtype[np.int64]]


@functools.cache
def digits() -> Digits:
    """The data set."""
    from sklearn.datasets import load_digits

    data: Any = load_digits()
    return Digits(data.data, data.target)


@functools.cache
def classifier() -> Any:
    """The trained model: 300 trees."""
    from sklearn.ensemble import ExtraTreesClassifier

    half = len(digits().labels) // 2
    return ExtraTreesClassifier(300, random_state=0).fit(digits().images[:half], digits().labels[:half])


def requests(count: int, size: int = 1) -> list[Any]:
    """So many arrays of ``size`` images each, which the model has not been trained on."""
    half = len(digits().labels) // 2
    return [digits().images[half + number * size :][:size] for number in range(count)]


def probabilities(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The probability of each digit, for each image."""
    model = classifier()
    RUNS.append(len(images))
    return np.asarray(model.predict_proba(images))


def table(pixels: pd.DataFrame) -> pd.DataFrame:
    """The likeliest digit for each row of pixels and how sure the model is of it."""
    found = probabilities(pixels.to_numpy())
    return pd.DataFrame({"digit": found.argmax(axis=1), "sure": found.max(axis=1)}, index=pixels.index)


def kept_on_disk(folder: str) -> Any:
    """`probabilities` with its answers in memory and, for the next process, on disk."""
    return ml_cache(backend=f"lru, disk://{folder}", ttl="1h")(probabilities)
