"""Many models in one process: where they come from, which stay in memory, and a server of them."""

from __future__ import annotations

from mlcache.models.cached_infos import CachedModelInfoRepository
from mlcache.models.cached_repository import CachedModelRepository
from mlcache.models.callable_model import CallableModel
from mlcache.models.collate import concat_rows
from mlcache.models.fsspec_repository import FsspecModelRepository
from mlcache.models.info import ModelCacheInfo
from mlcache.models.infos_sqlalchemy import SQLAlchemyModelInfoRepository
from mlcache.models.lease import Lease, LeasedModel
from mlcache.models.onnx_model import OnnxModel
from mlcache.models.protocols import (
    Closes,
    Describes,
    Description,
    Fetches,
    Model,
    ModelInfoRepository,
    ModelRepository,
    Pings,
    Sized,
    Versioned,
)
from mlcache.models.sklearn_model import SklearnModel

__all__ = [
    "CachedModelInfoRepository",
    "CachedModelRepository",
    "CallableModel",
    "Closes",
    "Describes",
    "Description",
    "Fetches",
    "FsspecModelRepository",
    "Lease",
    "LeasedModel",
    "Model",
    "ModelCacheInfo",
    "ModelInfoRepository",
    "ModelRepository",
    "OnnxModel",
    "Pings",
    "SQLAlchemyModelInfoRepository",
    "Sized",
    "SklearnModel",
    "Versioned",
    "concat_rows",
]
