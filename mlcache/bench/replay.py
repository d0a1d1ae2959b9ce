"""The replay of work through one cache: by one caller, by threads or by tasks, each call timed.

The function that is cached waits for as long as its answer costs, as one does that computes on another
device or machine. So what the cache itself takes is not hidden behind computing, two cores are enough for
many callers, and a scaled cost is the same wait on every machine.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import ContextVar
from typing import Any, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlcache import clock
from mlcache.bench.work import Work

Cached = Callable[..., Any]


class Replay(msgspec.Struct, eq=False):
    """What came of the calls that count, of all callers together.

    Args:
        numbers: which call each was.
        latencies: seconds until its caller had the answer.
        ran: seconds that the function ran in it; zero where somebody else had the answer.
        seconds: from the first call to the last answer.
    """

    numbers: NDArray[np.int64]
    latencies: NDArray[np.float64]
    ran: NDArray[np.float64]
    seconds: float


class Note:
    """What the caller and the function tell each other: which call it is, and how long the function ran."""

    __slots__ = ("number", "ran")

    def __init__(self) -> None:
        self.number = 0
        self.ran = 0.0


_NOTE: ContextVar[Note] = ContextVar("note")


def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """The parameters of ``function`` with their defaults, and without annotations, which may not be sent."""
    signature = inspect.signature(function)
    empty = inspect.Parameter.empty
    plain = [each.replace(annotation=empty) for each in signature.parameters.values()]
    return inspect.Signature(plain)


def function_of(work: Work, signature: inspect.Signature, *, suspends: bool) -> Callable[..., Any]:
    """A function that answers the calls of ``work``, and waits for as long as each costs.

    Args:
        work: the calls.
        signature: its parameters.
        suspends: a coroutine function.
    """
    waits = (work.costs * work.scale).tolist()
    answers = work.answers

    def infer(*_: Any, **__: Any) -> Any:
        note, start = _NOTE.get(), clock.ticks()
        threading.Event().wait(waits[note.number])
        note.ran += clock.ticks() - start
        return answers[note.number]

    async def infer_suspended(*_: Any, **__: Any) -> Any:
        note, start = _NOTE.get(), clock.ticks()
        number = note.number
        await asyncio.sleep(waits[number])
        note.ran += clock.ticks() - start
        return answers[number]

    made: Any = infer_suspended if suspends else infer
    made.__signature__ = signature
    return cast("Cached", made)


def by_threads(cached: Cached, work: Work, order: NDArray[np.int64], callers: int) -> Replay:
    """Replay an order by so many threads; by one without any."""
    start = threading.Barrier(callers)

    def share(caller: int, numbers: NDArray[np.int64]) -> _Played:
        mine = numbers if work.together else numbers[caller::callers]
        try:
            start.wait()
            return _play(cached, work, mine, start if work.together else None)
        except BaseException:
            start.abort()  # the others would wait for this one for ever
            raise

    with ThreadPoolExecutor(callers) as threads:

        def play(numbers: NDArray[np.int64]) -> list[_Played]:
            if callers == 1:
                return [_play(cached, work, numbers, None)]
            return _results([threads.submit(share, caller, numbers) for caller in range(callers)])

        play(order[: work.warm])
        return _together(play(order[work.warm :]))


def _results(futures: list[Future[_Played]]) -> list[_Played]:
    """What all threads saw, or the error of one that failed by itself, not of those that waited for it."""
    wait(futures)
    for each in futures:
        error = each.exception()
        if error is not None and not isinstance(error, threading.BrokenBarrierError):
            raise error
    return [each.result() for each in futures]


def by_tasks(cached: Cached, work: Work, order: NDArray[np.int64], callers: int) -> Replay:
    """Replay an order by so many tasks of one event loop; ``cached`` is a coroutine function."""

    async def play(numbers: NDArray[np.int64]) -> list[_Played]:
        start = asyncio.Barrier(callers) if work.together else None
        shares = [numbers if work.together else numbers[caller::callers] for caller in range(callers)]
        return list(await asyncio.gather(*(_play_suspended(cached, work, share, start) for share in shares)))

    async def both() -> Replay:
        await play(order[: work.warm])
        return _together(await play(order[work.warm :]))

    with asyncio.Runner() as runner:
        return runner.run(both())


class _Played(msgspec.Struct, eq=False):
    """What one caller saw; the times of its first call and of its last answer."""

    numbers: NDArray[np.int64]
    latencies: NDArray[np.float64]
    ran: NDArray[np.float64]
    start: float
    end: float


def _play(
    cached: Cached, work: Work, numbers: NDArray[np.int64], barrier: threading.Barrier | None
) -> _Played:
    note, ticks, calls = Note(), clock.ticks, work.calls
    latencies, ran = np.zeros(len(numbers)), np.zeros(len(numbers))
    _NOTE.set(note)
    begun = ticks()
    for position, number in enumerate(numbers.tolist()):
        args, kwargs = calls[number]
        note.number, note.ran = number, 0.0
        if barrier is not None:
            barrier.wait()
        start = ticks()
        cached(*args, **kwargs)
        latencies[position] = ticks() - start
        ran[position] = note.ran
    return _Played(numbers, latencies, ran, begun, ticks())


async def _play_suspended(
    cached: Callable[..., Coroutine[Any, Any, Any]],
    work: Work,
    numbers: NDArray[np.int64],
    barrier: asyncio.Barrier | None,
) -> _Played:
    note, ticks, calls = Note(), clock.ticks, work.calls
    latencies, ran = np.zeros(len(numbers)), np.zeros(len(numbers))
    _NOTE.set(note)
    begun = ticks()
    for position, number in enumerate(numbers.tolist()):
        args, kwargs = calls[number]
        note.number, note.ran = number, 0.0
        if barrier is not None:
            await barrier.wait()
        start = ticks()
        await cached(*args, **kwargs)
        latencies[position] = ticks() - start
        ran[position] = note.ran
    return _Played(numbers, latencies, ran, begun, ticks())


def _together(played: list[_Played]) -> Replay:
    return Replay(
        np.concatenate([each.numbers for each in played]),
        np.concatenate([each.latencies for each in played]),
        np.concatenate([each.ran for each in played]),
        max(each.end for each in played) - min(each.start for each in played),
    )
