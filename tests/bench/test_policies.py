"""Curves of memory policies: what is simulated, and what is said of it."""

from __future__ import annotations

import pytest

from mlcache.bench.html import page
from mlcache.bench.policies import FRACTIONS, NAMES, PATTERNS, Curves, in_words, study
from mlcache.trace.synthetic import Shape
from tests.bench.samples import usual

SMALL = Shape(keys=200, calls=2000, exponent=0.7)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_no_policy_exceeds_the_bound(pattern: str) -> None:
    (curves,) = study([pattern], SMALL)
    assert list(curves.saved) == list(NAMES)
    assert all(len(values) == len(FRACTIONS) for values in curves.saved.values())
    for name in NAMES[:-1]:
        pairs = zip(curves.saved[name], curves.saved["bound"], strict=True)
        assert all(saved <= bound + 1e-9 for saved, bound in pairs)


def test_who_wins_is_told_and_also_where_nobody_does() -> None:
    curves = Curves(
        "some", [0.01, 0.2, 0.5], {"lru": [0.0, 0.5, 0.9], "gdsf": [0.001, 0.6, 0.899], "bound": [1.0] * 3}
    )
    assert in_words(curves) == (
        "Of the computing time at 1 % nothing saves any; at 20 % gdsf saves 60.0 % (lru 50.0 %); "
        "at 50 % lru and gdsf save 90.0 %."
    )


def test_the_page_draws_a_line_for_each() -> None:
    document = usual()
    document.policies = [Curves("some", [0.1, 0.5], {"lru": [0.25, 0.5], "gdsf": [0.5, 1.0]})]
    html = page(document)
    assert html.count("<polyline") == 2
    assert 'points="25.00,75.00 75.00,50.00"' in html
    assert "Memory policies by size" in html
