"""What can be done with a cached function, before either face: opening, binding, explaining, warming."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mlcache import (
    ConfigurationError,
    Expiry,
    MlcacheWarning,
    RecursiveCallError,
    UnhashableArgumentError,
    ml_cache,
)
from mlcache.actions import Actions
from mlcache.backends import open as opening
from mlcache.explanation import Explanation
from mlcache.testing import FakeClock


def actions(function: Callable[..., Any], **options: Any) -> Actions:
    made: Any = ml_cache(**options)(function)
    found: Actions = made._actions
    return found


def test_nothing_is_opened_and_no_environment_is_read_before_the_first_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLCACHE_TTL", "soon")
    f = ml_cache(backend="lru, disk")(lambda x: x)
    assert repr(f).startswith("<ml_cache of")
    assert f._actions.opened is None
    assert not opening._shared
    monkeypatch.setenv("MLCACHE_TTL", "1h")
    assert f.cache_parameters()["ttl"] == "ttl 1h"
    assert f._actions.opened is f._actions.cache


def test_a_lifetime_that_is_set_for_all_holds_where_other_terms_name_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLCACHE_TTL", "1m")
    stale, errors = Expiry(stale="10m"), Expiry(errors="5s")
    assert str(actions(lambda x: x, ttl=stale).cache.terms.expiry) == "ttl 1m, then stale for 10m"
    assert str(actions(lambda x: x, ttl=errors).cache.terms.expiry) == "ttl 1m, Exception kept for 5s"
    for own in (Expiry("1h"), Expiry(lambda _: "1h")):
        assert str(actions(lambda x: x, ttl=own).cache.terms.expiry) == str(own)


def test_terms_without_effect_are_warned_of() -> None:
    with pytest.warns(MlcacheWarning, match=r"stale and jitter of an Expiry without a ttl .* MLCACHE_TTL"):
        _ = actions(lambda x: x, ttl=Expiry(stale="10m", jitter=0.1)).cache
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _ = actions(lambda x: x, ttl=Expiry(errors="5s")).cache
        _ = actions(lambda x: x, ttl=Expiry("1h", stale="10m")).cache


def test_threads_that_come_first_together_open_one_cache() -> None:
    barrier = threading.Barrier(8)
    found: list[Any] = []
    made = actions(lambda x: x, backend="lru?max_items=3")

    def use() -> None:
        barrier.wait(10)
        found.append(made.cache)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(each) for each in found}) == 1


def test_threads_that_call_first_together_compute_once() -> None:
    barrier = threading.Barrier(8)
    calls: list[int] = []
    answers: list[int] = []

    @ml_cache
    def f(x: int) -> int:
        calls.append(x)
        return x

    def use() -> None:
        barrier.wait(10)
        answers.append(f(1))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (answers, calls) == ([1] * 8, [1])


def test_a_call_that_waits_for_itself_is_an_error_and_not_for_ever() -> None:
    @ml_cache
    def f(x: int) -> int:
        return f(x)

    with pytest.raises(RecursiveCallError, match="calls itself with the same arguments"):
        f(1)


async def test_a_coroutine_that_waits_for_itself_is_an_error_and_not_for_ever() -> None:
    @ml_cache
    async def f(x: int) -> int:
        return await g(x)

    @ml_cache
    async def g(x: int) -> int:
        return await f(x)

    with pytest.raises(RecursiveCallError):
        await f(1)


def test_a_function_that_is_bound_to_nothing_is_looked_at_when_first_used() -> None:
    made = actions(lambda x: x)
    assert "identity" not in vars(made)
    made.call((1,), {})
    assert "identity" in vars(made)


def test_an_error_of_what_a_closure_holds_belongs_to_the_decoration() -> None:
    lock = threading.Lock()
    with pytest.raises(UnhashableArgumentError, match="from lock of type"):
        ml_cache(lambda x: (x, lock))


def test_an_explanation_is_made_to_be_read() -> None:
    def predict(a: Any, b: int, c: str, *rest: int, **named: int) -> Any:
        return a if c else (b, rest, named)

    f = ml_cache(ttl="1h", ignore=["b"], key={"c": len}, backend="lru", returns="reference")(predict)
    with FakeClock() as time:
        f(np.zeros(3), 2, "three", 4, five=5)
        time.advance(90)
        text = str(f.explain(np.zeros(3), 2, "three", 4, five=5))
    lines = text.splitlines()
    assert lines[0].split() == ["key", str(f.cache_key(np.zeros(3), 2, "three", 4, five=5))]
    assert [" ".join(line.split()) for line in lines[1:]] == [
        "a ndarray, keyed by content",
        "b int, ignored",
        "c str, keyed by 5",
        "rest tuple, keyed by content",
        "named dict, keyed by content",
        "terms ttl 1h",
        "tier lru fresh for 58m 30s, 1m 30s old, 136 B, took 0s to compute",
    ]
    column = len("tier lru  ")
    assert all(line[column - 1] == " " != line[column] for line in lines)


def test_an_explanation_of_a_call_that_has_no_key_is_the_error_of_the_call() -> None:
    f = ml_cache(lambda x: x)
    for use in (f, f.explain, f.cache_key, f.peek, f.invalidate):
        with pytest.raises(UnhashableArgumentError, match=r"x of type object.*ignore=\['x'\]"):
            use(object())


def test_an_explanation_of_what_never_expires() -> None:
    f = ml_cache(lambda x: x)
    f(1)
    found = f.explain(1)
    assert isinstance(found, Explanation)
    assert found.terms == "never expires"
    assert found.tiers["lru"].startswith("fresh for ever")


def test_an_explanation_of_what_is_over() -> None:
    f = ml_cache(ttl=10)(lambda x: x)
    with FakeClock() as time:
        f(1)
        time.advance(20)
        assert f.explain(1).tiers["lru"].startswith("dead, 20s old")


@pytest.mark.parametrize("calls", [5, None])
def test_warm_needs_several_calls(calls: Any) -> None:
    with pytest.raises((TypeError, ConfigurationError)):
        ml_cache(lambda x: x).warm(calls)


def test_an_error_while_warming_is_raised_and_what_was_computed_is_kept() -> None:
    f = ml_cache(lambda x: 1 / x)
    with pytest.raises(ZeroDivisionError):
        f.warm([1, 2, 0, 3])
    assert [f.peek(x) is not None for x in (1, 2, 3)] == [True, True, False]


def test_what_is_put_while_being_computed_stays() -> None:
    running, go = threading.Event(), threading.Event()

    @ml_cache(ignore=["running", "go"])
    def f(x: int) -> str:
        running.set()
        go.wait(10)
        return f"computed {x}"

    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(f(1)))
    thread.start()
    running.wait(10)
    f.put("put", 1)
    go.set()
    thread.join(10)
    assert answers == ["computed 1"]
    assert f(1) == "put"


@pytest.mark.parametrize("forget", [lambda f: f.invalidate(1), lambda f: f.cache_clear()])
def test_what_is_invalidated_while_being_computed_is_not_kept(forget: Callable[[Any], object]) -> None:
    running, go = threading.Event(), threading.Event()
    calls: list[int] = []

    @ml_cache(ignore=["running", "go"])
    def f(x: int) -> int:
        calls.append(x)
        running.set()
        go.wait(10)
        return x

    thread = threading.Thread(target=f, args=(1,))
    thread.start()
    running.wait(10)
    forget(f)
    go.set()
    thread.join(10)
    assert f.peek(1) is None
    assert f(1) == 1
    assert calls == [1, 1]
