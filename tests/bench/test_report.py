"""The page and the tables: whole, on their own, and with everything in them that was measured."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mlcache.bench import document as documents
from mlcache.bench.document import Cell
from mlcache.bench.html import page
from mlcache.bench.page import STYLE
from mlcache.bench.plots import Bar, bars, dots
from mlcache.bench.terminal import show
from mlcache.bench.words import listed, number, seconds, size
from mlcache.errors import ConfigurationError
from tests.bench.samples import cell, document, scenario, usual

VOID = {"meta", "rect", "circle", "line", "br"}


class Reader(HTMLParser):
    """Raises for a tag that is not closed, and keeps the text and what is loaded from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID
        assert all(value is not None for _, value in attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def _read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def test_the_page_is_whole_and_needs_nothing_else() -> None:
    html = page(usual())
    reader = _read(html)
    text = " ".join(reader.text)
    assert reader.loads == []
    assert "url(" not in html
    assert "@import" not in html
    assert "prefers-color-scheme: dark" in html
    for said in ("Which cache fits", "In memory alone", "60.0 %", "Where each does not win", "CPython 3.13"):
        assert said in text


def _colours(style: str) -> dict[str, str]:
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", style))


def _contrast(one: str, other: str) -> float:
    """As the Web Content Accessibility Guidelines 2.2 have it: from 1 to 21."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = [
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        ]
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_what_is_written_and_every_line_is_seen_on_the_cards(mode: str) -> None:
    before, _, after = STYLE.partition("@media (prefers-color-scheme: dark)")
    colours = _colours(before if mode == "light" else after)
    hues = set(re.findall(r"\.line\d { --hue: var\(--(\w+)\)", STYLE))
    assert len(hues) == 4
    assert [name for name in hues if _contrast(colours[name], colours["card"]) < 3] == []
    for name in ("ink", "soft", "bad"):
        assert _contrast(colours[name], colours["card"]) >= 4.5


def test_the_room_of_a_memory_is_told_below_the_advice_and_a_number_is_not_broken() -> None:
    text = _read(page(usual())).text
    cards, places = text.index("Which cache fits"), text.index("The places")
    assert any("room for 10 %" in each for each in text[cards:places])
    assert "30.0\xa0% [29.0\xa0%,\xa031.0\xa0%]" in text


def test_few_samples_are_no_victory_on_the_page() -> None:
    said = page(document(scenario("zipf", cell("lru", [0.2] * 5), cell("gdsf", [0.5] * 5))))
    assert "Too few repetitions to say who is beaten." in said
    assert "1 of 1" not in said


def test_that_calls_were_left_off_is_told_by_page_and_tables() -> None:
    from rich.console import Console

    cut = usual()
    cut.scenarios[0].remark = "the first 2 of 6 calls"
    file = io.StringIO()
    show(cut, Console(file=file, width=200))
    assert ";thefirst2of6calls" in "".join(file.getvalue().split())
    assert "; the first 2 of 6 calls" in page(cut)


def test_what_a_backend_says_is_no_markup() -> None:
    evil = "disk:///<script>alert(1)</script>"
    failed = Cell(evil, error="<b>no</b>", remarks=["<i>x</i>"])
    html = page(document(scenario("zipf", cell("lru", [0.3]), failed)))
    assert "<script>" not in html
    assert "<b>no" not in html
    assert "<i>" not in html
    _read(html)


def test_bars_are_as_long_as_their_values() -> None:
    rows = [Bar("a", 0.25, 0.2, 0.3, "25"), Bar("b", 0.5, 0.5, 0.5, "50"), Bar("c", None, 0, 0, "none")]
    drawn = bars(rows)
    assert 'width="50.00%"' in drawn
    assert 'width="100.00%"' in drawn
    assert "<em>none</em>" in drawn


def test_bars_below_zero_lie_on_the_other_side() -> None:
    drawn = bars([Bar("a", -0.5, -0.5, -0.5, "-50"), Bar("b", 0.5, 0.5, 0.5, "50")])
    assert '<rect x="0.00%" width="50.00%"' in drawn
    assert '<rect x="50.00%" width="50.00%"' in drawn


def test_dots_are_on_a_logarithmic_scale() -> None:
    drawn = dots([Bar("", value, value, value, "") for value in (1e-6, 1e-5, 1e-4)])
    places = [float(part.partition("%")[0]) for part in drawn.split('<circle cx="')[1:]]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=0.02)


@pytest.mark.parametrize("width", [60, 200])
def test_the_tables_say_it_all_at_any_width(width: int) -> None:
    from rich.console import Console

    file = io.StringIO()
    broken = usual()
    broken.scenarios[0].cells[0] = Cell("lru", error="OSError: [no] room", remarks=["[1] were not kept"])
    show(broken, Console(file=file, width=width))
    text = "".join(file.getvalue().split())
    said = "OSError:[no]room", "[1]werenotkept", "Whichfits", "Whereeachdoesnotwin", "60.0%", "gdsf"
    assert [each for each in said if each not in text] == []


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    documents.write(usual(), file)
    assert documents.read(file) == usual()


def test_a_file_that_is_no_run_is_told(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    with pytest.raises(ConfigurationError, match="cannot be read"):
        documents.read(file)
    file.write_text('{"scenarios": 3}', encoding="utf-8")
    with pytest.raises(ConfigurationError, match="is no run of"):
        documents.read(file)


def test_numbers_have_the_unit_that_suits_them() -> None:
    times = [seconds(each) for each in (2.0, 0.25, 4.2e-5, 6.1e-8, 0.9996)]
    assert times == ["2 s", "250 ms", "42 µs", "61 ns", "1000 ms"]
    assert [size(each) for each in (12, 2048, 3 * 2**20, 2**31)] == ["12 bytes", "2 KiB", "3 MiB", "2 GiB"]
    assert [number("net", each) for each in (0.1234, -0.2, -0.0001, None)] == [
        "12.3 %",
        "\N{MINUS SIGN}20.0 %",
        "0.0 %",
        "\N{EN DASH}",
    ]
    assert [number("rate", 12345.6), number("runs", 1.0)] == ["12,346", "1.00"]
    assert [listed([]), listed(["a"]), listed(["a", "b", "c"])] == ["", "a", "a, b and c"]
