"""A study: one workload replayed through several policies in stores of several sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import cast

import msgspec

from mlcache.backends.address import Defaults
from mlcache.backends.open import open_address, parse
from mlcache.errors import ConfigurationError
from mlcache.simulate.optimal import belady, bound
from mlcache.simulate.replay import Store, replay
from mlcache.simulate.score import Score, score
from mlcache.trace.workload import Workload

STORES = ("lru", "lfu", "ttl", "gdsf", "rr")
"""The policies of the stores in memory."""
OFFLINE = ("belady", "bound")
"""What would need to know the calls to come; see ``optimal``."""
POLICIES = ("lru", "lfu", "ttl", "gdsf", *OFFLINE)
Task = tuple[str, float, int]
"""A policy, and a bound as a share of the working set and in bytes."""
FRACTIONS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


class Point(msgspec.Struct, frozen=True):
    """One replay.

    Args:
        policy: its name.
        fraction: the store's bound as a share of the working set.
        max_bytes: the same in bytes.
        score: what the store did.
    """

    policy: str
    fraction: float
    max_bytes: int
    score: Score


class Study(msgspec.Struct, frozen=True):
    """What came out.

    Args:
        calls: how many were replayed.
        keys: how many different ones they asked for.
        working_set: bytes that the values of all of them take in ``lru``, with what keeping them takes.
        seconds: computing time of all calls without a cache.
        ttl: seconds for which answers were used; None: for ever.
        points: by size, and for each by policy.
        sample: the share of the keys that was replayed; see ``scaled``.
    """

    calls: int
    keys: int
    working_set: int
    seconds: float
    ttl: float | None
    points: list[Point]
    sample: float = 1.0

    def curve(self, policy: str) -> list[Point]:
        """The replays of one policy, by size."""
        return [point for point in self.points if point.policy == policy]

    def at(self, fraction: float) -> list[Point]:
        """The replays at one size, by policy."""
        return [point for point in self.points if point.fraction == fraction]

    def best(self, fraction: float, measure: str = "seconds_saved") -> Point | None:
        """Of the stores of this size, the one with the most of a measure; None if there was none.

        Args:
            fraction: the size.
            measure: a field of ``Score``.
        """
        stores = [point for point in self.at(fraction) if point.policy not in OFFLINE]
        return max(stores, key=lambda point: getattr(point.score, measure), default=None)


def scaled(study: Study, sample: float) -> Study:
    """The study of a sample of the keys as one of all of them: amounts grow by as much, shares stay.

    Args:
        study: of the sample.
        sample: the share of the keys that it has, above 0 and at most 1.
    """
    return msgspec.structs.replace(
        study,
        calls=round(study.calls / sample),
        keys=round(study.keys / sample),
        working_set=round(study.working_set / sample),
        seconds=study.seconds / sample,
        points=[_scaled(point, sample) for point in study.points],
        sample=sample,
    )


def _scaled(point: Point, sample: float) -> Point:
    score = msgspec.structs.replace(point.score, seconds_saved=point.score.seconds_saved / sample)
    return msgspec.structs.replace(point, max_bytes=round(point.max_bytes / sample), score=score)


def to_json(study: Study) -> bytes:
    """All figures of a study, by the names of its fields."""
    return msgspec.json.format(msgspec.json.encode(study), indent=2) + b"\n"


def simulate(
    workload: Workload,
    *,
    policies: Sequence[str] = POLICIES,
    fractions: Sequence[float] = FRACTIONS,
    ttl: float | None = None,
    jobs: int = 1,
    advance: Callable[[], object] | None = None,
) -> Study:
    """Replay a workload through each policy at each size.

    The policies are the stores that the cache itself uses, with what keeping an entry takes in them.
    ``belady`` and ``bound`` are given what it takes in the leanest, ``lru``.

    Args:
        workload: the calls.
        policies: of ``STORES`` and ``OFFLINE``.
        fractions: bounds of the stores, as shares of the working set.
        ttl: seconds for which an answer may be used; None: for ever. With one, the clock of this process
            shows the time of the calls meanwhile, so let nothing else in it run that reads it.
        jobs: processes that share the work; 1: this one alone does it. Others are started afresh, so a
            script needs its ``if __name__ == "__main__"``.
        advance: called after each replay.

    Raises:
        ConfigurationError: there is no such policy, or a number is out of its range.
    """
    _check(policies, fractions, ttl, jobs)
    working_set = int((workload.sizes[workload.asked] + _leanest()).sum())
    tasks = [
        (policy, fraction, max(1, int(fraction * working_set)))
        for fraction in sorted(set(fractions))
        for policy in dict.fromkeys(policies)
    ]
    points: list[Point] = []
    for task, result in zip(tasks, _scores(workload, tasks, ttl, jobs), strict=True):
        points.append(Point(*task, result))
        if advance is not None:
            advance()
    return Study(len(workload), len(workload.asked), working_set, workload.seconds, ttl, points)


def _scores(workload: Workload, tasks: list[Task], ttl: float | None, jobs: int) -> Iterator[Score]:
    if jobs == 1:
        yield from (_score(workload, ttl, task) for task in tasks)
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(jobs, get_context("spawn"), _take, (workload, ttl)) as pool:
        yield from pool.map(_score_taken, tasks)


_taken: list[tuple[Workload, float | None]] = []


def _take(workload: Workload, ttl: float | None) -> None:
    """Hold in this process what all its replays are about."""
    _taken[:] = [(workload, ttl)]


def _score_taken(task: Task) -> Score:
    return _score(*_taken[0], task)


def _score(workload: Workload, ttl: float | None, task: Task) -> Score:
    policy, _, max_bytes = task
    if policy == "bound":
        return bound(workload, max_bytes, overhead=_leanest(), ttl=ttl)
    if policy == "belady":
        return score(workload, belady(workload, max_bytes, overhead=_leanest(), ttl=ttl))
    return score(workload, replay(workload, _open(policy, max_bytes), ttl))


def _leanest() -> int:
    """Bytes that keeping an entry takes in the store where it takes the least."""
    return _open("lru", 1).overhead


def _open(policy: str, max_bytes: int) -> Store:
    (address,) = parse(f"{policy}?max_bytes={max_bytes}")
    return cast("Store", open_address(address, Defaults()))


def _check(policies: Sequence[str], fractions: Sequence[float], ttl: float | None, jobs: int) -> None:
    for policy in policies:
        if policy not in STORES + OFFLINE:
            raise ConfigurationError(
                f"there is no policy {policy!r} to simulate: give some of {', '.join(STORES + OFFLINE)}"
            )
    for fraction in fractions:
        if not 0 < fraction <= 1:
            raise ConfigurationError(
                f"the size {fraction!r} is no share of the working set: give numbers above 0, up to 1"
            )
    if jobs < 1:
        raise ConfigurationError(f"jobs is {jobs!r}: give a number of processes, 1 for this one alone")
    if ttl is not None and not ttl > 0:
        raise ConfigurationError(f"ttl is {ttl!r}: give seconds above zero, or None for ever")
