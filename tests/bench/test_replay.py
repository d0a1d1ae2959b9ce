"""Replays by every kind of caller: who computes, who hits, and what that comes to."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from mlcache.bench import measures
from mlcache.bench.callers import Callers, ReplayFailedError, callers, count_wrong, replay
from mlcache.bench.processes import crew
from mlcache.bench.replay import Replay, by_tasks, by_threads
from mlcache.bench.scenarios import chosen
from mlcache.bench.work import Work
from mlcache.bench.workloads import Size, capped, recorded, scaled, work
from mlcache.errors import ConfigurationError
from mlcache.trace.workload import Workload

SMALL = Size(keys=10, calls=60, repetitions=2, costs=(0.001, 0.002))
ROOMY = 10**9
KINDS = ["1", "threads:3", "tasks:3", "processes:2"]


def _replay(what: Work, spec: str, who: str) -> tuple[Replay, int]:
    crowd = callers(who)
    if crowd.kind == "processes":
        with crew(what, crowd.number) as members:
            outcome = members.replay(spec, ROOMY, 0)
    else:
        outcome = replay(what, spec, crowd, ROOMY, 0)
    return outcome.replay, outcome.wrong


@pytest.mark.parametrize("who", KINDS)
def test_every_call_that_counts_is_made_once_and_each_key_computed_once(who: str) -> None:
    what = work("zipf", "embedding", SMALL)
    found, wrong = _replay(what, "disk", who)
    order = what.order(0)
    assert sorted(found.numbers.tolist()) == sorted(order[what.warm :].tolist())
    computed = found.numbers[found.ran > 0].tolist()
    assert len(computed) == len(set(computed))
    if who != "processes:2":  # one of which may be warm before the other
        assert set(computed) == set(order[what.warm :].tolist()) - set(order[: what.warm].tolist())
    assert (found.latencies >= found.ran).all()
    assert wrong == 0


@pytest.mark.parametrize("who", ["threads:4", "tasks:4", "processes:2"])
def test_of_a_stampede_one_computes_where_the_place_is_shared(who: str) -> None:
    what = work("stampede", "text", SMALL)
    found, _ = _replay(what, "disk", who)
    assert measures.of(found, what)["runs"] == 1.0


def test_of_a_stampede_each_process_computes_where_the_place_is_not_shared() -> None:
    what = work("stampede", "text", SMALL)
    found, _ = _replay(what, "lru", "processes:2")
    assert measures.of(found, what)["runs"] == 2.0


def test_every_repetition_has_an_order_of_its_own() -> None:
    what = work("uniform", "text", SMALL)
    assert what.order(0).tolist() != what.order(1).tolist()
    assert what.order(2).tolist() == what.order(0).tolist()


@pytest.mark.parametrize("payload", ["text", "image", "embedding", "frame", "batch"])
def test_payloads_come_back_as_they_were(payload: str) -> None:
    what = work("uniform", payload, Size(keys=4, calls=12, repetitions=1, costs=(0.0001, 0.0001)))
    _, wrong = _replay(what, "disk", "1")
    assert wrong == 0


def test_a_wrong_answer_is_counted() -> None:
    from mlcache.decorator import ml_cache

    what = work("uniform", "embedding", SMALL)
    cached = ml_cache(lambda argument: argument)
    cached.put(what.answers[0], *what.calls[0][0])
    cached.put(what.answers[1], *what.calls[2][0])
    assert count_wrong(cached, what) == 1


def test_all_answers_that_are_kept_are_compared() -> None:
    from mlcache.decorator import ml_cache

    what = work("uniform", "embedding", Size(keys=60, calls=60, repetitions=1))
    cached = ml_cache(lambda argument: argument)
    cached.put(what.answers[0], *what.calls[59][0])
    assert count_wrong(cached, what) == 1


def test_measures_are_what_they_say() -> None:
    what = work("uniform", "text", Size(keys=2, calls=6, repetitions=1))
    what = _with_costs(what, [1.0, 3.0], [10, 30])
    latencies, ran = np.array([1.5, 3.5, 0.1, 0.3]), np.array([1.0, 3.0, 0.0, 0.0])
    found = measures.of(Replay(np.array([0, 1, 1, 1]), latencies, ran, 2.0), what)
    assert found["net"] == pytest.approx(1 - (1.0 + 3.0 + 0.5 + 0.5 + 0.1 + 0.3) / 10.0)
    assert (found["hit_rate"], found["byte_rate"]) == (0.5, 0.6)
    assert found["hit"] == pytest.approx(0.2)
    assert (found["miss"], found["rate"]) == (0.5, 2.0)
    assert "runs" not in found


def test_in_a_stampede_the_wait_for_the_leader_does_not_count() -> None:
    what = work("stampede", "text", SMALL)
    what = _with_costs(what, [2.0] * len(what.costs), [1] * len(what.costs))
    latencies, ran = np.array([2.1, 2.2, 2.3, 1.9]), np.array([2.0, 0.0, 0.0, 0.0])
    found = measures.of(Replay(np.array([0, 0, 0, 0]), latencies, ran, 2.0), what)
    assert found["hit"] == pytest.approx(0.2)
    assert found["net"] == pytest.approx(1 - (2.0 + 0.1 + 0.2 + 0.3) / 8.0)


def _with_costs(what: Work, costs: list[float], sizes: list[int]) -> Work:
    import msgspec

    return msgspec.structs.replace(what, costs=np.array(costs), sizes=np.array(sizes))


def test_a_replay_that_is_scaled_waits_less_and_counts_the_same() -> None:
    what = work("uniform", "text", SMALL)
    long = _with_costs(what, [5.0] * 10, [100] * 10)
    found, _ = _replay(scaled(long), "lru", "1")
    assert found.seconds < 2.0
    assert measures.of(found, long)["net"] == pytest.approx(measures.of(found, long)["hit_rate"], abs=0.01)


def test_many_callers_make_fewer_calls_and_wait_in_full() -> None:
    what = _with_costs(work("uniform", "text", SMALL), [1.0] * 10, [100] * 10)
    cut = capped(what, 4)
    assert cut.scale == 1.0
    assert len(cut.order(0)) == 16
    original = [what.calls[number] for number in what.order(0)[:16]]
    assert [cut.calls[number] for number in cut.order(0)] == original
    assert len(capped(_with_costs(what, [99.0] * 10, [100] * 10), 4).order(0)) == 12
    assert len(capped(_with_costs(what, [0.01] * 10, [100] * 10), 4).order(0)) == 60


def test_a_recorded_trace_keeps_its_costs_and_sizes() -> None:
    trace = Workload(
        keys=np.array([3, 1, 3, 3, 0]),
        times=np.arange(5.0),
        costs=np.array([1.0, 2.0, 9.0, 4.0]),
        sizes=np.array([100, 200, 900, 400]),
    )
    what = recorded(trace, "text", 4)
    assert what.costs[what.order(0)].tolist() == [4.0, 2.0, 4.0, 4.0]
    assert [len(answer) for answer in what.answers] == [200, 400]
    assert what.remark == "the first 4 of 5 calls"


def test_of_a_trace_only_so_many_answers_are_made_as_there_is_room_for() -> None:
    trace = Workload(
        keys=np.array([0, 1, 0, 0, 2, 1]),
        times=np.arange(6.0),
        costs=np.ones(3),
        sizes=np.array([1000, 2000, 2**50]),
    )
    what = recorded(trace, "text", 480)
    assert (len(what.order(0)), sorted(map(len, what.answers))) == (4, [1000, 2000])
    assert what.remark == "the first 4 of 6 calls"
    keys, sizes = np.zeros(9, np.int64), np.array([2**50])
    huge = Workload(keys=keys, times=np.arange(9.0), costs=np.ones(1), sizes=sizes)
    with pytest.raises(ConfigurationError, match=r"take 1.05e\+06 GiB, and a replay makes at most 1 GiB"):
        recorded(huge, "text", 480)


def test_more_keys_than_there_is_room_for_are_refused_before_anything_is_made() -> None:
    with pytest.raises(ConfigurationError, match=r"answers of 100,000 calls take .* GiB, .* fewer --keys"):
        work("zipf", "batch", Size(keys=100_000, calls=10, repetitions=1))


def test_a_place_that_fails_in_a_process_is_told_and_the_crew_goes_on() -> None:
    what = work("uniform", "text", SMALL)
    with crew(what, 2) as members:
        with pytest.raises(ReplayFailedError, match="disk"):
            members.replay("disk:///dev/null/impossible", ROOMY, 0)
        assert members.replay("lru", ROOMY, 0).wrong == 0


@pytest.mark.parametrize("text", ["", "0", "2", "threads", "threads:0", "fibres:3", "tasks:x"])
def test_callers_that_there_are_not_are_told(text: str) -> None:
    with pytest.raises(ConfigurationError, match="give 1, or a kind and a number"):
        callers(text)


def test_callers_are_shown_in_words() -> None:
    assert str(Callers("threads", 1)) == "1 caller"
    assert str(callers("tasks:7")) == "7 tasks"
    assert [str(callers(f"{kind}:1")) for kind in ("tasks", "processes")] == ["1 task", "1 process"]


def test_nothing_is_measured_twice() -> None:
    found = chosen(["stampede", "zipf"], ["text"], ["1", "threads:1", "threads:8", "tasks:1"], SMALL)
    measured = [(task.make().workload, str(task.who)) for task in found]
    assert measured == [
        ("stampede", "8 threads"),
        ("zipf", "1 caller"),
        ("zipf", "8 threads"),
        ("zipf", "1 task"),
    ]


def test_threads_that_cannot_all_be_started_are_an_error_and_do_not_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    submit, left = ThreadPoolExecutor.submit, iter(range(2))

    def some(*arguments: Any) -> Any:
        if next(left, None) is None:
            raise RuntimeError("can't start new thread")
        return submit(*arguments)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", some)
    what = work("zipf", "text", SMALL)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        by_threads(lambda argument: argument, what, what.order(0), 3)


@pytest.mark.parametrize("workload", ["stampede", "zipf"])
@pytest.mark.parametrize("replayed", [by_threads, by_tasks])
def test_an_error_of_one_caller_ends_them_all(workload: str, replayed: Any) -> None:
    counts = itertools.count()

    def cached(_: Any) -> None:
        if next(counts) == 7:
            raise ZeroDivisionError

    async def suspended(argument: Any) -> None:
        cached(argument)

    what = work(workload, "text", SMALL)
    with pytest.raises(ZeroDivisionError):
        replayed(suspended if replayed is by_tasks else cached, what, what.order(0), 3)
