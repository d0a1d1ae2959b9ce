"""The advice: who fits which need, who is beaten where, and what is said where nobody fits."""

from __future__ import annotations

from mlcache.bench.advice import fits, losses, room, wins
from mlcache.bench.document import Cell
from tests.bench.samples import DISK, cell, document, scenario, usual


def test_each_need_gets_the_one_that_saves_most_of_those_that_meet_it() -> None:
    found = {fit.need: fit for fit in fits(usual())}
    assert found["In memory alone"].backend == "gdsf"
    assert found["One process, which may start cold"].backend == "disk"
    assert found["Answers survive a restart"].backend == "disk"
    assert found["Hosts share answers"].backend is None
    assert "redis://HOST" in found["Hosts share answers"].why


def test_the_reason_has_the_saving_the_hit_and_the_others() -> None:
    why = next(fit.why for fit in fits(usual()) if fit.need == "In memory alone")
    assert why == (
        "It saves 35.0 % of the computing time on average over 2 scenarios, and a hit takes 1 µs. "
        "Behind: lru (5.0 points less)."
    )


def test_who_is_as_good_within_the_noise_is_named_so() -> None:
    noisy = document(scenario("zipf", cell("lru", [0.2, 0.6, 0.4] * 3), cell("gdsf", [0.5, 0.3, 0.42] * 3)))
    assert "As good within the noise: lru." in next(iter(fits(noisy))).why


def test_few_samples_make_nobody_win_or_lose() -> None:
    few = document(scenario("zipf", cell("lru", [0.2] * 5), cell("gdsf", [0.5] * 5)))
    assert losses(few) == {}
    why = next(iter(fits(few))).why
    assert "Too few samples to tell it from lru." in why
    assert "Behind" not in why


def test_where_nothing_is_saved_the_advice_is_to_do_without() -> None:
    costly = document(scenario("zipf", cell("lru", [-0.2, -0.3, -0.1])))
    assert "do without a cache" in next(iter(fits(costly))).why


def test_where_hardly_a_call_was_found_computing_is_not_called_cheap() -> None:
    missed = document(scenario("zipf", cell("lru", [-0.2, -0.3, -0.1], hit_rate=0.0)))
    why = next(iter(fits(missed))).why
    assert "hardly a call was found: too little memory, or no call is repeated" in why
    assert "computing is as cheap" not in why


def test_everybody_is_told_where_they_are_beaten_and_by_whom() -> None:
    lost = losses(usual())
    assert [(loss.scenario, loss.why) for loss in lost["gdsf"]] == [
        ("zipf, text, 1 caller", "saves 60.0 %, where disk saves 80.0 %"),
        ("scan, text, 1 caller", "saves 10.0 %, where disk saves 80.0 %"),
    ]
    assert "disk" not in lost
    assert wins(usual()) == {"lru": 0, "gdsf": 0, "disk": 2}


def test_tiers_are_told_from_a_list_of_backends() -> None:
    tiers = document(
        scenario("zipf", cell("lru, disk", [0.8] * 6), cell("disk", [0.8] * 6), cell("lru", [0.2] * 6))
    )
    tiers.traits["lru, disk"] = DISK
    assert [loss.why for loss in losses(tiers)["lru"]] == ['saves 20.0 %, where "lru, disk" saves 80.0 %']
    tiers.scenarios[0].cells[1].samples["net"] = [0.9] * 6
    why = next(fit.why for fit in fits(tiers) if fit.need == "One process, which may start cold")
    assert 'Behind: "lru, disk" (10.0 points less) and lru (70.0 points less).' in why


def test_who_fails_is_not_advised_and_the_failure_is_told() -> None:
    broken = document(scenario("zipf", cell("lru", [0.3, 0.3]), Cell("disk", error="OSError: no room")))
    assert next(fit for fit in fits(broken) if fit.need == "Answers survive a restart").backend is None
    assert [loss.why for loss in losses(broken)["disk"]] == ["OSError: no room"]


def test_the_room_of_a_memory_is_told() -> None:
    assert "room for 10 % of the answers' bytes" in room(usual())
