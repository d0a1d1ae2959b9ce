"""The measuring: contenders take turns in one run, so that a noisy machine is noisy for all of them."""

from __future__ import annotations

import gc
import statistics
import timeit
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any


class WrongAnswerError(Exception):
    """A contender gave an answer that is not the right one."""


@dataclass(frozen=True)
class Call:
    """The call that is timed: ``function(argument)``, and what is to be said of it beside its time."""

    function: Callable[[Any], object]
    argument: object
    remark: str = ""


@dataclass(frozen=True)
class Contender:
    """One of those that are compared.

    Args:
        name: as the table shows it.
        make: builds what is timed and proves that it works; whatever it raises is shown in the
            table in place of a time. What it opens, it enters into the given stack.
    """

    name: str
    make: Callable[[ExitStack], Call]


@dataclass(frozen=True)
class Plan:
    """How long to measure.

    Args:
        repeats: how many samples to take of each contender.
        sample_seconds: how long one sample lasts at least: a fast call is looped.
        case_seconds: about how long one case may take; slow contenders get fewer samples, but
            never fewer than three (one, where ``repeats`` is one).
    """

    repeats: int
    sample_seconds: float
    case_seconds: float


FULL = Plan(repeats=25, sample_seconds=0.01, case_seconds=12.0)
BRIEF = Plan(repeats=9, sample_seconds=0.002, case_seconds=2.0)
QUICK = Plan(repeats=1, sample_seconds=0.0, case_seconds=0.0)

_pace = [FULL]


def be_brief() -> None:
    """Let runs that are not quick take a sixth of the time from now on, with fewer samples."""
    _pace[:] = [BRIEF]


def plan(*, quick: bool) -> Plan:
    """The plan of a full run or of a quick one, which shows that the benchmark works and no more."""
    return QUICK if quick else _pace[0]


@dataclass
class Result:
    """What came of one contender: seconds a call, one number a sample, or why there are none."""

    contender: str
    samples: list[float] = field(default_factory=list)
    error: str = ""
    remark: str = ""

    @property
    def median(self) -> float:
        """The median sample, in seconds a call."""
        return statistics.median(self.samples)

    def times(self, other: Result) -> float:
        """How many times as long as ``other`` this took: the median over samples taken side by side."""
        pairs = zip(self.samples, other.samples, strict=False)
        return statistics.median(mine / its for mine, its in pairs)


@dataclass(frozen=True)
class Case:
    """One piece of work and the results of all who were given it; the first is the reference."""

    name: str
    results: list[Result]

    def result(self, contender: str) -> Result:
        """The result of the contender of that name.

        Raises:
            LookupError: it took no part.
        """
        for result in self.results:
            if result.contender == contender:
                return result
        there = ", ".join(result.contender for result in self.results)
        raise LookupError(f"{contender!r} took no part in {self.name!r}: there are {there}")


def measure(name: str, contenders: list[Contender], plan: Plan) -> Case:
    """Give every contender the same work, in turns.

    Args:
        name: what the work is.
        contenders: the reference first.
        plan: how long to measure.
    """
    case = Case(name, [Result(contender.name) for contender in contenders])
    with ExitStack() as stack:
        lanes = [
            lane
            for contender, result in zip(contenders, case.results, strict=True)
            if (lane := _lane(contender, result, stack, plan))
        ]
        _take_turns(lanes, plan)
    return case


@dataclass(frozen=True)
class _Lane:
    """A contender that works, ready to be timed ``loops`` calls at a time."""

    result: Result
    timer: timeit.Timer
    loops: int
    seconds: float

    def sample(self) -> None:
        self.result.samples.append(self.timer.timeit(self.loops) / self.loops)


def _lane(contender: Contender, result: Result, stack: ExitStack, plan: Plan) -> _Lane | None:
    """The contender warmed up, or None with the reason in its result."""
    try:
        call = contender.make(stack)
    except Exception as error:  # noqa: BLE001 whatever a contender fails with is its result
        result.error = _said(error)
        return None
    result.remark = call.remark
    timer = timeit.Timer("f(x)", globals={"f": call.function, "x": call.argument})
    loops, seconds = _calibrate(timer, plan.sample_seconds)
    return _Lane(result, timer, loops, seconds)


def _said(error: Exception) -> str:
    lines = str(error).splitlines() or [""]
    return lines[0] if isinstance(error, WrongAnswerError) else f"{type(error).__name__}: {lines[0]}"


def _calibrate(timer: timeit.Timer, at_least: float) -> tuple[int, float]:
    """How many loops last ``at_least`` seconds, and the seconds they took; this is the warm-up as well."""
    timer.timeit(1)
    loops = 1
    while (seconds := timer.timeit(loops)) < at_least:
        loops *= 2
    return loops, seconds


def _take_turns(lanes: list[_Lane], plan: Plan) -> None:
    """Sample all lanes in turns, each round in the other direction, the slow ones in fewer rounds."""
    share = plan.case_seconds / max(len(lanes), 1)
    rounds = {id(lane): _rounds(lane, share, plan) for lane in lanes}
    gc.collect()
    for turn in range(plan.repeats):
        for lane in lanes[:: -1 if turn % 2 else 1]:
            if turn < rounds[id(lane)]:
                lane.sample()


def _rounds(lane: _Lane, share: float, plan: Plan) -> int:
    fewest = min(3, plan.repeats)
    return max(fewest, min(plan.repeats, int(share / max(lane.seconds, 1e-9))))
