"""A program: a cluster of Dask as an engine. It prints "right" if all is."""

from __future__ import annotations

import os
from typing import Any

import distributed
import pytest

from mlcache import ConfigurationError
from mlcache.offload.executors import ExecutorEngine
from tests.offload import samples


def main() -> None:
    asked: dict[str, Any] = {"processes": True, "n_workers": 1, "threads_per_worker": 1}
    asked |= {"host": "127.0.0.1", "dashboard_address": None}
    with distributed.LocalCluster(**asked) as cluster, distributed.Client(cluster) as client:
        with pytest.raises(ConfigurationError, match="pure=False"):
            ExecutorEngine(client.get_executor())
        engine = ExecutorEngine(client.get_executor(pure=False), {"weight": samples.load_weight})
        check(engine)
    print("right")  # noqa: T201 - it is a program


def check(engine: Any) -> None:
    """What every engine of other processes does."""
    assert engine.submit(samples.add, 1, b=2).result(60) == 3
    assert engine.submit(lambda x: x + 1, 1).result(60) == 2
    assert engine.submit(samples.suspending, 1).result(60) == 2
    error = engine.submit(samples.fail, 4).exception(60)
    assert isinstance(error, KeyError)
    assert isinstance(error.__cause__, samples.OtherArgumentsError)
    (_, first), (_, second) = (engine.submit(samples.use, x).result(60) for x in (1, 2))
    assert first == second
    assert first["process"] != os.getpid()
    assert len({engine.submit(samples.token).result(60) for _ in range(3)}) == 3
    assert engine.submit(samples.nested, 3).result(60)[2] == 0
    future = engine.submit(samples.add, 1)
    future.result(60)
    assert future.seconds >= 0


if __name__ == "__main__":
    main()
