"""A page: one HTML file that needs nothing else, in light or dark as the reader's system is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --ink: #1c2127; --soft: #5b6570; --line: #d9dee4; --back: #ffffff;
  --card: #f5f7f9; --bar: #9fb6cf; --best: #1f6fb2; --mark: #10243a; --bad: #a4262c;
  --first: #6b7785; --second: #b8620b; --ideal: #7a52b3; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ec; --soft: #a3adb8; --line: #39424c; --back: #14181d; --card: #1d232a;
    --bar: #4b6580; --best: #5cabec; --mark: #ffffff; --bad: #ff8f8f;
    --first: #98a4b0; --second: #e39a45; --ideal: #b08ee6; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 78rem; padding: 1.5rem 1rem 4rem; background: var(--back);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 2.5rem 0 0; } h1:first-child { margin-top: 0; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; }
h3 { font-size: 1rem; margin: 0 0 .25rem; } p { margin: .35rem 0; max-width: 70ch; }
.soft, em { color: var(--soft); font-style: normal; font-size: .875rem; } .soft { max-width: none; }
.cards { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: 1rem;
  min-width: 0; }
.card strong { display: block; font-size: 1.1rem; overflow-wrap: anywhere; }
.plot { margin: .25rem 0 1rem; }
.row { display: grid; grid-template-columns: minmax(4rem, 10rem) 1fr 4.75rem; gap: 0 .5rem;
  align-items: center; font-size: .875rem; padding: .1rem 0; }
.row span { overflow-wrap: anywhere; } .row b { font-weight: 400; text-align: right; white-space: nowrap; }
.row em { grid-column: 2 / -1; }
.bad { color: var(--bad); overflow-wrap: anywhere; } .row.best b { font-weight: 700; }
svg { width: 100%; overflow: visible; } rect, circle { fill: var(--bar); } line { stroke: var(--mark); }
.best rect, .best circle { fill: var(--best); } line.zero { stroke: var(--soft); }
.lines > svg { margin: 1.25rem 0 .5rem; display: block; } polyline { fill: none; stroke-width: 2; }
line.grid { stroke: var(--line); } .lines text { fill: var(--soft); font-size: .7rem; }
.ticks { display: flex; font-size: .75rem; color: var(--soft); }
.ticks span { flex: 1; text-align: center; } .key { margin-right: 1rem; font-size: .875rem; }
.key::before { content: ""; display: inline-block; width: .75rem; height: .75rem; margin-right: .3rem;
  border-radius: 50%; background: var(--hue); }
.line0 { --hue: var(--first); } .line1 { --hue: var(--second); } .line2 { --hue: var(--best); }
.line3 { --hue: var(--ideal); } .line3 polyline { stroke-dasharray: 5 4; }
.lines circle { fill: var(--hue); } .lines polyline { stroke: var(--hue); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .875rem; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .6rem; text-align: right; vertical-align: top; }
th { vertical-align: bottom; } th:first-child, td:first-child, .words th, .words td { text-align: left; }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--back); }
.cards + .soft { margin-top: .75rem; }
details { margin: .5rem 0; } summary { cursor: pointer; }
code { font-size: .9em; overflow-wrap: anywhere; }
@media (max-width: 34rem) { .row { grid-template-columns: 1fr auto; padding-bottom: .45rem; }
  .row svg { grid-row: 2; grid-column: 1 / -1; } .row em { grid-column: 1 / -1; } }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """The whole file."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def section(title: str, *parts: str) -> str:
    """A heading and what is below it."""
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def cards(parts: Iterable[str]) -> str:
    """Cards, as many side by side as there is room for."""
    return f'<div class="cards">{"".join(f"<div class=card>{part}</div>" for part in parts)}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, words: bool = False) -> str:
    """A table of plain texts; it scrolls where the page is too narrow, or wraps where it is of words."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    kind = ' class="words"' if words else ""
    return (
        f'<div class="scroll"><table{kind}><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def heading(text: str) -> str:
    """The heading of a card."""
    return f"<h3>{escape(text)}</h3>"


def soft(text: str) -> str:
    """A paragraph of what is of less weight."""
    return f'<p class="soft">{escape(text)}</p>'


def paragraph(text: str) -> str:
    """A paragraph."""
    return f"<p>{escape(text)}</p>"


def folded(title: str, *parts: str) -> str:
    """What is shown only to who wants it."""
    return f"<details><summary>{escape(title)}</summary>{''.join(parts)}</details>"
