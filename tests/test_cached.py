"""The decorated function: as good as the function itself, with ways to look into its cache and steer it."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import multiprocessing
import pickle
import threading
import typing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import pytest

from mlcache import AsyncCachedFunction, CachedFunction, CacheInfo, Expiry, Result, cache, ml_cache
from mlcache.backends.disk import Disk
from mlcache.entry import Key
from mlcache.testing import FakeClock

NOW = 1_700_000_000.0


@pytest.fixture(scope="module", autouse=True)
def _tracker() -> None:
    """The process that Python starts once for all workers, which is none that a test leaves behind."""
    resource_tracker.ensure_running()


@ml_cache
def resize(image: int, /, size: int = 2, *, mode: str = "fast") -> tuple[int, int, str]:
    """Makes it another size."""
    return image, size, mode


@ml_cache(ttl="1h")
async def fetch(url: str, retries: int = 3) -> str:
    """Brings it."""
    await asyncio.sleep(0)
    return f"{url} {retries}"


@dataclass(frozen=True)
class Model:
    """Has methods of both kinds."""

    name: str

    @ml_cache
    def score(self, x: int, y: int = 0) -> tuple[str, int, int]:
        """Says how good it is."""
        return self.name, x, y

    @ml_cache
    async def ascore(self, x: int, y: int = 0) -> tuple[str, int, int]:
        """Says how good it is, later."""
        return self.name, x, y

    @ml_cache
    @classmethod
    def made(cls, x: int) -> tuple[str, int]:
        return cls.__name__, x


def recorded(**options: Any) -> tuple[Any, list[int]]:
    """A cached function, and what it was called with."""
    calls: list[int] = []

    def f(x: int, y: int = 0) -> tuple[int, int]:
        calls.append(x)
        return x, y

    return ml_cache(**options)(f), calls


def arecorded(**options: Any) -> tuple[Any, list[int]]:
    """A cached coroutine function, and what it was called with."""
    calls: list[int] = []

    async def f(x: int, y: int = 0) -> tuple[int, int]:
        await asyncio.sleep(0)
        calls.append(x)
        return x, y

    return ml_cache(**options)(f), calls


# ---- as good as the function itself ----


@pytest.mark.parametrize("use", [False, True], ids=["before its first call", "after its first call"])
def test_it_looks_like_its_function(use: bool) -> None:  # noqa: FBT001 - from parametrize
    if use:
        resize(1)
    wrapped = resize.__wrapped__
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__"):
        assert getattr(resize, name) == getattr(wrapped, name)
    assert inspect.signature(resize) == inspect.signature(wrapped)
    assert inspect.getdoc(resize) == "Makes it another size."
    assert inspect.unwrap(resize) is wrapped
    assert inspect.getsource(resize) == inspect.getsource(wrapped)
    assert typing.get_type_hints(resize) == typing.get_type_hints(wrapped)
    assert callable(resize)
    assert isinstance(resize, CachedFunction)


def test_a_method_looks_like_its_method() -> None:
    methods: list[tuple[Any, str]] = [
        (Model("a").score, "Says how good it is."),
        (Model("a").ascore, "Says how good it is, later."),
    ]
    for method, text in methods:
        assert inspect.getdoc(method) == method.__doc__ == text
        assert [*inspect.signature(method).parameters] == ["x", "y"]
        assert method.__module__ == __name__
        assert method.__self__ == Model("a")
    assert Model("a").score.__name__ == "score"
    assert Model("a").score.__qualname__ == "Model.score"
    assert Model("a").score.__wrapped__(1, 2) == ("a", 1, 2)
    assert Model.score.__wrapped__(Model("b"), 1) == ("b", 1, 0)


def test_attributes_of_the_function_are_seen_and_do_not_hide_those_of_the_cache() -> None:
    def f(x: int) -> int:
        return x

    f.tag = "mine"  # type: ignore[attr-defined]
    f.cache_info = f._bound = f.aio = "mine"  # type: ignore[attr-defined]
    cached: Any = ml_cache(f)
    assert cached.tag == "mine"
    assert cached(1) == 1
    assert cached.cache_info().misses == 1
    assert asyncio.run(cached.aio(1)) == 1


def test_frameworks_can_tell_a_coroutine_function() -> None:
    model = Model("a")
    for function in (fetch, model.ascore, resize.aio, model.score.aio, functools.partial(fetch, "u")):
        assert is_coroutine_function(function)
    for plain in (resize, model.score):
        assert not is_coroutine_function(plain)


def is_coroutine_function(function: Any) -> bool:
    """As frameworks ask: since Python 3.12 of ``inspect``, before of ``asyncio``."""
    if hasattr(inspect, "markcoroutinefunction"):
        return inspect.iscoroutinefunction(function)
    unwrapped = function.func if isinstance(function, functools.partial) else function
    return asyncio.iscoroutinefunction(unwrapped)


def test_its_repr_says_how_it_is_cached() -> None:
    f, _ = recorded(ttl="1h")
    name = f"{__name__}.recorded.<locals>.f"
    assert repr(f) == f"<ml_cache of {name}>"
    f(1)
    assert repr(f).startswith(f"<ml_cache of {name}, <lru: 1 entries")
    assert repr(f).endswith("ttl 1h>")
    assert repr(Model("a").score).startswith(f"<ml_cache of {__name__}.Model.score")
    assert "functools.partial" in repr(ml_cache(functools.partial(resize.__wrapped__, 1)))


def test_copies_are_itself() -> None:
    assert copy.copy(resize) is copy.deepcopy([resize])[0] is resize
    method = Model("a").score
    assert copy.copy(method) is copy.deepcopy(method) is method


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_is_pickled_by_name(protocol: int) -> None:
    resize(1)
    for each in (resize, fetch):
        assert pickle.loads(pickle.dumps(each, protocol)) is each
    method = pickle.loads(pickle.dumps(Model("a").score, protocol))
    assert method(1) == ("a", 1, 0)
    assert pickle.loads(pickle.dumps(Model("a").ascore, protocol)).__self__ == Model("a")


def test_what_has_no_name_says_that_it_cannot_be_pickled() -> None:
    with pytest.raises(pickle.PicklingError, match="by name"):
        pickle.dumps(ml_cache(functools.partial(resize.__wrapped__, 1)))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_its_name_does_not_lead_to_says_how_it_can_be_pickled(protocol: int) -> None:
    @ml_cache
    def local(x: int) -> int:
        return x

    for each in (ml_cache(lambda x: x), local, local.aio, ml_cache(resize.__wrapped__)):
        with pytest.raises((pickle.PicklingError, AttributeError), match="in a module, or use cloudpickle"):
            pickle.dumps(each, protocol)


def test_it_can_be_sent_to_a_worker_process() -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(resize, 1, mode="slow").result() == (1, 2, "slow")
        assert pool.submit(Model("a").score, 1).result() == ("a", 1, 0)


def test_as_an_argument_it_counts_as_its_function_before_and_after_its_first_call() -> None:
    calls: list[Any] = []

    @ml_cache
    def apply(function: Callable[[int], Any]) -> Any:
        calls.append(function)
        return function(1)

    f, _ = recorded()
    before = apply.cache_key(f)
    f(1)
    assert apply.cache_key(f) == before
    assert apply(f) == apply(f) == (1, 0)
    assert len(calls) == 1
    assert apply.cache_key(resize) != before


def test_wrong_arguments_are_pythons_own_error_and_nothing_is_called() -> None:
    f, calls = recorded()
    for use in (f, f.call_with_info, f.peek, f.invalidate, f.refresh, f.cache_key, f.explain):
        with pytest.raises(TypeError, match=r"f\(\) missing 1 required positional argument: 'x'"):
            use()
        with pytest.raises(TypeError, match=r"f\(\) got an unexpected keyword argument 'z'"):
            use(1, z=2)
    assert not calls
    assert f.cache_info().misses == 0


def test_a_parameter_may_have_any_name_of_the_control_surface() -> None:
    @ml_cache
    def f(self: int, value: int, args: int, calls: int) -> int:
        return self + value + args + calls

    kwargs = {"self": 1, "value": 2, "args": 3, "calls": 4}
    assert (
        f(**kwargs) == f.refresh(**kwargs) == f.uncached(**kwargs) == f.call_with_info(**kwargs).value == 10
    )
    f.put(5, **kwargs)
    assert f(**kwargs) == 5
    assert f.invalidate(**kwargs)
    assert f.warm([kwargs]) == 1
    assert asyncio.run(f.aio(**kwargs)) == 10


# ---- the control surface, of plain functions ----


def test_cache_info_has_the_fields_of_lru_cache_first_and_counts_as_it_does() -> None:
    f, calls = recorded(backend="lru?max_items=2")
    peer = functools.lru_cache(maxsize=2, typed=True)(lambda x, y=0: (x, y))
    assert CacheInfo._fields[:4] == peer.cache_info()._fields
    for x in (1, 2, 1, 3, 1, 2):
        assert f(x) == peer(x)
        assert f.cache_info()[:4] == tuple(peer.cache_info())
    assert calls == [1, 2, 3, 2]
    f.cache_clear()
    peer.cache_clear()
    assert f.cache_info()[:4] == tuple(peer.cache_info())


def test_cache_info_counts_what_else_happened() -> None:
    f, _ = recorded(when=lambda value: value[0] > 0, backend="lru?max_bytes=1MiB")
    f(1)
    f(1)
    f(0)
    info = f.cache_info()
    assert (info.hits, info.misses, info.not_kept, info.currsize, info.errors) == (1, 2, 1, 1, 0)
    assert info.maxsize is None
    assert info.max_bytes == 2**20
    assert 0 < info.bytes < 2000


def test_an_exception_counts_as_a_miss() -> None:
    f = ml_cache(lambda x: 1 // x)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            f(0)
    assert f.cache_info()[:4] == (0, 2, None, 0)


def test_cache_parameters_are_those_of_lru_cache_and_more() -> None:
    f, _ = recorded(ttl="1h", ignore=["y"], backend="lru?max_items=5")
    parameters = f.cache_parameters()
    assert (parameters["maxsize"], parameters["typed"]) == (5, True)
    assert parameters["ttl"] == "ttl 1h"
    assert parameters["ignore"] == ["y"]
    assert parameters["namespace"].startswith(f"{__name__}.recorded.<locals>.f@")
    assert (parameters["version"], parameters["returns"]) == ("code", "readonly")


@pytest.mark.parametrize("backend", ["lru", "disk", "lru, disk"])
def test_clearing_forgets_this_function_alone(backend: str) -> None:
    f, calls = recorded(backend=backend)
    other = ml_cache(backend=backend)(lambda x: (x, "other"))
    for x in range(3):
        f(x)
        other(x)
    f.cache_clear()
    assert f.cache_info()[:4] == (0, 0, None, 0)
    assert f.peek(1) is None
    assert other.cache_info().currsize == 3
    assert other.call_with_info(1).status == "hit"
    f(1)
    assert calls == [0, 1, 2, 1]


def test_call_with_info() -> None:
    f, _ = recorded(ttl=60)
    with FakeClock(NOW) as time:
        miss = f.call_with_info(1)
        time.advance(10)
        hit = f.call_with_info(1)
    assert isinstance(hit, Result)
    assert (miss.value, miss.status, miss.tier, miss.age, miss.kept) == ((1, 0), "miss", None, 0.0, True)
    assert (hit.value, hit.status, hit.tier, hit.age, hit.kept) == ((1, 0), "hit", "lru", 10.0, True)
    assert miss.created_at == hit.created_at == datetime.fromtimestamp(NOW, UTC)
    assert miss.expires_at == hit.expires_at == datetime.fromtimestamp(NOW + 60, UTC)


def test_call_with_info_names_the_tier_and_promotes_with_the_deadline_kept() -> None:
    with FakeClock(NOW) as time:
        f, calls = recorded(backend="lru?max_items=1, disk", ttl=60)
        f(1)
        time.advance(50)
        f(2)  # evicts the other from memory
        first, second = f.call_with_info(1), f.call_with_info(1)
        assert (first.tier, second.tier) == ("disk", "lru")
        assert first.expires_at == second.expires_at == datetime.fromtimestamp(NOW + 60, UTC)
        time.advance(9.5)
        assert f.call_with_info(1).status == "hit"
        time.advance(0.5)
        assert f.call_with_info(1).status == "miss"
        assert calls == [1, 2, 1]
        f._actions.cache.store.close()


def test_a_coalesced_call_says_so() -> None:
    running, go = threading.Event(), threading.Event()

    def f(x: int) -> int:
        running.set()
        go.wait(10)
        return x

    cached = ml_cache(ignore=["running", "go"])(f)
    found: list[str] = []
    leader = threading.Thread(target=lambda: found.append(cached.call_with_info(1).status))
    leader.start()
    running.wait(10)
    follower = threading.Thread(target=lambda: found.append(cached.call_with_info(1).status))
    follower.start()
    go.set()
    for thread in (leader, follower):
        thread.join(10)
    # The follower may have come only after the leader had landed.
    assert sorted(found) in (["coalesced", "miss"], ["hit", "miss"])
    assert cached.cache_info().misses == 1


def test_peek_computes_nothing_and_counts_nothing() -> None:
    f, calls = recorded(ttl=60)
    with FakeClock(NOW) as time:
        assert f.peek(1) is None
        f(1)
        time.advance(10)
        seen = f.peek(1, y=0)
        assert (seen.value, seen.status, seen.age) == ((1, 0), "hit", 10.0)
        assert f.peek(1, 1) is None
        time.advance(50)
        assert f.peek(1) is None
    assert calls == [1]
    assert f.cache_info()[:2] == (0, 1)


def test_put() -> None:
    f, calls = recorded(ttl=60)
    with FakeClock(NOW) as time:
        assert f.put(("put", 0), 1) is None
        assert f(1) == f(x=1, y=0) == ("put", 0)
        time.advance(60)
        assert f(1) == (1, 0)
    assert calls == [1]


def test_put_none_and_what_may_not_be_kept() -> None:
    f, calls = recorded(when=lambda value: value != "bad")
    f.put(None, 1)
    assert f(1) is None
    f.put("bad", 1)
    assert f(1) == (1, 0)
    assert calls == [1]
    assert f.cache_info().not_kept == 1


def test_what_was_put_cannot_be_changed_from_outside() -> None:
    f, _ = recorded()
    value = [1]
    f.put(value, 1)
    value.append(2)
    f(1).append(3)
    assert f(1) == [1]


def test_invalidate() -> None:
    f, calls = recorded()
    assert f.invalidate(1) is False
    f(1)
    f(2)
    assert f.invalidate(x=1) is True
    assert f.invalidate(1) is False
    f(1)
    f(2)
    assert calls == [1, 2, 1]


def test_refresh() -> None:
    f, calls = recorded(ttl=60)
    with FakeClock(NOW) as time:
        assert f.refresh(1) == (1, 0)
        time.advance(40)
        assert f.refresh(1) == (1, 0)
        time.advance(40)
        assert f(1) == (1, 0)
    assert calls == [1, 1]
    assert f.cache_info()[:2] == (1, 2)


def test_a_refresh_that_raises_leaves_what_was_kept() -> None:
    answers: Iterator[int | Exception] = iter([1, KeyError("no")])

    @ml_cache(ignore=["answers"])
    def f() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert f() == 1
    with pytest.raises(KeyError):
        f.refresh()
    assert f() == 1


def test_uncached_neither_looks_nor_keeps_nor_counts() -> None:
    f, calls = recorded()
    f.put(("put", 0), 1)
    assert f.uncached(1) == (1, 0)
    assert f.uncached(2, y=3) == (2, 3)
    assert calls == [1, 2]
    assert f(1) == ("put", 0)
    assert f.peek(2, 3) is None
    assert f.cache_info().misses == 0


def test_warm() -> None:
    f, calls = recorded()
    f(1)
    assert f.warm([1, 2, (3, 4), {"x": 5}, {"y": 1, "x": 6}, 2]) == 4
    assert calls == [1, 2, 3, 5, 6]
    assert f.warm(x for x in range(1, 3)) == 0
    assert f.peek(3, 4).value == (3, 4)
    assert f.warm([]) == 0


def test_warm_of_texts_and_lists_takes_each_as_one_argument() -> None:
    f = ml_cache(len)
    assert f.warm(["abc", [1, 2]]) == 2
    assert (f.peek("abc").value, f.peek([1, 2]).value) == (3, 2)  # type: ignore[union-attr]


def test_cache_key_is_the_key_that_is_used() -> None:
    f, _ = recorded(backend="lru?max_items=5")
    key = f.cache_key(1)
    assert isinstance(key, Key)
    assert key == f.cache_key(x=1, y=0) != f.cache_key(1, 1)
    assert f.cache_info().misses == 0
    f(1)
    (store,) = f._actions.cache.store.backends
    assert [*store.keys(key.namespace)] == [key]


def test_explain_says_what_goes_into_the_key_and_what_each_tier_has() -> None:
    with FakeClock(NOW) as time:
        f, calls = recorded(backend="lru, disk", ttl="1h", ignore=["y"])
        before = f.explain(1, y=object())
        assert before.tiers == {"lru": "nothing", "disk": "nothing"}
        f(1)
        time.advance(60)
        after = f.explain(1)
    assert before.key == after.key == str(f.cache_key(1))
    assert before.arguments == {"x": "int, keyed by content", "y": "object, ignored"}
    assert after.tiers["lru"].startswith("fresh for 59m, 1m old")
    assert after.tiers["disk"].startswith("fresh for 59m, 1m old")
    text = str(after)
    for part in (after.key, "ttl 1h", "tier lru", "tier disk", "x", "ignored"):
        assert part in text
    assert len({line.index("  ", 8) for line in text.splitlines()}) >= 1
    assert calls == [1]
    assert f.cache_info().hits == 0


def test_explain_shows_what_stands_for_an_argument() -> None:
    f = ml_cache(key={"x": lambda x: f"the {x}"})(lambda x: x)
    assert f.explain(1).arguments == {"x": "int, keyed by 'the 1'"}


def test_fresh_is_for_callers_who_want_it_fresher() -> None:
    f, calls = recorded(ttl="1h")
    with FakeClock(NOW) as time:
        f(1)
        time.advance(10)
        assert f.fresh(max_age=10)(1) == (1, 0)
        assert calls == [1]
        assert f.fresh(max_age="5s")(1) == (1, 0)
        assert calls == [1, 1]
        assert f(1) == f.fresh(max_age=1)(x=1) == (1, 0)
        assert calls == [1, 1]


def test_stale_answers_say_so() -> None:
    renewed = threading.Event()
    calls: list[int] = []

    @ml_cache(ttl=Expiry(10, stale=50), ignore=["renewed"])
    def f(x: int) -> int:
        calls.append(x)
        if len(calls) > 1:
            renewed.set()
        return x

    with FakeClock(NOW) as time:
        f(1)
        time.advance(20)
        result = f.call_with_info(1)
        assert (result.value, result.status) == (1, "stale")
        assert renewed.wait(10)
    assert calls == [1, 1]
    assert f.cache_info().stale == 1


# ---- bound to an instance ----


def test_the_control_surface_of_a_method_is_that_of_its_instance() -> None:
    a, b = Model("a"), Model("b")
    Model.score.cache_clear()
    a.score.put(("put", 0, 0), 1)
    assert (a.score(1), b.score(1)) == (("put", 0, 0), ("b", 1, 0))
    assert a.score.peek(1).value == ("put", 0, 0)  # type: ignore[union-attr]
    assert a.score.invalidate(1)
    assert b.score.peek(1) is not None
    assert a.score.refresh(1) == a.score.uncached(1) == a.score.call_with_info(1).value == ("a", 1, 0)
    assert a.score.warm([2, (3, 4), {"x": 5}]) == 3
    assert a.score.peek(3, 4).value == ("a", 3, 4)  # type: ignore[union-attr]
    assert a.score.cache_key(1) == Model("a").score.cache_key(1) != b.score.cache_key(1)
    assert a.score.cache_key(1) == Model.score.cache_key(a, 1)
    assert [*a.score.explain(1).arguments] == ["self", "x", "y"]
    assert a.score.cache_info() == Model.score.cache_info()
    assert a.score.fresh(max_age=60)(2) == ("a", 2, 0)
    assert Model.made(1) == ("Model", 1)


async def test_the_awaitable_control_surface_of_a_method_is_that_of_its_instance() -> None:
    a, b = Model("a"), Model("b")
    surfaces: list[Any] = [(a.ascore, b.ascore), (a.score.aio, b.score.aio)]
    for first, second in surfaces:
        await first.cache_clear()
        await first.put(("put", 0, 0), 1)
        assert (await first(1), await second(1)) == (("put", 0, 0), ("b", 1, 0))
        assert (await first.peek(1)).value == ("put", 0, 0)
        assert await first.invalidate(1)
        assert await second.peek(1) is not None
        assert await first.refresh(1) == await first.uncached(1) == ("a", 1, 0)
        assert (await first.call_with_info(1)).status == "hit"
        assert await first.warm([2, (3, 4), {"x": 5}]) == 3
        assert await first.cache_key(1) != await second.cache_key(1)
        assert [*(await first.explain(1)).arguments] == ["self", "x", "y"]
        assert await first.cache_info() == await second.cache_info()


# ---- awaitable ----


@pytest.fixture(params=["coroutine function", "aio"])
def awaitable(request: pytest.FixtureRequest) -> Callable[..., tuple[Any, list[int]]]:
    def make(**options: Any) -> tuple[Any, list[int]]:
        made = arecorded(**options) if request.param == "coroutine function" else recorded(**options)
        face = getattr(made[0], "aio", made[0])
        assert isinstance(face, AsyncCachedFunction)
        return face, made[1]

    return make


@pytest.mark.parametrize("backend", ["lru", "disk", "lru, disk"])
async def test_the_awaitable_control_surface(awaitable: Any, backend: str) -> None:
    f, calls = awaitable(backend=backend, ttl=60)
    with FakeClock(NOW) as time:
        assert await f.peek(1) is None
        assert (await f.call_with_info(1)).status == "miss"
        time.advance(10)
        hit = await f.call_with_info(x=1)
        assert (hit.value, hit.status, hit.age, hit.tier) == ((1, 0), "hit", 10.0, backend.partition(",")[0])
        assert (await f.peek(1)).value == await f(1) == (1, 0)
        await f.put(("put", 0), 2)
        assert await f(2) == ("put", 0)
        assert await f.uncached(2) == (2, 0)
        assert await f.invalidate(2)
        assert not await f.invalidate(2)
        assert await f.refresh(1) == (1, 0)
        assert await f.warm([1, 5, (6, 7)]) == 2
        assert await f.fresh(max_age=5)(1) == (1, 0)
        assert calls == [1, 2, 1, 5, 6]
        info = await f.cache_info()
        assert (info.misses, info.currsize) == (4, 3)
        assert (await f.cache_key(1)).digest == (await f.cache_key(1, 0)).digest
        assert (await f.explain(1)).key == str(await f.cache_key(1))
        assert (await f.cache_parameters())["ttl"] == "ttl 1m"
        await f.cache_clear()
        assert await f.peek(1) is None


async def test_every_method_of_the_awaitable_face_is_awaited_where_the_plain_one_answers() -> None:
    names = {name for name in vars(CachedFunction) if not name.startswith("_")} - {"aio"}
    assert names == {name for name in vars(AsyncCachedFunction) if not name.startswith("_")}
    for name in names - {"fresh"}:
        assert inspect.iscoroutinefunction(vars(AsyncCachedFunction)[name]), name
        assert not inspect.iscoroutinefunction(vars(CachedFunction)[name]), name


def test_all_threads_have_one_awaitable_face() -> None:
    f, _ = recorded()
    barrier = threading.Barrier(8)

    def ask(_: int) -> object:
        barrier.wait(10)
        return f.aio

    with ThreadPoolExecutor(8) as pool:
        faces = [*pool.map(ask, range(8))]
    assert all(face is f.aio for face in faces)


def test_an_attribute_of_the_function_does_not_hide_the_awaitable_face() -> None:
    def plain(x: int) -> int:
        return x

    plain.aio = "mine"  # type: ignore[attr-defined]
    assert isinstance(ml_cache(plain).aio, AsyncCachedFunction)


async def test_plain_and_awaitable_face_share_everything() -> None:
    f, calls = recorded()
    assert await f.aio(1) == f(1) == (1, 0)
    assert f.aio is f.aio
    assert f.cache_info() == await f.aio.cache_info()
    assert calls == [1]


async def test_a_hit_on_the_event_loop_needs_no_thread_and_no_turn_of_the_loop() -> None:
    f, _ = recorded()
    f(1)
    before = threading.active_count()
    with pytest.raises(StopIteration) as answer:
        f.aio(1).send(None)
    assert answer.value.value == (1, 0)
    assert threading.active_count() == before


@pytest.mark.parametrize(
    "use",
    [
        lambda f: f(1),
        lambda f: f.call_with_info(1),
        lambda f: f.cache_key(1),
        lambda f: f.cache_info(),
        lambda f: f.cache_clear(),
        lambda f: f.explain(1),
    ],
    ids=["call", "call_with_info", "cache_key", "cache_info", "cache_clear", "explain"],
)
async def test_no_backend_is_opened_or_asked_on_the_event_loop(
    use: Callable[[Any], Any], awaitable: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[str] = set()

    def noted(owner: Any, name: str) -> None:
        function = getattr(owner, name)

        def note(*args: Any, **kwargs: Any) -> Any:
            threads.add(threading.current_thread().name)
            return function(*args, **kwargs)

        monkeypatch.setattr(owner, name, note)

    noted(cache, "open_stores")
    for name in ("__init__", "get", "put", "lock", "usage", "clear"):
        noted(Disk, name)
    f, _ = awaitable(backend=f"lru, disk://{tmp_path}/c")
    await use(f)
    assert threads
    assert threading.current_thread().name not in threads


async def test_a_miss_on_the_event_loop_does_not_hold_it() -> None:
    running, go = threading.Event(), threading.Event()

    @ml_cache(ignore=["running", "go"])
    def f(x: int) -> int:
        running.set()
        assert go.wait(10)
        return x

    task = asyncio.create_task(f.aio(1))
    while not running.is_set():
        await asyncio.sleep(0.001)
    go.set()
    assert await task == 1


async def test_a_cancelled_caller_does_not_cancel_the_others() -> None:
    go = asyncio.Event()
    calls: list[int] = []

    @ml_cache(ignore=["go"])
    async def f(x: int) -> int:
        calls.append(x)
        await go.wait()
        return x

    first, second, third = (asyncio.create_task(f(1)) for _ in range(3))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    third.cancel()
    await asyncio.sleep(0)
    go.set()
    assert await second == 1
    assert calls == [1]
    assert [first.cancelled(), third.cancelled()] == [True, True]
    assert await f(1) == 1


async def test_a_failing_leader_fails_all_who_waited_after_one_execution() -> None:
    calls: list[int] = []

    @ml_cache
    async def f(x: int) -> int:
        calls.append(x)
        await asyncio.sleep(0)
        raise KeyError(x)

    raised = await asyncio.gather(*(f(1) for _ in range(10)), return_exceptions=True)
    assert [type(each) for each in raised] == [KeyError] * 10
    assert calls == [1]
    with pytest.raises(KeyError):
        await f(1)
    assert calls == [1, 1]


async def test_module_functions_answer_in_any_loop() -> None:
    assert await fetch("u") == "u 3"
    assert await asyncio.to_thread(lambda: asyncio.run(fetch("u"))) == "u 3"
    await fetch.cache_clear()
