"""Line charts as plain SVG, without a library: logarithmic upwards, side by side, one legend."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, HEIGHT, MARGIN, LEGEND, NAME = 340, 260, 48, 30, 150
COLOURS = ("#0072b2", "#56b4e9", "#d55e00", "#999999", "#009e73", "#cc79a7", "#e69f00")
"""Which all eyes can tell apart."""


class Panel(NamedTuple):
    """One chart: its title, and the lines by name, each with a value above zero for every x."""

    title: str
    lines: Mapping[str, Sequence[float]]


def svg(x_title: str, x: Sequence[float], panels: Sequence[Panel]) -> str:
    """A drawing of all panels, which share the x axis and the names of their lines."""
    width = max(WIDTH * len(panels), MARGIN + NAME * len(panels[0].lines))
    box = f'viewBox="0 0 {width} {HEIGHT + LEGEND}" font-family="sans-serif" font-size="11"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box}>',
        f'<rect width="{width}" height="{HEIGHT + LEGEND}" fill="white"/>',
    ]
    for number, panel in enumerate(panels):
        parts += [f'<g transform="translate({number * WIDTH} 0)">', *_panel(x_title, x, panel), "</g>"]
    return "\n".join([*parts, *_legend(panels[0].lines), "</svg>", ""])


def _panel(x_title: str, x: Sequence[float], panel: Panel) -> list[str]:
    values = [value for line in panel.lines.values() for value in line]
    low, high = _decades(values)
    parts = [_text(WIDTH / 2, 18, panel.title, "middle"), _text(WIDTH / 2, HEIGHT - 8, x_title, "middle")]
    for exponent in range(low, high + 1):
        y = _y(10.0**exponent, low, high)
        parts.append(f'<path d="M{MARGIN} {y:.1f}H{WIDTH - 10}" stroke="#dddddd"/>')
        parts.append(_text(MARGIN - 6, y + 4, f"{10.0**exponent:g}", "end"))
    parts += [_text(_x(each, x), HEIGHT - 26, f"{each:g}", "middle") for each in x]
    for colour, line in zip(COLOURS, panel.lines.values(), strict=False):
        points = [(_x(at, x), _y(value, low, high)) for at, value in zip(x, line, strict=True)]
        path = " ".join(f"{left:.1f},{top:.1f}" for left, top in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{left:.1f}" cy="{top:.1f}" r="3" fill="{colour}"/>' for left, top in points]
    return parts


def _legend(lines: Mapping[str, object]) -> list[str]:
    parts = []
    for number, (colour, name) in enumerate(zip(COLOURS, lines, strict=False)):
        left = MARGIN + number * NAME
        parts.append(f'<rect x="{left}" y="{HEIGHT + 6}" width="14" height="4" fill="{colour}"/>')
        parts.append(_text(left + 20, HEIGHT + 12, name, "start"))
    return parts


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def _x(value: float, x: Sequence[float]) -> float:
    span = max(x) - min(x)
    return MARGIN + 10 + (WIDTH - MARGIN - 30) * ((value - min(x)) / span if span else 0.5)


def _y(value: float, low: int, high: int) -> float:
    return HEIGHT - 42 - (HEIGHT - 75) * (math.log10(value) - low) / (high - low)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
