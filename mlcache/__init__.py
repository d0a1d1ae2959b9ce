"""mlcache: one decorator that caches expensive ML functions, by the content of their arguments."""

from __future__ import annotations

import importlib
import typing

from mlcache.cached import CachedFunction
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
from mlcache.stores import open_backend
from mlcache.switch import disabled

__version__ = "0.1.0"

_MODULES = {
    "AsyncCachedFunction": "mlcache.cached_async",
    "Batch": "mlcache.batch",
    "CacheInfo": "mlcache.info",
    "CallOptions": "mlcache.offload.engine",
    "Pool": "mlcache.offload.pool",
    "Result": "mlcache.result",
}
"""Where names are that many programs never use: they are imported when they are first asked for."""

if typing.TYPE_CHECKING:
    from mlcache.batch import Batch
    from mlcache.cached_async import AsyncCachedFunction
    from mlcache.info import CacheInfo
    from mlcache.offload.engine import CallOptions
    from mlcache.offload.pool import Pool
    from mlcache.result import Result
else:  # to type checkers, it would say that there is a name for anything

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals().setdefault(name, getattr(importlib.import_module(_MODULES[name]), name))


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})


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
