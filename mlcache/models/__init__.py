"""Many models in one process: where they come from, which stay in memory, and a server of them."""

from __future__ import annotations

from mlcache.models.cached_repository import CachedModelRepository
from mlcache.models.callable_model import CallableModel
from mlcache.models.info import ModelCacheInfo
from mlcache.models.lease import Lease, LeasedModel
from mlcache.models.protocols import (
    Closes,
    Describes,
    Description,
    Model,
    ModelInfoRepository,
    ModelRepository,
    Pings,
    Sized,
    Versioned,
)

__all__ = [
    "CachedModelRepository",
    "CallableModel",
    "Closes",
    "Describes",
    "Description",
    "Lease",
    "LeasedModel",
    "Model",
    "ModelCacheInfo",
    "ModelInfoRepository",
    "ModelRepository",
    "Pings",
    "Sized",
    "Versioned",
]
