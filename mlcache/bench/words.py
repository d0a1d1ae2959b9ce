"""Words for numbers: units that suit them."""

from __future__ import annotations

from mlcache.bench.measures import MEASURES

NONE = "\N{EN DASH}"
"""Where there is no number."""


def seconds(value: float) -> str:
    """A time in the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}" if abs(value) < 999.5 * size else f"{value / size:.0f} {unit}"
    return f"{value / 1e-9:.0f} ns"


def size(value: float) -> str:
    """Bytes in the unit that suits them."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:.0f} bytes"


def number(measure: str, value: float | None) -> str:
    """A measure's value with its unit; a dash where there is none."""
    if value is None:
        return NONE
    unit = MEASURES[measure].unit
    if unit == "s":
        return seconds(value)
    if unit == "share":
        return f"{round(100 * value, 1) + 0.0:.1f} %".replace("-", "\N{MINUS SIGN}")
    return f"{value:,.0f}" if unit == "/s" else f"{value:.2f}"


def named(backend: str) -> str:
    """A backend within a sentence: several tiers, whose names have a comma between, in quotation marks."""
    return f'"{backend}"' if "," in backend else backend


def listed(names: list[str]) -> str:
    """Names in a row, with an "and" before the last."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1] if names else ""]))
