"""Plots as inline SVG: a bar or a dot with its interval, a row each, at any width and in any colours.

Horizontal places are percentages, so that a plot is as wide as its page without its text growing or
shrinking; colours are those of the page's style.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

import msgspec


class Bar(msgspec.Struct, frozen=True):
    """A row of a plot.

    Args:
        name: of what was measured.
        value: the middle; None where there is none.
        low: end of its interval.
        high: the other end.
        text: the value in words, or why there is none, which is bad where it failed.
        best: it is drawn in the stronger colour.
        bad: it failed.
        remark: what else is to be said, below it.
    """

    name: str
    value: float | None
    low: float
    high: float
    text: str
    best: bool = False
    bad: bool = False
    remark: str = ""


def bars(rows: Sequence[Bar]) -> str:
    """Bars from zero."""
    shown = [row for row in rows if row.value is not None]
    low = min([0.0, *(row.low for row in shown)])
    high = max([0.0, *(row.high for row in shown)])
    span = (high - low) or 1.0

    def place(value: float) -> float:
        return 100 * (value - low) / span

    return _plot(rows, place, zero=place(0.0))


def dots(rows: Sequence[Bar]) -> str:
    """Dots on a logarithmic scale, for what spans orders of magnitude; all values are above zero."""
    shown = [row for row in rows if row.value is not None and row.low > 0]
    low = math.log10(min((row.low for row in shown), default=1.0)) - 0.1
    high = math.log10(max((row.high for row in shown), default=1.0)) + 0.1

    def place(value: float) -> float:
        return 100 * (math.log10(value) - low) / (high - low) if value > 0 else 0.0

    return _plot(rows, place, zero=None)


def lines(across: Sequence[str], values: Mapping[str, Sequence[float]]) -> str:
    """Lines over sizes that stand side by side, each value between 0 and 1, with their names below.

    Args:
        across: what the sizes are called.
        values: by name, a number a size.
    """
    places = [100 * (position + 0.5) / len(across) for position in range(len(across))]
    grid = "".join(_grid(at) for at in (0, 50, 100))
    drawn = "".join(_line(number, places, each) for number, each in enumerate(values.values()))
    ticks = "".join(f"<span>{escape(each)}</span>" for each in across)
    names = enumerate(map(escape, values))
    keys = "".join(f'<span class="key line{number}">{name}</span>' for number, name in names)
    label = escape(f"lines of {', '.join(values)} over {', '.join(across)}")
    drawing = f'<svg height="150" role="img" aria-label="{label}">{grid}{drawn}</svg>'
    return f'<div class="lines">{drawing}<div class="ticks">{ticks}</div><p>{keys}</p></div>'


def _grid(at: int) -> str:
    line = f'<line class="grid" x1="0" x2="100%" y1="{at}%" y2="{at}%"/>'
    return f'{line}<text x="0" y="{at}%" dy="-3">{100 - at} %</text>'


def _line(number: int, places: Sequence[float], values: Sequence[float]) -> str:
    """A line through its dots; it is stretched with the page, and neither its width nor the dots are."""
    spots = [(f"{x:.2f}", f"{100 - 100 * y:.2f}") for x, y in zip(places, values, strict=True)]
    points = " ".join(f"{x},{y}" for x, y in spots)
    dots = "".join(f'<circle cx="{x}%" cy="{y}%" r="3"/>' for x, y in spots)
    stretched = (
        '<svg viewBox="0 0 100 100" preserveAspectRatio="none" height="100%">'
        f'<polyline points="{points}" vector-effect="non-scaling-stroke"/></svg>'
    )
    return f'<g class="line{number}">{stretched}{dots}</g>'


Place = Callable[[float], float]


def _plot(rows: Sequence[Bar], place: Place, zero: float | None) -> str:
    return f'<div class="plot">{"".join(_row(row, place, zero) for row in rows)}</div>'


def _row(row: Bar, place: Place, zero: float | None) -> str:
    if row.value is None:
        kind = ' class="bad"' if row.bad else ""
        return f'<div class="row"><span>{escape(row.name)}</span><em{kind}>{escape(row.text)}</em></div>'
    drawing = _mark(place(row.value), zero) + _whisker(place(row.low), place(row.high))
    kind = " best" if row.best else ""
    remark = f"<em>{escape(row.remark)}</em>" if row.remark else ""
    return (
        f'<div class="row{kind}"><span>{escape(row.name)}</span>'
        f'<svg height="16" role="img" aria-label="{escape(f"{row.name}: {row.text}")}">{drawing}</svg>'
        f"<b>{escape(row.text)}</b>{remark}</div>"
    )


def _mark(at: float, zero: float | None) -> str:
    if zero is None:
        return f'<circle cx="{at:.2f}%" cy="8" r="5"/>'
    left, width = min(at, zero), abs(at - zero)
    axis = f'<line class="zero" x1="{zero:.2f}%" x2="{zero:.2f}%" y1="0" y2="16"/>'
    return f'<rect x="{left:.2f}%" width="{width:.2f}%" y="3" height="10" rx="2"/>{axis}'


def _whisker(low: float, high: float) -> str:
    ends = "".join(f'<line x1="{at:.2f}%" x2="{at:.2f}%" y1="4" y2="12"/>' for at in (low, high))
    return f'<line x1="{low:.2f}%" x2="{high:.2f}%" y1="8" y2="8"/>{ends}'
