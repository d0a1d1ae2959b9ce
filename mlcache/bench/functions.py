"""The user's own function: loaded by its path, run once for each distinct call, and replayed from then on."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import sys
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, cast

import numpy as np

from mlcache import clock
from mlcache.bench.replay import signature_of
from mlcache.bench.work import Arguments, Work, identity_of
from mlcache.decorator import ml_cache
from mlcache.errors import ConfigurationError
from mlcache.sizes import size_of


def load(path: str) -> Callable[..., Any]:
    """The function at ``package.module:function``, found from the working directory, too.

    Where it is cached already, the function behind the cache.

    Raises:
        ConfigurationError: there is none.
    """
    module_name, _, name = path.partition(":")
    if not module_name or not name:
        raise ConfigurationError(f"function is {path!r}: give it as package.module:function")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"function {path!r} cannot be loaded: {error}") from error
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"function {path!r} cannot be loaded: its module raised {type(error).__name__}: {error}"
        ) from error
    if not callable(found):
        raise ConfigurationError(f"{path!r} is {type(found).__name__}, which cannot be called")
    return cast("Callable[..., Any]", inspect.unwrap(found))


def read_calls(path: Path) -> list[Arguments]:
    """The calls in a file, in their order.

    Args:
        path: JSON, a call a line: ``{"args": [...], "kwargs": {...}}``, of which either may be left
            out, or a list of positional arguments. Or an ``.npz`` of arrays, each named after a
            parameter: the first axis counts the calls.

    Raises:
        ConfigurationError: it cannot be read, or is of another kind.
    """
    try:
        with path.open("rb") as file:
            head = file.read(1)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    if path.suffix in (".pkl", ".pickle", ".joblib") or head == b"\x80":
        raise ConfigurationError(
            f"{path} is a pickle, and to read one is to run whatever is in it: "
            "write the calls as JSON lines or as .npz"
        )
    calls = _from_arrays(path) if path.suffix == ".npz" else _from_lines(path)
    if not calls:
        raise ConfigurationError(f"{path} has no calls")
    return calls


def _from_lines(path: Path) -> list[Arguments]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is no text: write the calls as JSON lines or as .npz") from error
    return [_call(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]


def _call(line: str, where: str) -> Arguments:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{where} is no JSON: {error}") from error
    said = {"args": said} if isinstance(said, list) else said
    if not isinstance(said, dict) or not said.keys() <= {"args", "kwargs"}:
        raise ConfigurationError(f'{where}: give {{"args": [...], "kwargs": {{...}}}}, or a list')
    args, kwargs = said.get("args", []), said.get("kwargs", {})
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise ConfigurationError(f"{where}: args has to be a list and kwargs an object")
    return tuple(args), kwargs


def _from_arrays(path: Path) -> list[Arguments]:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in file.files}
    except Exception as error:  # numpy and zipfile let out whatever a damaged file leads to
        raise ConfigurationError(f"{path} cannot be read as arrays: {error}") from error
    lengths = {array.shape[:1] for array in arrays.values()}
    if len(lengths) != 1 or lengths == {()}:
        raise ConfigurationError(f"{path}: give arrays of as many rows as there are calls, all of them")
    (length,) = lengths.pop()
    return [((), {name: array[number] for name, array in arrays.items()}) for number in range(length)]


def known(function: Callable[..., Any], calls: Sequence[Arguments], seconds: float) -> Work:
    """The calls with their answers: each distinct one is computed once and timed.

    Args:
        function: is called, once before anything is timed, too.
        calls: in their order.
        seconds: stop after so many, and go by the calls before the first that was not computed.

    Raises:
        UnhashableArgumentError: no key can be made of an argument.
        ConfigurationError: the function raised, or refused a call.
    """
    keys = _keys(function, calls)
    distinct = dict(zip(reversed(keys), reversed(calls), strict=True))
    first = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    numbers: dict[bytes, int] = {}
    answers, costs, end = [], [], clock.ticks() + seconds
    with asyncio.Runner() as runner:
        _run(function, calls[0], runner)
        for key in dict.fromkeys(keys):
            if numbers and clock.ticks() > end:
                break
            answer, cost = _run(function, distinct[key], runner)
            answers.append(answer)
            costs.append(cost)
            numbers[key] = len(numbers)
    order = [numbers[key] for key in takewhile(numbers.__contains__, keys)]
    return Work(
        workload="calls",
        payload=getattr(function, "__qualname__", "function"),
        orders=[np.asarray(order, dtype=np.int64)],
        warm=len(order) // 3,
        calls=[distinct[key] for key in numbers],
        answers=answers,
        costs=np.asarray(costs),
        sizes=np.asarray([size_of(answer) for answer in answers]),
        available=len(calls),
        identity=identity_of(np.asarray([first[key] for key in keys])),
    )


def _keys(function: Callable[..., Any], calls: Sequence[Arguments]) -> list[bytes]:
    """What tells the calls apart, by the very keys that a cache before the function would have."""

    def stand_in(*_: Any, **__: Any) -> None:
        """It has the function's parameters, and suspends nothing."""

    plain: Any = stand_in
    plain.__signature__ = signature_of(function)
    cached: Any = ml_cache(name="mlcache.bench", version="1")(plain)
    return [cached.cache_key(*args, **kwargs).digest for args, kwargs in calls]


def _run(function: Callable[..., Any], call: Arguments, runner: asyncio.Runner) -> tuple[Any, float]:
    """The answer, and the seconds that the call took, or the call and its await."""
    args, kwargs = call
    try:
        start = clock.ticks()
        answer = function(*args, **kwargs)
        cost = clock.ticks() - start
        if not inspect.isawaitable(answer):
            return answer, cost
        answer, waited = runner.run(_awaited(answer))
        return answer, cost + waited
    except (Exception, SystemExit) as error:
        name = getattr(function, "__qualname__", "the function")
        raise ConfigurationError(f"{name} raised {type(error).__name__}: {error}") from error


async def _awaited(answer: Any) -> tuple[Any, float]:
    start = clock.ticks()
    return await answer, clock.ticks() - start
