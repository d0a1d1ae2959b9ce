"""What a benchmark found: as a plain table for people, as JSON for machines."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks.harness import Case, Result
from mlcache.bench.machine import describe, packages


@dataclass(frozen=True)
class Verdict:
    """A target, what was measured, and whether it was met.

    Args:
        text: the target in words.
        measured: what it is held against, in words.
        met: whether it was.
        checked: whether a miss is a failure: not where the target is a time, as machines differ.
        skipped: whether it was held against nothing, as a peer failed or somebody took no part.
    """

    text: str
    measured: str
    met: bool
    checked: bool = True
    skipped: bool = False

    @property
    def word(self) -> str:
        """The verdict in a word."""
        return "SKIP" if self.skipped else "PASS" if self.met else "MISS"


def _skipped(text: str, why: str) -> Verdict:
    return Verdict(text, why, met=False, checked=False, skipped=True)


def _failed(text: str, mine: Result, its: Result, *, checked: bool) -> Verdict:
    """A miss where mlcache failed, on either side; where only a peer did, it is skipped."""
    if mine.error or its.contender.startswith("mlcache"):
        return Verdict(text, mine.error or its.error, met=False, checked=checked)
    return _skipped(text, f"{its.contender} failed: {its.error}")


class Target(Protocol):
    """What a benchmark sets out to show."""

    @property
    def text(self) -> str:
        """The target in words."""
        ...

    def judge(self, cases: Sequence[Case]) -> Verdict:
        """The verdict, given all that was measured."""
        ...


@dataclass(frozen=True)
class AtMost:
    """A contender takes at most so many times as long as another, in the case of that name."""

    case: str
    contender: str
    times: float
    of: str

    @property
    def text(self) -> str:
        """The target in words."""
        return f"{self.case}: {self.contender} takes at most {self.times:g} times as long as {self.of}"

    def judge(self, cases: Sequence[Case]) -> Verdict:
        """The verdict, given all that was measured."""
        case = _case(cases, self.case)
        mine, its = case.result(self.contender), case.result(self.of)
        if mine.error or its.error:
            return _failed(self.text, mine, its, checked=True)
        ratio = mine.times(its)
        return Verdict(self.text, f"{ratio:.2f} times", met=ratio <= self.times)


@dataclass(frozen=True)
class Within:
    """A contender takes at most so many seconds."""

    case: str
    contender: str
    seconds: float

    @property
    def text(self) -> str:
        """The target in words."""
        return f"{self.case}: {self.contender} takes at most {duration(self.seconds)}"

    def judge(self, cases: Sequence[Case]) -> Verdict:
        """The verdict, given all that was measured."""
        mine = _case(cases, self.case).result(self.contender)
        if mine.error:
            return Verdict(self.text, mine.error, met=False, checked=False)
        return Verdict(self.text, duration(mine.median), met=mine.median <= self.seconds, checked=False)


@dataclass(frozen=True)
class AddsAtMost:
    """A contender takes at most so many seconds more than another."""

    case: str
    contender: str
    seconds: float
    of: str

    @property
    def text(self) -> str:
        """The target in words."""
        return f"{self.case}: {self.contender} adds at most {duration(self.seconds)} to {self.of}"

    def judge(self, cases: Sequence[Case]) -> Verdict:
        """The verdict, given all that was measured."""
        case = _case(cases, self.case)
        mine, its = case.result(self.contender), case.result(self.of)
        if mine.error or its.error:
            return _failed(self.text, mine, its, checked=False)
        added = statistics.median(one - other for one, other in zip(mine.samples, its.samples, strict=False))
        return Verdict(self.text, duration(added), met=added <= self.seconds, checked=False)


@dataclass(frozen=True)
class Says:
    """Something that is to be said of a contender beside its time."""

    case: str
    contender: str
    remark: str

    @property
    def text(self) -> str:
        """The target in words."""
        return f"{self.case}: {self.contender}: {self.remark}"

    def judge(self, cases: Sequence[Case]) -> Verdict:
        """The verdict, given all that was measured."""
        mine = _case(cases, self.case).result(self.contender)
        met = not mine.error and mine.remark == self.remark
        return Verdict(self.text, mine.error or mine.remark, met=met)


@dataclass(frozen=True)
class NotHeld:
    """A target that cannot be held against anything, as a case or a contender of it took no part."""

    target: Target
    why: str

    @property
    def text(self) -> str:
        """The target in words."""
        return self.target.text

    def judge(self, cases: Sequence[Case]) -> Verdict:  # noqa: ARG002 - as every target is asked
        """The verdict, given all that was measured."""
        return _skipped(self.text, self.why)


def _case(cases: Sequence[Case], name: str) -> Case:
    return next(case for case in cases if case.name == name)


@dataclass(frozen=True)
class Report:
    """All that one benchmark found.

    Args:
        name: of the benchmark.
        about: what was measured and how, in a sentence or two.
        cases: the measurements.
        targets: what they are held against.
        pace: how long was measured: ``full``, ``brief`` or ``quick``, whose sizes are smaller.
    """

    name: str
    about: str
    cases: Sequence[Case]
    targets: Sequence[Target] = ()
    pace: str = "full"

    def verdicts(self) -> list[Verdict]:
        """Every target's verdict."""
        return [target.judge(self.cases) for target in self.targets]

    def text(self) -> str:
        """Tables for a terminal of any width and no colours."""
        parts = [f"{self.name}: {self.about}", ", ".join(describe().values())]
        parts += [_table(case) for case in self.cases]
        return "\n\n".join([*parts, *_targets(self.verdicts())])

    def document(self) -> dict[str, Any]:
        """Everything, the raw samples in seconds a call included."""
        return {
            "benchmark": self.name,
            "about": self.about,
            "pace": self.pace,
            "machine": describe(),
            "packages": packages(PACKAGES),
            "cases": [asdict(case) for case in self.cases],
            "targets": [asdict(verdict) for verdict in self.verdicts()],
        }

    def write_json(self, path: Path) -> None:
        """All of it, as JSON."""
        write_json(self.document(), path)


def write_json(document: dict[str, Any], path: Path) -> None:
    """Write what JSON can say to a file."""
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _targets(verdicts: Sequence[Verdict]) -> list[str]:
    """A line for each target, and how many were held against nothing; nothing where there are no targets."""
    if not verdicts:
        return []
    lines = [f"  {each.word}  {each.text} ({each.measured})" for each in verdicts]
    if skipped := sum(each.skipped for each in verdicts):
        lines.append(f"  {skipped} of {len(verdicts)} targets held against nothing: those marked SKIP")
    return ["\n".join(["targets", *lines])]


def _table(case: Case) -> str:
    reference = case.results[0]
    width = max(len(result.contender) for result in case.results)
    head = f"{case.name}\n  {'':{width}}  {'median':>9}  {'fastest':>9}  against {reference.contender}"
    return "\n".join([head, *(f"  {_row(result, reference, width)}" for result in case.results)])


def _row(result: Result, reference: Result, width: int) -> str:
    name = f"{result.contender:{width}}"
    if result.error:
        return f"{name}  {result.error}"
    times = "" if reference.error else f"{result.times(reference):>8.2f} ×"
    row = f"{name}  {duration(result.median):>9}  {duration(min(result.samples)):>9}  {times:>10}"
    return f"{row}  {result.remark}".rstrip()


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds < 1e3 * size else f"{seconds / size:.0f} {unit}"
    return f"{seconds / 1e-9:.0f} ns"


PACKAGES = (
    "mlcache", "numpy", "xxhash", "pandas", "cachebox", "cachetools", "cashews", "dask", "datasets",
    "diskcache", "dogpile.cache", "hiredis", "joblib", "redis", "streamlit",
)  # fmt: skip
