"""Charts as SVG."""

from __future__ import annotations

import re

from benchmarks.plot import Panel, svg


def test_the_legend_lies_within_the_drawing() -> None:
    lines = {name: [1.0, 2.0] for name in ("a", "b", "c", "d")}
    drawn = svg("x", [1, 2], [Panel("one", lines)])
    width = float(drawn.split('viewBox="0 0 ')[1].split()[0])
    places = [float(x) for x in re.findall(r'<text x="([\d.]+)"[^>]*>[abcd]</text>', drawn)]
    assert len(places) == len(lines)
    assert max(places) < width - 50  # the last name has room, too
