"""A program: actors of Ray as an engine. It prints "right" if all is."""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import Any

import pytest
import ray

from mlcache import ConfigurationError, PoolClosedError, WorkerDied, ml_cache
from mlcache.offload.engine import CallOptions
from mlcache.offload.ray_actors import RayEngine
from tests.offload import samples, wired
from tests.offload.on_dask import check


def main(folder: str) -> None:
    asked: dict[str, Any] = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": 80 << 20}
    asked |= {"_temp_dir": folder, "_node_ip_address": "127.0.0.1", "log_to_driver": False}
    ray.init(**asked, logging_level=logging.ERROR)
    engine = RayEngine(1, {"weight": samples.load_weight})
    check(engine)
    survive(engine)
    cache(engine)
    engine.close()
    with pytest.raises(PoolClosedError):
        engine.submit(samples.add, 1)
    fail_to_load()
    ray.shutdown()
    print("right")  # noqa: T201 - it is a program


def survive(engine: RayEngine) -> None:
    """A dead actor costs its call alone."""
    process = engine.submit(samples.process_of, 1).result(60)
    future = engine.submit(os.kill, process, signal.SIGKILL)
    assert isinstance(future.exception(60), WorkerDied)
    assert engine.submit(samples.process_of, 1).result(60) != process
    with pytest.raises(ConfigurationError, match=r"timeout=1.*use a Pool"):
        engine.with_options(CallOptions(timeout=1))


def cache(engine: RayEngine) -> None:
    """Misses go to the actors."""
    f = ml_cache(offload=engine)(wired.where)
    assert f(3)[1] != os.getpid()
    assert f(3) == f(3)
    g: Any = ml_cache(offload=engine)(samples.use)
    assert g(1)[1] == g(2)[1]


def fail_to_load() -> None:
    """Resources that cannot be loaded fail the call, and say why."""
    engine = RayEngine(1, {"weight": broken})
    error = engine.submit(samples.use, 1).exception(60)
    assert isinstance(error, WorkerDied)
    assert "no weights" in str(error.__cause__)
    engine.close()


def broken() -> None:
    raise OSError("no weights")


if __name__ == "__main__":
    main(sys.argv[1])
