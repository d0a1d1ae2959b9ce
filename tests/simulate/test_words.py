"""A study in words and in the terminal."""

from __future__ import annotations

import io

import msgspec
from rich.console import Console

from mlcache.simulate import terminal
from mlcache.simulate.score import Score
from mlcache.simulate.study import Point, Study, to_json
from mlcache.simulate.words import sentences


def study(**saved: tuple[float, float, float]) -> Study:
    """One size; for each policy its shares of the calls, of the bytes and of the 100 seconds."""
    points = [
        Point(policy, 0.05, 2**20, Score(calls, size, 100 * seconds, seconds))
        for policy, (calls, size, seconds) in saved.items()
    ]
    return Study(1_000, 10, 20 * 2**20, 100.0, None, points)


def test_the_words_say_what_saves_the_most_and_where_another_does_better() -> None:
    mixed = study(lru=(0.3, 0.4, 0.2), lfu=(0.5, 0.3, 0.3), gdsf=(0.4, 0.2, 0.5), bound=(1.0, 1.0, 1.0))
    (words,) = sentences(mixed)
    assert words == (
        "5 % (1.0 MiB): gdsf saves the most, 50.0 % of the computing time, 2.50 times as much as lru; "
        "lfu answers more of the calls (50.0 %, not 40.0 %) and "
        "lru answers more of the bytes (40.0 %, not 20.0 %)."
    )


def test_the_words_are_few_where_there_is_little_to_say() -> None:
    assert list(sentences(study(lru=(0.3, 0.4, 0.2), gdsf=(0.3, 0.4, 0.1)))) == [
        "5 % (1.0 MiB): lru saves the most, 20.0 % of the computing time."
    ]
    assert list(sentences(study(bound=(1.0, 1.0, 1.0)))) == []
    assert "times" not in next(sentences(study(lru=(0.0, 0.0, 0.0), gdsf=(0.1, 0.1, 0.1))))


def test_the_tables_have_a_row_for_each_size_and_a_column_for_each_policy() -> None:
    out = Console(file=io.StringIO(), width=120)
    terminal.show(study(lru=(0.3, 0.4, 0.2), gdsf=(0.4, 0.2, 0.5), bound=(0.6, 0.7, 0.8)), out)
    text = out.file.getvalue()  # type: ignore[attr-defined]
    assert text.count("size of the store      lru     gdsf    bound") == 3
    rows = [line.split() for line in text.splitlines() if line.startswith("  5 % (1.0 MiB) ")]
    shown = [[cell for cell in row if cell.endswith("0.0")] for row in rows]
    assert shown == [["20.0", "50.0", "80.0"], ["30.0", "40.0", "60.0"], ["40.0", "20.0", "70.0"]]
    assert "1,000 calls for 10 keys, whose values take 20.0 MiB" in text


def test_the_figures_are_read_back_from_json() -> None:
    one = study(lru=(0.3, 0.4, 0.2))
    assert msgspec.json.decode(to_json(one), type=Study) == one
