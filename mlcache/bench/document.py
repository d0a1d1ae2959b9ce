"""The document of a run: all that was measured, every sample, as JSON that later versions can read."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Literal

import msgspec

from mlcache.bench.places import Traits
from mlcache.bench.policies import Curves
from mlcache.errors import ConfigurationError


class Cell(msgspec.Struct):
    """A place in a scenario.

    Args:
        backend: the place, as it was asked for.
        samples: by the name of a measure, a number a repetition.
        error: why there are no samples.
        remarks: what else is to be said.
    """

    backend: str
    samples: dict[str, list[float]] = msgspec.field(default_factory=dict)
    error: str = ""
    remarks: list[str] = msgspec.field(default_factory=list)

    def median(self, measure: str) -> float | None:
        """The median of a measure, or None where there is none."""
        samples = self.samples.get(measure)
        return statistics.median(samples) if samples else None


class Scenario(msgspec.Struct):
    """A workload with a payload and its callers.

    Args:
        workload: the pattern of the traffic.
        payload: what goes in and comes out.
        callers: who calls.
        calls: how many count in a repetition.
        keys: distinct calls.
        bytes: of all answers together.
        bound: bytes of a memory that says nothing else.
        cost: seconds that the answer to a call takes on average.
        scale: what that was multiplied by when it was waited for.
        cells: the places.
        remark: what else is to be said.
        kept: bytes that a memory takes to keep all answers; zero in documents that do not say.
        work: what tells the calls that were made from others; empty in documents that do not say.
    """

    workload: str
    payload: str
    callers: str
    calls: int
    keys: int
    bytes: int
    bound: int
    cost: float
    scale: float
    cells: list[Cell] = msgspec.field(default_factory=list)
    remark: str = ""
    kept: int = 0
    work: str = ""

    @property
    def name(self) -> str:
        """As it is shown."""
        return f"{self.workload}, {self.payload}, {self.callers}"

    def cell(self, backend: str) -> Cell | None:
        """The cell of a place, or None."""
        return next((cell for cell in self.cells if cell.backend == backend), None)


class Document(msgspec.Struct):
    """A run.

    Args:
        made_at: when it ended, ISO 8601.
        machine: what measured.
        packages: versions.
        yardstick: seconds of some work of no cache, measured between the replays.
        traits: of the places that could be opened.
        scenarios: what was measured.
        policies: what memory policies save over sizes, simulated.
        format: of this document.
    """

    made_at: str
    machine: dict[str, str]
    packages: dict[str, str]
    yardstick: list[float]
    traits: dict[str, Traits]
    scenarios: list[Scenario]
    policies: list[Curves] = msgspec.field(default_factory=list)
    format: Literal["mlcache-bench-1"] = "mlcache-bench-1"


def write(document: Document, path: Path) -> None:
    """Write a run to a file."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")


def read(path: Path) -> Document:
    """The run in a file.

    Raises:
        ConfigurationError: there is none, or it is no run of ``mlcache bench``.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Document)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise ConfigurationError(
            f"{path} is no run of `mlcache bench --json`: {error}; give a file that it wrote"
        ) from error
