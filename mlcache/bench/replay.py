"""The replay of work through one cache: by one caller, by threads or by tasks, each call timed.

The function that is cached waits for as long as its answer costs, as one does that computes on another
device or machine. So what the cache itself takes is not hidden behind computing, two cores are enough for
many callers, and a scaled cost is the same wait on every machine.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import ContextVar
from typing import Any, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlcache import clock
from mlcache.bench.work import Arguments, Work
from mlcache.errors import ConfigurationError

Cached = Callable[..., Any]
Meet = Callable[[], object]
"""Returns when all who are to call at the same moment are there."""


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
    """The parameters of ``function`` with their defaults, and without annotations, which may not be sent.

    Raises:
        ConfigurationError: it does not tell them, as some functions written in C do not.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"its parameters cannot be known: {error}; give a function in Python that calls it"
        ) from error
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


def by_threads(
    cached: Cached, work: Work, order: NDArray[np.int64], callers: int, meet: Meet | None = None
) -> Replay:
    """Replay an order by so many threads; by one without any.

    Args:
        cached: is called.
        work: what the numbers in the order mean.
        order: of the calls.
        callers: how many threads.
        meet: waits, before each call that all make at the same moment, for those of other processes.
    """
    start = threading.Barrier(callers)

    def share(caller: int, numbers: NDArray[np.int64]) -> _Played:
        mine = numbers if work.together else numbers[caller::callers]
        try:
            start.wait()
            return _play(cached, work, mine, start.wait if work.together else None)
        except BaseException:
            start.abort()  # the others would wait for this one for ever
            raise

    with ThreadPoolExecutor(callers) as threads:

        def play(numbers: NDArray[np.int64]) -> list[_Played]:
            if callers == 1:
                return [_play(cached, work, numbers, meet if work.together else None)]
            try:
                futures = [threads.submit(share, caller, numbers) for caller in range(callers)]
            except BaseException:
                start.abort()  # those that were started would wait for the others for ever
                raise
            return _results(futures)

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


class _Tape:
    """The calls of one caller, who notes what each took."""

    def __init__(self, work: Work, numbers: NDArray[np.int64]) -> None:
        self._calls, self._numbers = work.calls, numbers
        self._note, self._position = Note(), 0
        self._latencies, self._ran = np.zeros(len(numbers)), np.zeros(len(numbers))
        self._start = clock.ticks()

    def calls(self) -> Iterator[Arguments]:
        """The arguments of each call; the function, when it runs for it, finds its number in the note."""
        _NOTE.set(self._note)
        for position, number in enumerate(self._numbers.tolist()):
            self._position = position
            self._note.number, self._note.ran = number, 0.0
            yield self._calls[number]

    def took(self, seconds: float) -> None:
        """So long the call took that is the last."""
        self._latencies[self._position] = seconds
        self._ran[self._position] = self._note.ran

    def played(self) -> _Played:
        """What the caller saw."""
        return _Played(self._numbers, self._latencies, self._ran, self._start, clock.ticks())


def _play(cached: Cached, work: Work, numbers: NDArray[np.int64], meet: Meet | None) -> _Played:
    tape, ticks = _Tape(work, numbers), clock.ticks
    for args, kwargs in tape.calls():
        if meet is not None:
            meet()
        start = ticks()
        cached(*args, **kwargs)
        tape.took(ticks() - start)
    return tape.played()


async def _play_suspended(
    cached: Cached, work: Work, numbers: NDArray[np.int64], barrier: asyncio.Barrier | None
) -> _Played:
    tape, ticks = _Tape(work, numbers), clock.ticks
    for args, kwargs in tape.calls():
        if barrier is not None:
            await barrier.wait()
        start = ticks()
        await cached(*args, **kwargs)
        tape.took(ticks() - start)
    return tape.played()


def _together(played: list[_Played]) -> Replay:
    return Replay(
        np.concatenate([each.numbers for each in played]),
        np.concatenate([each.latencies for each in played]),
        np.concatenate([each.ran for each in played]),
        max(each.end for each in played) - min(each.start for each in played),
    )
