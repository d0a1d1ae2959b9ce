"""Scenarios: which workloads, payloads and callers are measured together."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import product

from msgspec.structs import replace

from mlcache.bench import workloads
from mlcache.bench.callers import Callers, callers
from mlcache.bench.payloads import PAYLOADS
from mlcache.bench.runner import Task
from mlcache.bench.workloads import STAMPEDE, Size

WORKLOAD, PAYLOAD, ONE = "zipf", "embedding", "1"
CROWDS = ("threads:4", "tasks:16", "processes:2")
STAMPEDES = ("threads:8", "tasks:50", "processes:2")


def default(size: Size) -> list[Task]:
    """Every workload, every payload and every kind of callers once, the others as in the first scenario."""
    names = [(WORKLOAD, PAYLOAD, ONE)]
    names += [(name, PAYLOAD, ONE) for name in workloads.NAMES if name not in (WORKLOAD, STAMPEDE)]
    names += [(WORKLOAD, name, ONE) for name in PAYLOADS if name != PAYLOAD]
    crowds = [(WORKLOAD, PAYLOAD, crowd) for crowd in CROWDS]
    crowds += [(STAMPEDE, PAYLOAD, crowd) for crowd in STAMPEDES]
    half = replace(size, keys=max(size.keys // 2, 2), calls=max(size.calls // 2, 3))  # their waits are whole
    sized = [*((each, size) for each in names), *((each, half) for each in crowds)]
    return [_task(workload, payload, callers(crowd), of) for (workload, payload, crowd), of in sized]


def chosen(
    workload_names: Sequence[str], payload_names: Sequence[str], crowds: Sequence[str], size: Size
) -> list[Task]:
    """All that were named, each with each, once; a stampede by one caller is one by eight threads."""
    named = product(workload_names or [WORKLOAD], payload_names or [PAYLOAD], crowds or [ONE])
    once = dict.fromkeys((workload, payload, _who(workload, crowd)) for workload, payload, crowd in named)
    return [_task(*each, size) for each in once]


def _who(workload: str, crowd: str) -> Callers:
    who = callers(crowd)
    return Callers("threads", 8) if workload == STAMPEDE and who.number == 1 else who


def _task(workload: str, payload: str, who: Callers, size: Size) -> Task:
    _check(workload, payload)
    return Task(functools.partial(workloads.work, workload, payload, size), who)


def _check(workload: str, payload: str) -> None:
    """Raise for a name that there is not, before anything is measured."""
    workloads.work(workload, payload, Size(keys=2, calls=2, repetitions=1))
