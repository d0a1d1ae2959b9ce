"""A stampede: many ask at once for an answer that is not there, beside the peers.

Each time it is another key, cold or just expired, and the function takes some milliseconds of computing. In
the tables stands how long it takes until the last caller has his answer, and how often the function ran. Of
the same stampedes, "letting go" tells how long after the end of the last execution that was. A contender is
out if anybody gets a wrong answer.
"""

from __future__ import annotations

import functools
import itertools
import struct
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from time import perf_counter
from typing import Any

from benchmarks.backends import has_server, start_server
from benchmarks.crowd import Crowd, Processes, Tasks
from benchmarks.harness import Call, Case, Contender, Result, WrongAnswerError, measure, plan
from benchmarks.peers import (
    DISK,
    FEWER,
    MEMORY,
    PEERS,
    REDIS,
    ROUNDS,
    SHORT,
    SHORTER,
    Place,
    answer,
    counted,
    counted_suspending,
)
from benchmarks.report import Report
from benchmarks.targets import targets


def run(*, quick: bool) -> Report:
    """Measure all crowds, or with ``quick`` small ones."""
    threads, tasks, processes = (8, 50, 2) if quick else (64, 1000, 8)
    cases = [
        *_storms(THREADS, IN_THREADS, functools.partial(_in_process, Crowd, threads), quick=quick),
        *_storms(EXPIRED, IN_THREADS, functools.partial(_expired, threads, quick=quick), quick=quick)[:1],
        *_storms(TASKS, IN_TASKS, functools.partial(_in_process, Tasks, tasks), quick=quick),
        *_storms(PROCESSES, IN_PROCESSES, functools.partial(_in_processes, processes), quick=quick),
        measure(ALONE, [Contender(DIRECT, _direct), *map(_alone, IN_THREADS)], plan(quick=quick)),
    ]
    if quick:
        return Report("stampede", f"{ABOUT}; small crowds, which show that it works", cases)
    return Report("stampede", ABOUT, cases, targets("stampede", cases))


def _executions(place: Place) -> list[float]:
    """When each execution ended that was noted since the last time."""
    log = Path(place.log)
    noted = log.read_bytes() if log.exists() else b""
    log.unlink(missing_ok=True)
    return [at for (at,) in struct.iter_unpack("d", noted)]


class Storms:
    """What was noted of the stampedes of one contender, beside their time."""

    def __init__(self) -> None:
        self.executions: list[int] = []
        self.letting_go: list[float] = []
        self._errors: set[str] = set()

    def note(self, place: Place, last: float) -> None:
        """Note one, in which the last caller had his answer at the time ``last``."""
        ends = _executions(place)
        self.executions.append(len(ends))
        self.letting_go.append(last - max(ends, default=last))

    def note_error(self, place: Place, error: Exception) -> None:
        """Note one in which a caller got an error in place of an answer."""
        self.note(place, perf_counter())
        kind = "" if isinstance(error, RuntimeError) else f"{type(error).__name__}: "  # of another process
        self._errors.add(f"{kind}{error}")

    def in_words(self) -> str:
        """How often the function ran in each, and what was raised."""
        least, most = min(self.executions), max(self.executions)
        runs = f"{least} executions" if least == most else f"{least} to {most} executions"
        return "; ".join([ONCE if least == most == 1 else runs, *sorted(self._errors)])


Make = Callable[[str, Storms, ExitStack], Call]


def _storms(name: str, peers: list[str], make: Make, *, quick: bool) -> list[Case]:
    """The stampedes of all contenders, and how long they let callers wait afterwards."""
    storms = {peer: Storms() for peer in peers if has_server() or not PEERS[peer].needs_server}
    contenders = [Contender(peer, functools.partial(make, peer, noted)) for peer, noted in storms.items()]
    case = measure(name, contenders, plan(quick=quick))
    for result in case.results:
        if result.samples:
            result.remark = storms[result.contender].in_words()
    after = [
        Result(result.contender, storms[result.contender].letting_go[-len(result.samples) :], result.error)
        if result.samples
        else result
        for result in case.results
    ]
    return [case, Case(f"{name}: letting go", after)]


def _in_process(crowd: type[Crowd | Tasks], size: int, peer: str, noted: Storms, stack: ExitStack) -> Call:
    place = _place(peer, stack)
    make = counted_suspending if crowd is Tasks else counted
    function = PEERS[peer].decorate(make(place), place, stack)
    rounds = FEWER if crowd is Tasks else ROUNDS
    ask = functools.partial(crowd(size, stack).ask, function)
    return _proved(ask, place, noted, itertools.count(), rounds)


def _expired(size: int, peer: str, noted: Storms, stack: ExitStack, *, quick: bool) -> Call:
    """Keys whose answers have just expired: as many as there will be stampedes."""
    ttl = SHORTER if quick else SHORT
    place = _place(peer, stack, ttl=ttl)
    function = PEERS[peer].decorate(counted(place), place, stack)
    crowd, keys = Crowd(size, stack), range(8 if quick else 64)
    for number in keys:
        function(number)
    Event().wait(1.1 * ttl)  # nobody sets it: it is real time that has to pass
    _executions(place)
    return _proved(functools.partial(crowd.ask, function), place, noted, itertools.cycle(keys), ROUNDS)


def _in_processes(number: int, peer: str, noted: Storms, stack: ExitStack) -> Call:
    place = _place(peer, stack)
    ask = functools.partial(Processes(number, 8, stack).ask, peer, place)
    rounds = FEWER if PEERS[peer].suspends else ROUNDS
    return _proved(ask, place, noted, itertools.count(), rounds)


def _proved(
    ask: Callable[[int], tuple[set[Any], float]], place: Place, noted: Storms, numbers: Any, rounds: int
) -> Call:
    """The call that is timed; the first stampede, in which all is imported and opened, is not noted."""

    def storm(_: object = None) -> None:
        number = next(numbers)
        try:
            answers, last = ask(number)
        except Exception as error:  # noqa: BLE001 - it is told in the table
            noted.note_error(place, error)
            return
        if answers != {answer(number, rounds)}:
            raise WrongAnswerError(f"WRONG: answers {sorted(map(str, answers))!r:.60}")
        noted.note(place, last)

    ask(next(numbers))
    _executions(place)
    return Call(storm, None)


def _place(peer: str, stack: ExitStack, ttl: float = 3600.0) -> Place:
    folder = stack.enter_context(TemporaryDirectory(prefix="mlcache-bench-", ignore_cleanup_errors=True))
    server = start_server(stack) if PEERS[peer].needs_server else ""
    return Place(f"{folder}/cache", f"{folder}/log", server, ttl)


def _same(number: int) -> int:
    return number


def _direct(_: ExitStack) -> Call:
    numbers = itertools.count()
    return Call(lambda _: _same(next(numbers)), None)


def _alone(peer: str) -> Contender:
    """A miss that nobody else waits for, of a function that does nothing."""

    def make(stack: ExitStack) -> Call:
        numbers = itertools.count()
        function = PEERS[peer].decorate(_same, _place(peer, stack), stack)
        return Call(lambda _: function(next(numbers)), None)

    return Contender(peer, make)


ONCE = "1 execution"
ABOUT = "many callers at once on a key that is not there; how long until the last has his answer"
THREADS, EXPIRED = "64 threads, a cold key", "64 threads, an expired key"
TASKS, PROCESSES = "1,000 tasks, a cold key", "8 processes of 8 threads, a cold key"
ALONE, DIRECT = "a miss alone", "the function itself"

IN_THREADS = [
    MEMORY,
    "functools.lru_cache",
    "cachetools, lock",
    "cachetools, condition",
    "dogpile, memory",
    DISK,
    "diskcache.memoize",
    "diskcache.memoize_stampede",
    "joblib.Memory",
]
IN_TASKS = [
    f"{MEMORY}, async",
    f"{DISK}, async",
    f"{REDIS}, async",
    "functools.lru_cache",
    "cashews",
    "cashews, lock",
]
IN_PROCESSES = [
    DISK,
    REDIS,
    "functools.lru_cache",
    "cachetools, condition",
    "dogpile, dbm",
    "dogpile, redis",
    "diskcache.memoize",
    "diskcache.memoize_stampede",
    "joblib.Memory",
    "cashews, redis, lock",
]
