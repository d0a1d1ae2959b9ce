"""Small real models of different tenants, trained on scikit-learn's bundled sets."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mlcache.models import SklearnModel


class Data(NamedTuple):
    frame: pd.DataFrame
    target: Any


@functools.cache
def data(name: str) -> Data:
    from sklearn import datasets

    bunch: Any = getattr(datasets, f"load_{name}")(as_frame=True)
    return Data(bunch.data, bunch.target)


SETS = ("iris", "wine", "breast_cancer", "diabetes")


@functools.cache
def model(number: int) -> SklearnModel:
    """The model of one tenant, trained on two thirds of one of the sets: no two are equal."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.naive_bayes import GaussianNB
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    frame, target = data(SETS[number % 4])
    rows = np.random.default_rng(number).random(len(frame)) < 2 / 3
    if number % 4 == 3:
        estimator: Any = Ridge(alpha=0.1 + number / 100)
    elif number % 40 < 4:  # which takes longest to train
        estimator = LogisticRegression(C=0.5 + number / 50, max_iter=300)
    else:
        estimator = GaussianNB()
    pipeline = make_pipeline(StandardScaler(), estimator).fit(frame[rows], target[rows])
    method = "predict" if number % 4 == 3 else "predict_proba"
    return SklearnModel(pipeline, method=method)


def rows(number: int, first: int, count: int = 2) -> pd.DataFrame:
    """Rows that the model of a tenant can be asked about."""
    frame = data(SETS[number % 4]).frame
    return frame.iloc[[(first + each) % len(frame) for each in range(count)]].reset_index(drop=True)
