"""Whether the benchmark of models tells policies apart, and can be drawn."""

from __future__ import annotations

from xml.etree.ElementTree import fromstring

from benchmarks import policies
from benchmarks.harness import Case
from benchmarks.models import BOUNDED, UNBOUNDED, ModelsReport, Served
from benchmarks.tenants import Cost

NAMES = (*BOUNDED, *UNBOUNDED)


DEAR, CHEAP = Cost(1_000, 0.04), Cost(100_000, 0.002)
MIXED = {str(number): DEAR if number % 2 else CHEAP for number in range(20)}


def compared() -> list[dict[str, float]]:
    cases = policies.compare(MIXED, ("gdsf", "lru", "lfu"), policies.Size(1, 1200))
    return [{result.contender: result.median for result in case.results} for case in cases]


def test_gdsf_keeps_what_is_dear_and_small_and_lru_follows_busy_tenants() -> None:
    mixed, mixed_changing, alike, alike_changing = compared()
    for found in (mixed, mixed_changing):
        assert found["mlcache, gdsf"] < min(found["mlcache, lru"], found["mlcache, lfu"]) / 2
    assert max(alike["mlcache, gdsf"], alike["mlcache, lfu"]) < alike["mlcache, lru"]
    assert alike_changing["mlcache, lru"] < min(
        alike_changing["mlcache, gdsf"], alike_changing["mlcache, lfu"]
    )
    assert compared() == [mixed, mixed_changing, alike, alike_changing]  # no clock but its own moves it


def test_the_drawing_shows_all_contenders_also_where_nothing_was_loaded() -> None:
    results = [Served(name, [0.01], rate=100.0, p50=0.01, p99=0.02) for name in NAMES]
    cases = [Case("little", list(results)), Case("much", list(results)), Case("of another kind", [])]
    drawn = fromstring(ModelsReport("models", "", cases, shares=(0.1, 1.0)).drawing())  # noqa: S314
    texts = [each.text for each in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert set(NAMES) <= set(texts)
    assert sum("less is better" in (text or "") for text in texts) == 2
    points = [line.get("points") or "" for line in drawn.iter("{http://www.w3.org/2000/svg}polyline")]
    assert len(points) == 4 * len(NAMES)
    assert all(len(each.split()) == 2 for each in points)
