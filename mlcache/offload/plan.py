"""What a pool was asked to be, checked."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from mlcache import units
from mlcache.errors import ConfigurationError
from mlcache.offload.checks import count, factories
from mlcache.offload.engine import CallOptions, Duration

METHODS = ("forkserver", "spawn", "fork")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a pool, as ``Pool`` describes them, in seconds and bytes; infinity for no limit."""

    workers: int
    resources: Mapping[str, Callable[[], Any]]
    timeout: float
    max_queue: float
    max_queue_bytes: float
    when_full: str
    start_method: str
    threads: int
    max_calls: float
    max_memory: float
    recycle: float
    load_timeout: float


def make_plan(options: Mapping[str, Any]) -> Plan:
    """The options of a pool as its user gave them, checked and converted.

    Raises:
        ConfigurationError: one of them cannot be understood.
    """
    workers = _cores() if options["workers"] is None else count(options["workers"], "workers")
    return Plan(
        workers=workers,
        resources=factories(options["resources"]),
        when_full=_one_of(options, "when_full", ("wait", "raise", "inline")),
        start_method=_start_method(options),
        threads=_threads(options["threads"], workers),
        **{name: _bound(options[name], name) for name in ("max_queue", "max_calls")},
        **{name: _bytes(options[name], name) for name in ("max_queue_bytes", "max_memory")},
        **{name: _seconds(options[name], name) for name in ("timeout", "recycle", "load_timeout")},
    )


def options_of(plan: Plan, workers: int) -> dict[str, Any]:
    """The options from which ``make_plan`` makes the same for another number of workers."""
    options = {
        name: None if value == math.inf else value for name, value in msgspec.structs.asdict(plan).items()
    }
    threads = None if plan.threads == fair_share(plan.workers) else plan.threads
    return {**options, "workers": workers, "threads": threads}


def check_inline(plan: Plan, options: CallOptions) -> None:
    """Refuse to ask for what a pool cannot do that computes calls in their callers' threads if it is full.

    Raises:
        ConfigurationError: a timeout or a retry, and the pool is such a one.
    """
    for name in ("timeout", "retry"):
        if plan.when_full == "inline" and getattr(options, name):
            raise ConfigurationError(
                f"{name}={getattr(options, name)!r} cannot be kept by a Pool with when_full='inline', which "
                "computes some calls in their callers' own threads: give it when_full='wait' or 'raise'"
            )


def _threads(asked: int | None, workers: int) -> int:
    if asked is not None:
        return count(asked, "threads")
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdecimal() and int(said) else fair_share(workers)


def fair_share(workers: int) -> int:
    """The threads that each of so many workers may use, so that they do not fight for cores."""
    return max(_cores() // workers, 1)


def _cores() -> int:
    """How many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _bound(value: int | None, name: str) -> float:
    return math.inf if value is None else count(value, name)


def _seconds(value: Duration | None, name: str) -> float:
    return math.inf if value is None else units.seconds(value, what=name, instead="None is for no limit")


def _bytes(value: int | str | None, name: str) -> float:
    return math.inf if value is None else units.size(value, what=name)


def _one_of(options: Mapping[str, Any], name: str, choices: tuple[str, ...]) -> str:
    value = options[name]
    if not isinstance(value, str) or value not in choices:
        raise ConfigurationError(f"{name} is {value!r}: give one of {', '.join(map(repr, choices))}")
    return value


def _start_method(options: Mapping[str, Any]) -> str:
    if not hasattr(os, "fork"):
        raise ConfigurationError(
            "worker processes of mlcache need a POSIX system: here, give an executor, "
            "such as concurrent.futures.ProcessPoolExecutor(), in place of a Pool"
        )
    return _one_of(options, "start_method", METHODS)
