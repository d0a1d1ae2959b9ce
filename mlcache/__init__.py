"""mlcache: one decorator that caches expensive ML functions, by the content of their arguments."""

from __future__ import annotations

from mlcache.batch import Batch
from mlcache.cache import CacheInfo
from mlcache.cached import CachedFunction
from mlcache.cached_async import AsyncCachedFunction
from mlcache.decorator import ml_cache
from mlcache.entry import Expiry
from mlcache.errors import (
    BackendError,
    BatchAnswerError,
    BatchTimeoutError,
    CallTimeoutError,
    CannotEncodeError,
    CodecError,
    ConfigurationError,
    CorruptEntryError,
    EntryTooLargeError,
    InvalidModelError,
    MissingExtraError,
    MlcacheError,
    MlcacheWarning,
    ModelError,
    ModelInputError,
    ModelStoreError,
    NoRoomError,
    OffloadError,
    PoolClosedError,
    PoolFullError,
    RecursiveCallError,
    RemoteError,
    TraceError,
    UnhashableArgumentError,
    UnknownModelError,
    UnknownUserError,
    UntrustedModelError,
    WorkerDied,
    WorkerStartError,
)
from mlcache.events import hook
from mlcache.keys import register_key
from mlcache.offload.engine import CallOptions
from mlcache.offload.pool import Pool
from mlcache.result import Result
from mlcache.stores import open_backend
from mlcache.switch import disabled

__version__ = "0.1.0"

__all__ = [
    "AsyncCachedFunction",
    "BackendError",
    "Batch",
    "BatchAnswerError",
    "BatchTimeoutError",
    "CacheInfo",
    "CachedFunction",
    "CallOptions",
    "CallTimeoutError",
    "CannotEncodeError",
    "CodecError",
    "ConfigurationError",
    "CorruptEntryError",
    "EntryTooLargeError",
    "Expiry",
    "InvalidModelError",
    "MissingExtraError",
    "MlcacheError",
    "MlcacheWarning",
    "ModelError",
    "ModelInputError",
    "ModelStoreError",
    "NoRoomError",
    "OffloadError",
    "Pool",
    "PoolClosedError",
    "PoolFullError",
    "RecursiveCallError",
    "RemoteError",
    "Result",
    "TraceError",
    "UnhashableArgumentError",
    "UnknownModelError",
    "UnknownUserError",
    "UntrustedModelError",
    "WorkerDied",
    "WorkerStartError",
    "disabled",
    "hook",
    "ml_cache",
    "open_backend",
    "register_key",
]
