"""A run that was written to a file, by ``mlcache bench`` or the benchmarks beside it, as it is compared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from mlcache.bench.document import Document, Scenario
from mlcache.errors import ConfigurationError

Place = tuple[str, str, str]
"""A scenario, who was measured there, and what."""
T = TypeVar("T")


class Run(msgspec.Struct):
    """What can be compared of a run.

    Args:
        program: what wrote it.
        samples: by place.
        errors: why there are none, by scenario and who was measured there.
        scenarios: how ``mlcache bench`` measured, by the scenario's name.
        pace: how long the benchmarks measured: ``full``, ``brief`` or ``quick``.
        machine: what measured.
        packages: versions.
        yardstick: seconds of some work of no cache.
    """

    program: str
    samples: dict[Place, list[float]]
    errors: dict[tuple[str, str], str]
    machine: dict[str, str]
    packages: dict[str, str]
    scenarios: dict[str, Scenario] = {}
    pace: str = ""
    yardstick: list[float] = []


class _Result(msgspec.Struct):
    contender: str
    samples: list[float] = []
    error: str = ""


class _Case(msgspec.Struct):
    name: str
    results: list[_Result]


class _Report(msgspec.Struct):
    """What one benchmark has written."""

    benchmark: str
    cases: list[_Case]
    machine: dict[str, str] = {}
    packages: dict[str, str] = {}
    pace: str = ""


def read(path: Path) -> Run:
    """The run in a file of ``mlcache bench --json`` or of ``python -m benchmarks --json``.

    Raises:
        ConfigurationError: it cannot be read, or is no such file.
    """
    try:
        said = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ConfigurationError(f"{path} is no JSON: {error}") from error
    fields = said if isinstance(said, dict) else {}
    if "scenarios" in fields:
        return _measured(_as(path, said, Document))
    if "reports" in fields:
        return _compared(_as(path, fields["reports"], list[_Report]))
    if "cases" in fields:
        return _compared([_as(path, said, _Report)])
    raise ConfigurationError(f"{path} is no run: give what --json of a benchmark has written")


def _as(path: Path, said: Any, kind: type[T]) -> T:
    try:
        return msgspec.convert(said, kind)
    except msgspec.ValidationError as error:
        raise ConfigurationError(
            f"{path} is not as a benchmark has written it: {error}; give what its --json wrote"
        ) from error


def _measured(document: Document) -> Run:
    cells = [(scenario.name, cell) for scenario in document.scenarios for cell in scenario.cells]
    return Run(
        program="mlcache bench",
        samples={
            (name, cell.backend, measure): samples
            for name, cell in cells
            for measure, samples in cell.samples.items()
            if samples
        },
        errors={(name, cell.backend): cell.error for name, cell in cells if cell.error},
        machine=document.machine,
        packages=document.packages,
        scenarios={scenario.name: scenario for scenario in document.scenarios},
        yardstick=document.yardstick,
    )


def _compared(reports: list[_Report]) -> Run:
    results = list(_results(reports))
    return Run(
        program="python -m benchmarks",
        samples={(name, each.contender, "time"): each.samples for name, each in results if each.samples},
        errors={(name, each.contender): each.error for name, each in results if each.error},
        machine=reports[0].machine if reports else {},
        packages=reports[0].packages if reports else {},
        pace=reports[0].pace if reports else "",
    )


def _results(reports: list[_Report]) -> Iterator[tuple[str, _Result]]:
    for report in reports:
        for case in report.cases:
            yield from ((f"{report.benchmark}: {case.name}", result) for result in case.results)
