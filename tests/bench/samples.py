"""Runs that were never measured, so that what is told of them is known."""

from __future__ import annotations

from mlcache.bench.document import Cell, Document, Scenario
from mlcache.bench.places import Traits

MEMORY = Traits(survives=False, processes=False, hosts=False)
DISK = Traits(survives=True, processes=True, hosts=False)


def cell(backend: str, net: list[float], hit: float = 1e-6, hit_rate: float = 0.5) -> Cell:
    return Cell(backend, {"net": net, "hit": [hit] * len(net), "hit_rate": [hit_rate] * len(net)})


def scenario(name: str, *cells: Cell) -> Scenario:
    return Scenario(name, "text", "1 caller", 300, 100, 10**6, 10**5, 0.02, 0.1, list(cells))


def document(*scenarios: Scenario) -> Document:
    traits = {"lru": MEMORY, "gdsf": MEMORY, "disk": DISK}
    return Document(
        made_at="2026-01-01T00:00:00+00:00",
        machine={"python": "CPython 3.13.0", "cores": "2 cores"},
        packages={"numpy": "2.3.0"},
        yardstick=[0.01, 0.011],
        traits=traits,
        scenarios=list(scenarios),
    )


def _around(middle: float) -> list[float]:
    return [middle, middle + 0.01, middle - 0.01, middle, middle, middle + 0.005, middle - 0.005]


def usual() -> Document:
    """On zipf the one policy saves more, on a scan the other; disk saves the most, and fails at a third."""
    return document(
        scenario(
            "zipf",
            cell("lru", _around(0.30)),
            cell("gdsf", _around(0.60)),
            cell("disk", _around(0.8), 6e-5),
        ),
        scenario(
            "scan",
            cell("lru", _around(0.30)),
            cell("gdsf", _around(0.10)),
            cell("disk", _around(0.8), 6e-5),
        ),
    )
