"""Assembly: backends in every form, shared and apart, broken and missing; time from end to end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

from mlcache import BackendError, ConfigurationError, Expiry, MlcacheWarning, ml_cache, open_backend
from mlcache.backends.disk import Disk
from mlcache.backends.memory import Lru
from mlcache.entry import Entry, Key
from mlcache.testing import FakeClock

ROOT = Path(__file__).parents[1]
NOW = 1_700_000_000.0


class Minimal:
    """No more than a backend must have."""

    name = "minimal"
    holds: ClassVar[Literal["entries"]] = "entries"
    blocking = False

    def __init__(self) -> None:
        self.entries: dict[Key, Entry] = {}

    def get(self, key: Key) -> Entry | None:
        return self.entries.get(key)

    def put(self, key: Key, entry: Entry) -> None:
        self.entries[key] = entry

    def delete(self, key: Key) -> bool:
        return self.entries.pop(key, None) is not None


class MinimalBytes:
    """No more than a backend of bytes must have."""

    name = "minimal bytes"
    holds: ClassVar[Literal["bytes"]] = "bytes"
    blocking = False

    def __init__(self) -> None:
        self.frames: dict[Key, bytes] = {}

    def get(self, key: Key) -> bytes | None:
        return self.frames.get(key)

    def put(self, key: Key, data: bytes, expires_at: float) -> None:
        assert expires_at > 0
        self.frames[key] = data

    def delete(self, key: Key) -> bool:
        return self.frames.pop(key, None) is not None


class Failing(Minimal):
    """Each of its methods raises."""

    def get(self, key: Key) -> Entry | None:
        raise OSError(f"cannot get {key}")

    def put(self, key: Key, entry: Entry) -> None:
        raise OSError(f"cannot put {key} {entry}")

    def delete(self, key: Key) -> bool:
        raise OSError(f"cannot delete {key}")


def run(code: str, **environment: str) -> str:
    """What a new process prints."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    return done.stdout


# ---- backends in every form ----


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        (lambda _: None, ["lru"]),
        (lambda _: "lru", ["lru"]),
        (lambda _: "LRU", ["lru"]),
        (lambda _: "lru?max_items=5", ["lru"]),
        (lambda tmp: f"disk://{tmp}/x?max_bytes=1MiB", ["disk"]),
        (lambda tmp: f"lru, disk://{tmp}/x", ["lru", "disk"]),
        (lambda tmp: ["lru", f"disk://{tmp}/x"], ["lru", "disk"]),
        (lambda tmp: ("lru?max_items=2, lru", f"disk://{tmp}/x"), ["lru", "lru", "disk"]),
        (lambda _: Lru(max_bytes=10_000), ["lru"]),
        (lambda tmp: [Lru(max_bytes=10_000), Disk(tmp / "x", max_bytes=10**6)], ["lru", "disk"]),
        (lambda _: Minimal(), ["minimal"]),
        (lambda _: ["lru", MinimalBytes()], ["lru", "minimal bytes"]),
    ],
)
def test_a_backend_may_be_given_in_many_forms(
    spec: Callable[[Path], Any], names: list[str], tmp_path: Path
) -> None:
    calls: list[int] = []

    @ml_cache(backend=spec(tmp_path))
    def f(x: int) -> Any:
        calls.append(x)
        return {"x": x, "a": np.arange(x)}

    assert f(3)["x"] == f(3)["x"] == 3
    assert calls == [3]
    tiers = f._actions.cache.store
    assert [each.name for each in tiers.backends] == names
    for each in tiers.backends:
        assert each.get(f.cache_key(3)) is not None
    assert f.invalidate(3)
    f(3)
    assert calls == [3, 3]
    tiers.close()


def test_a_plain_name_is_one_store_and_a_url_with_options_is_its_own() -> None:
    f, g = (ml_cache(each) for each in (lambda x: x, lambda x: -x))
    h = ml_cache(backend="lru?max_items=5")(lambda x: x * 2)
    f(1)
    g(1)
    h(1)
    assert f.cache_info().bytes == g.cache_info().bytes > h.cache_info().bytes
    assert [each.cache_info().currsize for each in (f, g, h)] == [1, 1, 1]
    assert f._actions.cache.store.backends[0] is open_backend("lru")


def test_an_opened_backend_can_be_shared_and_looked_into() -> None:
    store = open_backend("lru?max_items=2")
    f, g = (ml_cache(backend=store)(each) for each in (lambda x: x, lambda x: -x))
    for x in range(2):
        f(x)
        g(x)
    assert f.cache_info().currsize + g.cache_info().currsize == 2
    assert "2 entries" in repr(store)


def test_open_backend_opens_one() -> None:
    with pytest.raises(ConfigurationError, match="several backends"):
        open_backend("lru, disk")


def test_a_bound_evicts_the_least_recently_used_and_the_answers_stay_right() -> None:
    calls: list[int] = []

    @ml_cache(backend="lru?max_items=2")
    def f(x: int) -> int:
        calls.append(x)
        return x

    for x in (1, 2, 1, 3, 1, 2):
        assert f(x) == x
    assert calls == [1, 2, 3, 2]


def test_a_value_larger_than_the_bound_is_delivered_and_not_kept() -> None:
    f = ml_cache(backend="lru?max_bytes=2KiB")(lambda n: b"x" * n)
    with pytest.warns(MlcacheWarning, match=r"does not fit.*MLCACHE_MAX_BYTES"):
        assert len(f(5000)) == 5000
    assert len(f(10)) == 10
    assert (f.cache_info().not_kept, f.cache_info().currsize, f.cache_info().errors) == (1, 1, 0)


# ---- time, from end to end ----


@pytest.mark.parametrize("backend", ["lru", "disk", "lru, disk"])
@pytest.mark.parametrize(
    "ttl",
    [
        60,
        "1m",
        timedelta(minutes=1),
        datetime.fromtimestamp(NOW + 60, UTC),
        lambda _: 60,
        lambda value: f"{value}s",
    ],
    ids=["seconds", "text", "timedelta", "datetime", "function", "function to text"],
)
def test_an_answer_ends_with_its_time(backend: str, ttl: Any) -> None:
    calls: list[int] = []
    with FakeClock(NOW) as time:

        @ml_cache(backend=backend, ttl=ttl)
        def f(x: int) -> int:
            calls.append(x)
            return x

        f(60)
        time.advance(59.999)
        f(60)
        assert calls == [60]
        time.advance(0.001)
        f(60)
        assert calls == [60, 60]


def test_an_absolute_end_that_has_come_keeps_nothing_more() -> None:
    calls: list[int] = []
    with FakeClock(NOW) as time:

        @ml_cache(ttl=datetime.fromtimestamp(NOW + 60, UTC))
        def f(x: int) -> int:
            calls.append(x)
            return x

        f(1)
        time.advance(60)
        f(1)
        f(1)
        assert calls == [1, 1, 1]
        assert f.call_with_info(1).http_headers() == {"Cache-Control": "no-store"}
    assert f.cache_info().not_kept == 3


def test_a_ttl_by_value_may_keep_nothing_and_keep_for_ever() -> None:
    calls: list[Any] = []
    ttls: dict[str, Any] = {"never": 0, "over": timedelta(seconds=-5), "always": None, "short": 10}
    with FakeClock(NOW) as time:

        @ml_cache(ttl=lambda value: ttls[value])
        def f(x: str) -> str:
            calls.append(x)
            return x

        for _ in range(2):
            for name in ttls:
                f(name)
        assert calls == ["never", "over", "always", "short", "never", "over"]
        time.advance(10**9)
        f("always")
        f("short")
    assert calls[6:] == ["short"]


def test_a_promoted_entry_keeps_its_deadline() -> None:
    with FakeClock(NOW) as time:
        f = ml_cache(backend="lru, disk", ttl=60)(lambda x: x)
        f(1)
        memory: Any = f._actions.cache.store.backends[0]
        for _ in range(3):
            memory.clear(f._actions.cache.namespace)
            time.advance(15)
            result = f.call_with_info(1)
            assert (result.status, result.tier) == ("hit", "disk")
            assert memory.get(f.cache_key(1)).fresh_until == NOW + 60
        time.advance(15)
        assert f.call_with_info(1).status == "miss"


def test_a_clock_that_is_set_back_makes_nothing_fresh_for_ever() -> None:
    with FakeClock(NOW):
        f = ml_cache(backend="lru?max_items=5", ttl=60)(lambda x: x)
        f(1)
    with FakeClock(NOW - 10**6) as time:
        time.advance(10**6 + 61)
        assert f.call_with_info(1).status == "miss"


# ---- falling open ----


def test_a_backend_that_raises_does_not_fail_the_call() -> None:
    calls: list[int] = []

    @ml_cache(backend=Failing())
    def f(x: int) -> int:
        calls.append(x)
        return x

    with pytest.warns(
        MlcacheWarning, match="minimal failed at get; calls go on without: cannot get"
    ) as warned:
        assert [f(1), f(1), f(2)] == [1, 1, 2]
    assert len(warned) == 1
    assert calls == [1, 1, 2]
    assert f.cache_info().errors == 6
    assert f.peek(1) is None
    assert f.invalidate(1) is False
    f.put(5, 1)
    assert f.refresh(1) == 1
    assert f.explain(1).tiers == {"minimal": "nothing"}


async def test_a_backend_that_raises_does_not_fail_the_call_on_an_event_loop() -> None:
    @ml_cache(backend=Failing())
    async def f(x: int) -> int:
        return x

    with pytest.warns(MlcacheWarning, match="calls go on without"):
        assert [await f(1), await f(1)] == [1, 1]
    assert (await f.cache_info()).errors == 4


@pytest.mark.parametrize("suspending", [False, True])
async def test_a_damaged_entry_is_one_error_and_one_warning(suspending: bool) -> None:  # noqa: FBT001
    store = MinimalBytes()
    f = ml_cache(backend=store)(lambda x: x)
    f(1)
    [(key, frame)] = store.frames.items()
    store.frames[key] = frame[:-1]
    with pytest.warns(MlcacheWarning, match="damaged or cut short") as warned:
        assert (await f.aio(1) if suspending else f(1)) == 1
    assert len(warned) == f.cache_info().errors == 1
    assert f.call_with_info(1).status == "hit"


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"ttl": lambda value: value["ttl"]}, "ttl raised TypeError"),
    ({"ttl": lambda _: "soon"}, "ttl raised ConfigurationError.*soon"),
    ({"ttl": Expiry(lambda value: value.ttl, stale=5, jitter=0.1)}, "ttl raised AttributeError"),
    ({"when": lambda value: value.is_good}, "when raised AttributeError"),
    ({"when": np.ones}, "when raised ValueError.*ambiguous"),
]


@pytest.mark.parametrize("suspending", [False, True])
@pytest.mark.parametrize(("options", "message"), BROKEN)
async def test_an_option_that_raises_does_not_lose_the_answer(
    options: dict[str, Any],
    message: str,
    suspending: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    f = ml_cache(**options)(lambda x: x)
    with pytest.warns(MlcacheWarning, match=f"{message}.*delivered, and not kept"):
        assert (await f.aio(3) if suspending else f(3)) == 3
    assert (await f.aio(3) if suspending else f(3)) == 3  # and warns no more
    info = f.cache_info()
    assert (info.misses, info.not_kept, info.errors, info.currsize) == (2, 2, 2, 0)
    monkeypatch.setenv("MLCACHE_STRICT", "1")
    strict = ml_cache(**options)(lambda x: x)
    with pytest.raises(Exception, match=r"soon|subscriptable|attribute|ambiguous"):
        await strict.aio(3) if suspending else strict(3)


def test_a_broken_tier_leaves_the_others() -> None:
    calls: list[int] = []

    @ml_cache(backend=[Failing(), "lru"])
    def f(x: int) -> int:
        calls.append(x)
        return x

    with pytest.warns(MlcacheWarning):
        assert [f(1), f(1)] == [1, 1]
    assert calls == [1]
    assert f.call_with_info(1).tier == "lru"


def test_in_strict_mode_what_fails_in_a_cache_fails_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLCACHE_STRICT", "1")
    f = ml_cache(backend=Failing())(lambda x: x)
    with pytest.raises(BackendError, match="minimal failed at get: cannot get") as caught:
        f(1)
    assert isinstance(caught.value.__cause__, OSError)
    assert f.cache_info().errors == 1


def test_clearing_a_store_that_cannot_is_told() -> None:
    for backend in (Minimal(), MinimalBytes()):
        f = ml_cache(backend=backend)(lambda x: x)
        f(1)
        with pytest.warns(MlcacheWarning, match="clear"):
            f.cache_clear()
        assert f.call_with_info(1).status == "hit"


def test_an_unusable_folder_is_warned_of_once_and_falls_open(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    f = ml_cache(backend=f"disk://{tmp_path}/file/cache")(lambda x: x)
    with pytest.warns(MlcacheWarning, match=r"file/cache cannot be used") as warned:
        assert [f(1), f(1), f(2)] == [1, 1, 2]
    assert len(warned) == 1


# ---- other processes ----


FUNCTION = """
    import json, sys
    from mlcache import ml_cache

    class Model:
        scale = 2

    @ml_cache(backend="disk", ttl="1h")
    def f(x, options=frozenset({"a", "b", "c"}), *, mode=None):
        return [x, sorted(options), mode]

    @ml_cache(backend="disk")
    def local(x, model=Model):
        return [x, model.scale]

    results = [
        f.call_with_info({"k": [1, "two", 3.0]}, {"x", "y", "z"}, mode=("a", None)),
        f.call_with_info("text"),
        local.call_with_info(1),
    ]
    print(json.dumps([[each.value, each.status, each.tier] for each in results]))
    print(str(f.cache_key("text")), str(local.cache_key(1)))
"""


def test_a_second_process_finds_what_the_first_one_kept_whatever_its_hash_seed() -> None:
    first, second, third = (run(FUNCTION, PYTHONHASHSEED=seed) for seed in ("1", "2", "random"))
    answers = [json.loads(text.splitlines()[0]) for text in (first, second, third)]
    assert [[each[0] for each in answer] for answer in answers] == [[each[0] for each in answers[0]]] * 3
    assert [each[1:] for each in answers[0]] == [["miss", None]] * 3
    assert [each[1:] for each in answers[1]] == [each[1:] for each in answers[2]] == [["hit", "disk"]] * 3
    assert first.splitlines()[1] == second.splitlines()[1] == third.splitlines()[1]


def test_a_changed_function_does_not_find_the_answers_of_the_old_one() -> None:
    code = """
        from mlcache import ml_cache

        @ml_cache(backend="disk")
        def f(x):
            return x + {step}

        print(f(1), f.cache_info().hits)
    """
    assert [run(code.format(step=step)) for step in (1, 1, 2)] == ["2 0\n", "2 1\n", "3 0\n"]
    assert run(code.format(step=1)) == "2 1\n", "what the old one computed is still there for it"


@pytest.mark.parametrize("package", ["diskcache", "platformdirs"])
@pytest.mark.parametrize("backend", ["disk", "disk:///{folder}"])
def test_a_missing_package_says_what_to_install(package: str, backend: str, tmp_path: Path) -> None:
    code = f"""
        import sys
        sys.modules[{package!r}] = None
        from mlcache import MissingExtraError, ml_cache

        f = None
        try:
            f = ml_cache(backend={backend.format(folder=tmp_path)!r})(len)
            f([1])
        except MissingExtraError as error:
            assert isinstance(error, ImportError)
            print(error)
    """
    expected = f"backend 'disk' needs the package '{package}': install it with pip install 'mlcache[disk]'\n"
    assert run(code) == expected
