"""Small real models of many tenants, trained on the data sets that come with scikit-learn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from mlcache.errors import MissingExtraError
from mlcache.models.fsspec_repository import FsspecModelRepository
from mlcache.models.infos_sqlalchemy import SQLAlchemyModelInfoRepository
from mlcache.models.sklearn_model import SklearnModel

SETS = ("iris", "wine", "breast_cancer", "diabetes")


class Tenant(NamedTuple):
    """A customer with a model.

    Attributes:
        user_id: by which requests name the customer.
        model_id: of the model.
        model: that was trained.
        example: rows to ask about, column by column.
    """

    user_id: str
    model_id: str
    model: SklearnModel
    example: dict[str, list[float]]


def tenants(count: int) -> Iterator[Tenant]:
    """Tenants whose models are trained one by one, each on two thirds of the rows of a set.

    Raises:
        MissingExtraError: scikit-learn or pandas is not installed.
    """
    loaded = {name: _load(name) for name in SETS[:count]}
    for number in range(count):
        name = SETS[number % len(SETS)]
        frame, target = loaded[name].data, loaded[name].target
        rows = np.random.default_rng(number).random(len(frame)) < 2 / 3
        estimator = _estimator(number).fit(frame[rows], target[rows])
        example = frame[~rows].head(2).astype(float).to_dict("list")
        yield Tenant(f"user-{number}", f"{name}-{number}", SklearnModel(estimator), example)


def store(tenant: Tenant, models: FsspecModelRepository, infos: SQLAlchemyModelInfoRepository) -> None:
    """Put a tenant's model where a service finds it."""
    models.put_model(tenant.model_id, tenant.model)
    infos.put_model_id(tenant.user_id, tenant.model_id)


def _load(name: str) -> Any:
    try:
        from sklearn import datasets

        return getattr(datasets, f"load_{name}")(as_frame=True)
    except ImportError as error:  # scikit-learn itself asks for pandas without giving its name
        raise MissingExtraError("training models", error.name or "pandas", "server") from error


def _estimator(number: int) -> Any:
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if SETS[number % len(SETS)] == "diabetes":
        return make_pipeline(StandardScaler(), Ridge(alpha=0.1 + number / 100))
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.5 + number / 50, max_iter=500))
