"""Who calls: one caller, threads, tasks or processes, and a replay by them through a place."""

from __future__ import annotations

import asyncio
import re
import warnings
from inspect import Parameter, Signature
from typing import Any, Literal, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlcache.backends.protocol import AnyBackend
from mlcache.bench.places import complete, new_folder, new_name, opened
from mlcache.bench.replay import Meet, Replay, by_tasks, by_threads, function_of
from mlcache.bench.work import Work
from mlcache.decorator import ml_cache
from mlcache.errors import ConfigurationError, MlcacheError, MlcacheWarning, UnhashableArgumentError
from mlcache.info import CacheInfo
from mlcache.keys import digest

Kind = Literal["threads", "tasks", "processes"]
_NAME = re.compile(r"mlcache\.bench\.\w+@\w+: ")


class Callers(msgspec.Struct, frozen=True):
    """So many threads, tasks or processes of one thread each."""

    kind: Kind
    number: int

    def __str__(self) -> str:
        alone = {"threads": "caller", "tasks": "task", "processes": "process"}
        return f"{self.number} {alone[self.kind] if self.number == 1 else self.kind}"


def callers(text: str) -> Callers:
    """The callers that ``text`` names: ``1``, ``threads:4``, ``tasks:100`` or ``processes:2``.

    Raises:
        ConfigurationError: it names none.
    """
    kind, _, number = text.rpartition(":")
    known = (kind or "threads") in ("threads", "tasks", "processes")
    if not known or not number.isdecimal() or not int(number) or not (kind or number == "1"):
        raise ConfigurationError(
            f"callers are {text!r}: give 1, or a kind and a number such as threads:4, tasks:100, processes:2"
        )
    return Callers(cast("Kind", kind or "threads"), int(number))


class ReplayFailedError(MlcacheError):
    """A replay failed: in another process, or because its place took and gave nothing."""


class Outcome(msgspec.Struct, eq=False):
    """A replay, and what else is to be said of it; ``wrong`` counts answers that were not the right ones."""

    replay: Replay
    remarks: list[str]
    wrong: int = 0


ONE_ARGUMENT = Signature([Parameter("argument", Parameter.POSITIONAL_OR_KEYWORD)])
"""The parameters of the functions of known workloads."""


def replay(
    work: Work,
    spec: str,
    who: Callers,
    bound: int,
    repetition: int,
    signature: Signature = ONE_ARGUMENT,
) -> Outcome:
    """One replay in this process, through a place that is opened for it.

    Args:
        work: what is asked for.
        spec: the place.
        who: threads or tasks.
        bound: bytes of a memory that says nothing else.
        repetition: says which order.
        signature: of the function.
    """
    with new_folder() as folder, opened(complete(spec, bound, folder)) as backends:
        name = new_name()
        try:
            return through(backends, work, who, work.order(repetition), name, signature)
        finally:
            forget(backends, name)


def through(
    backends: list[AnyBackend],
    work: Work,
    who: Callers,
    order: NDArray[np.int64],
    name: str,
    signature: Signature = ONE_ARGUMENT,
    meet: Meet | None = None,
) -> Outcome:
    """One replay through backends that are open.

    Args:
        backends: nearest first.
        work: what is asked for.
        who: threads or tasks.
        order: of the calls.
        name: under which the answers are kept.
        signature: of the function.
        meet: as ``by_threads`` takes it, for one thread.

    Raises:
        ReplayFailedError: they failed, and nobody found anything there.
    """
    suspends = who.kind == "tasks"
    plain = function_of(work, signature, suspends=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", MlcacheWarning)
        cached: Any = ml_cache(backend=backends, name=name, version="1")(
            function_of(work, signature, suspends=True) if suspends else plain
        )
        if suspends:
            played = by_tasks(cached, work, order, who.number)
        else:
            played = by_threads(cached, work, order, who.number, meet)
        blocking: Any = ml_cache(backend=backends, name=name, version="1")(plain)
        wrong = count_wrong(blocking, work)
        info = asyncio.run(cached.cache_info()) if suspends else cached.cache_info()
    remarks = _remarks(info, caught)
    if info.errors and not info.hits:
        raise ReplayFailedError(remarks[0])
    return Outcome(played, remarks, wrong)


def forget(backends: list[AnyBackend], name: str) -> None:
    """Remove what replays have left under a name. A place that fails at that has failed before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MlcacheWarning)
        ml_cache(backend=backends, name=name, version="1")(len).cache_clear()


def count_wrong(cached: Any, work: Work) -> int:
    """How many of the answers that are kept are not the right ones."""
    wrong = 0
    for (args, kwargs), answer in zip(work.calls, work.answers, strict=True):
        found = cached.peek(*args, **kwargs)
        wrong += found is not None and not _same(found.value, answer)
    return wrong


def _same(found: Any, answer: Any) -> bool:
    """Whether two values have one key; what has none is taken for right."""
    try:
        return digest((found,)) == digest((answer,))
    except UnhashableArgumentError:
        return True


def _remarks(info: CacheInfo, caught: list[warnings.WarningMessage]) -> list[str]:
    said = list(dict.fromkeys(_NAME.sub("", str(each.message).splitlines()[0]) for each in caught))
    if info.not_kept:
        said.append(f"{info.not_kept} answers were not kept")
    if info.errors:
        said.append(f"{info.errors} errors of the store")
    return said
