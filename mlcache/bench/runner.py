"""The runner: every scenario, its places by turns, so that a noisy machine is noisy for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from inspect import Signature

import msgspec

from mlcache import clock
from mlcache.bench import machine, measures, places
from mlcache.bench.callers import ONE_ARGUMENT, Callers, Outcome, ReplayFailedError, replay
from mlcache.bench.document import Cell, Document, Scenario
from mlcache.bench.processes import crew
from mlcache.bench.work import Work
from mlcache.bench.workloads import scaled

Progress = Callable[[str], object]
"""Is told what is measured now, once a replay."""
Play = Callable[[str, int], Outcome]
"""Replays through a place the order of a repetition."""

FLOOR = 4
"""Answers that a memory has room for at least, be they the largest."""


class Task(msgspec.Struct):
    """A scenario that is to be measured.

    Args:
        make: makes the work, just before it is needed: arguments of many scenarios are many bytes.
        who: calls.
        signature: of the function.
    """

    make: Callable[[], Work]
    who: Callers
    signature: Signature = ONE_ARGUMENT


class Plan(msgspec.Struct):
    """What is to be measured.

    Args:
        tasks: the scenarios.
        backends: the places.
        repetitions: samples of each.
        bound: a memory's bytes, as a share of what keeping all answers takes; at least ``FLOOR`` answers fit.
    """

    tasks: Sequence[Task]
    backends: Sequence[str]
    repetitions: int
    bound: float

    @property
    def replays(self) -> int:
        """How often ``Progress`` is told."""
        return len(self.tasks) * len(self.backends) * self.repetitions


def run(plan: Plan, progress: Progress) -> Document:
    """Measure it all."""
    for backend in plan.backends:
        places.complete(backend, 1, "/")  # that a mistake is told before anything is measured
    traits, broken = _traits(plan.backends)
    yardstick: list[float] = []
    scenarios = [_scenario(task, plan, broken, yardstick, progress) for task in plan.tasks]
    made_at = datetime.fromtimestamp(clock.now(), UTC).isoformat(timespec="seconds")
    return Document(made_at, machine.describe(), machine.packages(), yardstick, traits, scenarios)


def _traits(backends: Sequence[str]) -> tuple[dict[str, places.Traits], dict[str, str]]:
    """What the places can do, and why some cannot be opened."""
    found: dict[str, places.Traits] = {}
    broken: dict[str, str] = {}
    for backend in backends:
        try:
            found[backend] = places.traits(backend)
        except Exception as error:  # noqa: BLE001 - it is told beside those that work
            broken[backend] = _said(error)
    return found, broken


def _scenario(
    task: Task, plan: Plan, broken: dict[str, str], yardstick: list[float], progress: Progress
) -> Scenario:
    work = task.make() if task.who.number > 1 else scaled(task.make())
    kept = work.sizes + places.overhead()
    bound = max(int(kept.sum() * (2 if work.together else plan.bound)), FLOOR * int(kept.max()))
    order = work.order(0)
    scenario = Scenario(
        workload=work.workload,
        payload=work.payload,
        callers=str(task.who),
        calls=(len(order) - work.warm) * (task.who.number if work.together else 1),
        keys=len(work.calls),
        bytes=work.total_bytes,
        bound=bound,
        kept=int(kept.sum()),
        cost=float(work.costs[order].mean()),
        scale=work.scale,
        cells=[Cell(backend, error=broken.get(backend, "")) for backend in plan.backends],
        remark=work.remark,
        work=work.identity,
    )
    with _player(work, task, bound) as play:
        _take_turns(scenario, work, plan.repetitions, play, yardstick, progress)
    return scenario


@contextmanager
def _player(work: Work, task: Task, bound: int) -> Iterator[Play]:
    if task.who.kind != "processes":
        yield lambda spec, turn: replay(work, spec, task.who, bound, turn, task.signature)
        return
    with crew(work, task.who.number, task.signature) as members:
        yield lambda spec, turn: members.replay(spec, bound, turn)


def _take_turns(
    scenario: Scenario, work: Work, turns: int, play: Play, yardstick: list[float], progress: Progress
) -> None:
    """All places by turns, each round in the other direction."""
    for turn in range(turns):
        yardstick.append(machine.yardstick())
        for cell in scenario.cells[:: -1 if turn % 2 else 1]:
            if not cell.error:
                _sample(cell, work, play, turn)
            progress(f"{scenario.name}: {cell.backend}")


def _sample(cell: Cell, work: Work, play: Play, turn: int) -> None:
    try:
        outcome = play(cell.backend, turn)
    except Exception as error:  # noqa: BLE001 - whatever a place fails with is its result
        cell.error, cell.samples = _said(error), {}
        return
    cell.remarks = list(dict.fromkeys([*cell.remarks, *outcome.remarks]))
    if outcome.wrong:
        cell.error = f"WRONG: {outcome.wrong} answers are not those that the function gave"
        cell.samples = {}
        return
    for name, value in measures.of(outcome.replay, work).items():
        cell.samples.setdefault(name, []).append(value)


def _said(error: Exception) -> str:
    lines = str(error).splitlines() or [""]
    if isinstance(error, ReplayFailedError):
        return lines[0]
    return f"{type(error).__name__}: {lines[0]}"
