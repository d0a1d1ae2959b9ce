"""Cached functions that offload, where workers can import them."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from mlcache import ml_cache
from mlcache.offload.pool import Pool
from tests.offload import samples


def where(x: int) -> tuple[int, int]:
    """The argument, and the process that computed."""
    return x, os.getpid()


async def where_suspending(x: int) -> tuple[int, int]:
    await asyncio.sleep(0)
    return x, os.getpid()


def with_model(text: str, model: dict[str, int], times: int = 2, *, tokenizer: Any = None) -> Any:
    return text * times, model, tokenizer


async def with_model_suspending(text: str, *, model: dict[str, int]) -> Any:
    return text, model


def spread(model: object, *rest: int) -> Any:
    return model, rest


def behind(first: int, *rest: int, model: dict[str, int]) -> Any:
    return first, rest, model["process"]


def total(array: np.ndarray[Any, Any]) -> tuple[float, bool]:
    return float(array.sum()), bool(array.flags.writeable)


def fail(x: int) -> None:
    samples.fail(x)


def die(x: int, folder: str) -> int:
    """Ends its process once; a file tells that it has."""
    mark = Path(folder) / str(x)
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), 9)
    return x


def hold(folder: str) -> int:
    """Says that it runs, and goes on when it may."""
    (Path(folder) / "runs").touch()
    wait = threading.Event()
    while not (Path(folder) / "go").exists():
        wait.wait(0.005)
    return os.getpid()


def refuse(x: int) -> None:
    raise StopIteration(x)


@ml_cache(offload=Pool(1, resources={"model": samples.load_weight}))
def nested_inner(x: int, *, model: Any = None) -> tuple[int, int, int]:
    return x, os.getpid(), model["process"]


def nested_outer(x: int) -> tuple[tuple[int, int, int], int, str]:
    first = nested_inner(x)
    assert nested_inner.call_with_info(x).status == "bypass"
    assert nested_inner.uncached(x) == first
    return first, os.getpid(), nested_inner.call_with_info(x).status


async def refuse_suspending(x: int) -> None:
    await asyncio.sleep(x)


def log_and_warn(x: int) -> None:
    logging.getLogger("app.model").info("%d seen", x)
    warnings.warn("careful", UserWarning, stacklevel=1)
