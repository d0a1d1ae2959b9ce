"""Regions of dogpile.cache as backends: whose they are, what is honoured, and that nothing is unpickled."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from string import Template
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest
from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE
from dogpile.cache.proxy import ProxyBackend

from mlcache import ml_cache, open_backend
from mlcache.backends.dogpile import Dogpile
from mlcache.entry import Key
from mlcache.errors import ConfigurationError, MlcacheWarning
from mlcache.testing import FakeClock


def key(number: int) -> Key:
    return Key("app.f@1", number.to_bytes(16, "big"))


def region_in(store: dict[str, Any], kind: str = "memory", **options: Any) -> Any:
    """A region whose backend keeps things in ``store``."""
    region = make_region(**options)
    return region.configure(f"dogpile.cache.{kind}", expiration_time=60, arguments={"cache_dict": store})


def test_a_region_is_a_backend() -> None:
    store: dict[str, Any] = {}
    calls: list[int] = []

    @ml_cache(backend=region_in(store))
    def double(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        calls.append(1)
        return 2 * values

    for _ in range(3):
        assert double(np.arange(3.0)).tolist() == [0, 2, 4]
    assert (len(calls), len(store)) == (1, 1)
    assert double.call_with_info(np.arange(3.0)).tier == "dogpile"
    assert double.invalidate(np.arange(3.0)) is True
    assert double.invalidate(np.arange(3.0)) is False
    assert store == {}


def test_a_region_of_a_users_own_class_is_one_too() -> None:
    from dogpile.cache.region import CacheRegion

    class Mine(CacheRegion):  # type: ignore[misc,unused-ignore]
        """With nothing of its own."""

    assert ml_cache(backend=Mine().configure("dogpile.cache.memory"))(lambda: 1)() == 1


def test_a_region_may_be_configured_after_the_function_was_decorated() -> None:
    region = make_region("late")

    @ml_cache(backend=["lru?max_items=1", region])
    def double(number: int) -> int:
        return 2 * number

    with pytest.warns(MlcacheWarning, match="dogpile failed at get.*No backend is configured"):
        assert double(1) == 2
    region.configure("dogpile.cache.memory")
    double(2)
    double(3)
    assert double.call_with_info(2).tier == "dogpile"


def test_a_region_may_be_configured_anew() -> None:
    first, second = {}, {}  # type: ignore[var-annotated]
    region = region_in(first)
    backend = Dogpile(region)
    backend.put(key(1), b"frame", 0.0)
    region.configure("dogpile.cache.memory", replace_existing_backend=True, arguments={"cache_dict": second})
    assert backend.get(key(1)) is None
    backend.put(key(1), b"other", 0.0)
    assert (len(first), len(second)) == (1, 1)


def test_the_key_mangler_and_the_proxies_of_the_region_are_honoured() -> None:
    class Count(ProxyBackend):  # type: ignore[misc,unused-ignore]
        """Counts what is asked for."""

        asked = 0

        def get(self, key: str) -> Any:
            Count.asked += 1
            return self.proxied.get(key)

    store: dict[str, Any] = {}
    region = region_in(store, key_mangler=lambda key: f"mine/{key}")
    region.wrap(Count)
    backend = Dogpile(region)
    backend.put(key(1), b"frame", 0.0)
    assert list(store) == [f"mine/mlcache:{1:032x}"]
    assert backend.get(key(1)) == b"frame"
    assert Count.asked == 1


def test_the_entry_says_when_it_expires_and_not_the_region() -> None:
    store: dict[str, Any] = {}
    region = region_in(store, "memory")
    region.expiration_time = 1e-9

    with FakeClock() as time:

        @ml_cache(backend=region, ttl=100)
        def double(number: int) -> int:
            return 2 * number

        double(1)
        time.advance(99)
        assert double.call_with_info(1).status == "hit"
        time.advance(1)
        assert double.call_with_info(1).status == "miss"


def test_what_the_region_has_invalidated_is_gone() -> None:
    region = region_in({})
    backend = Dogpile(region)
    backend.put(key(1), b"frame", 0.0)
    region.invalidate()
    assert backend.get(key(1)) is None


def test_the_users_own_values_in_the_region_are_left_alone() -> None:
    region = region_in({}, "memory_pickle")
    region.set("mine", {"a": 1})
    Dogpile(region).put(key(1), b"frame", 0.0)
    assert region.get("mine") == {"a": 1}
    assert region.serializer is not None


def test_nothing_but_bytes_is_taken_for_a_frame() -> None:
    region = region_in({})
    region.set(f"mlcache:{1:032x}", "no bytes")
    assert Dogpile(region).get(key(1)) is None


class Hostile:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._mark,)


def test_a_planted_pickle_is_never_loaded(tmp_path: Path) -> None:
    mark, store = tmp_path / "loaded", {}  # type: ignore[var-annotated]
    region = region_in(store, "memory_pickle")

    @ml_cache(backend=region)
    def double(number: int) -> int:
        return 2 * number

    double(4)
    (name,) = store
    region.set(name, Hostile(mark))
    assert region.get(name) is not NO_VALUE
    assert mark.exists(), "the pickle works"
    mark.unlink()
    with pytest.warns(MlcacheWarning, match="dogpile failed at get"):
        assert double(4) == 8
    assert not mark.exists()
    assert double.call_with_info(4).status == "hit"


def test_garbage_is_a_miss_with_a_warning() -> None:
    store: dict[str, Any] = {}

    @ml_cache(backend=region_in(store, "memory_pickle"))
    def double(number: int) -> int:
        return 2 * number

    double(4)
    (name,) = store
    store[name] = b"garbage"
    with pytest.warns(MlcacheWarning, match="dogpile failed at get"):
        assert double(4) == 8


def test_what_needs_pickle_is_not_kept_without_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    def template(text: str) -> Template:
        return Template(text)

    store: dict[str, Any] = {}
    with pytest.warns(MlcacheWarning, match="MLCACHE_SECRET"):
        assert ml_cache(backend=region_in(store))(template)("a").template == "a"
    assert store == {}
    monkeypatch.setenv("MLCACHE_SECRET", "a long enough secret for the tests")
    cached = ml_cache(backend=region_in(store))(template)
    cached("a")
    assert cached.call_with_info("a").status == "hit"


def test_that_one_function_cannot_be_forgotten_is_told() -> None:
    @ml_cache(backend=region_in({}))
    def double(number: int) -> int:
        return 2 * number

    double(4)
    with pytest.warns(MlcacheWarning, match="dogpile cannot forget all of one function"):
        double.cache_clear()


class Mutex:
    """A mutex that only the thread which took it may let go of, as dogpile's for Redis is."""

    def __init__(self, held: dict[str, int], name: str) -> None:
        self._held = held
        self._name = name

    def acquire(self, wait: bool = True) -> bool:  # noqa: FBT001, FBT002 - as dogpile has it
        assert not wait
        return self._held.setdefault(self._name, threading.get_ident()) == threading.get_ident()

    def release(self) -> None:
        assert self._held.pop(self._name) == threading.get_ident()


class Locked(ProxyBackend):  # type: ignore[misc,unused-ignore]
    """Gives a region mutexes, which are held in ``held``."""

    held: ClassVar[dict[str, int]] = {}

    def get_mutex(self, key: str) -> Any:
        return Mutex(self.held, key)


def locked_region(store: dict[str, Any]) -> Any:
    Locked.held.clear()
    region = make_region(key_mangler=lambda name: f"mangled:{name}")
    arguments = {"cache_dict": store}
    return region.configure("dogpile.cache.memory", arguments=arguments, wrap=[Locked])


class TestLocks:
    def test_the_regions_own_mutex_is_held_while_an_answer_is_computed(self) -> None:
        held: list[set[str]] = []

        @ml_cache(backend=locked_region({}), ignore="held")
        def double(number: int) -> int:
            held.append(set(Locked.held))
            return 2 * number

        assert double(4) == 8
        assert held == [{f"mangled:mlcache:{double.cache_key(4).digest.hex()}"}]
        assert Locked.held == {}

    async def test_the_thread_that_took_it_lets_go_of_it_on_an_event_loop_too(self) -> None:
        @ml_cache(backend=locked_region({}))
        async def double(number: int) -> int:
            return 2 * number

        assert await asyncio.gather(*(double(number) for number in range(20))) == list(range(0, 40, 2))
        assert Locked.held == {}

    def test_what_its_holder_brings_answers_those_who_wait(self) -> None:
        store: dict[str, Any] = {}
        calls: list[int] = []

        def double(number: int) -> int:
            calls.append(number)
            return 2 * number

        region = locked_region(store)
        # As two processes have them: each with flights of its own.
        first, other = (ml_cache(backend=region, name="double", version="1")(double) for _ in range(2))
        name = f"mangled:mlcache:{first.cache_key(4).digest.hex()}"
        Locked.held[name] = -1
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(other, 4)
            first.put(8, 4)
            assert waiting.result(10) == 8
        assert (calls, Locked.held) == ([], {name: -1})

    def test_who_has_waited_long_enough_computes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLCACHE_WAIT", "20ms")

        @ml_cache(backend=locked_region({}))
        def double(number: int) -> int:
            return 2 * number

        name = f"mangled:mlcache:{double.cache_key(4).digest.hex()}"
        Locked.held[name] = -1
        assert double(4) == 8
        assert Locked.held == {name: -1}

    def test_one_that_fails_is_told_of_and_the_call_goes_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(self: Mutex, _wait: object = None) -> bool:
            raise OSError(f"no server for {self._name[:7]}")

        for method, operation in (("acquire", "lock"), ("release", "unlock")):
            with monkeypatch.context() as patch:
                patch.setattr(Mutex, method, broken)
                double = ml_cache(backend=locked_region({}))(lambda number: 2 * number)
                with pytest.warns(MlcacheWarning, match=f"dogpile failed at {operation}; .* for mangled"):
                    assert double(4) == 8

    def test_one_that_nobody_knows_of_is_let_go(self) -> None:
        lock = Dogpile(locked_region({})).lock(key(1))
        assert lock is not None
        assert lock.acquire()
        assert Locked.held
        del lock
        while Locked.held:
            pass

    def test_one_for_all_keys_is_left_alone(self, tmp_path: Path) -> None:
        backend = open_backend(f"dogpile://dogpile.cache.dbm?arguments.filename={tmp_path}/ml.dbm")
        assert isinstance(backend, Dogpile)
        assert backend.lock(key(1)) is None

        @ml_cache(backend=backend)
        def inner(number: int) -> int:
            return number

        @ml_cache(backend=backend)
        def outer(number: int) -> int:
            return inner(number) + inner(number + 1)

        assert outer(4) == 9

    def test_a_region_without_mutexes_has_none(self) -> None:
        assert Dogpile(region_in({})).lock(key(1)) is None


class TestUrls:
    def test_they_name_a_backend_of_dogpile_and_its_arguments(self, tmp_path: Path) -> None:
        url = f"dogpile://dogpile.cache.dbm?arguments.filename={tmp_path}/ml.dbm&arguments.rw_lockfile=false"
        backend = open_backend(url)
        assert isinstance(backend, Dogpile)
        backend.put(key(1), b"frame", 0.0)
        assert backend.get(key(1)) == b"frame"
        assert list(tmp_path.glob("ml.dbm*"))
        assert not list(tmp_path.glob("*.rw.lock")), (
            "the argument was read as False, as in a file of settings"
        )
        assert repr(backend) == "<dogpile: region without a name, DBMBackend>"

    def test_frames_are_compressed_on_request(self) -> None:
        sizes: list[int] = []
        for option in ("", "?compress=zstd"):
            backend = open_backend(f"dogpile://dogpile.cache.memory{option}")
            assert isinstance(backend, Dogpile)

            @ml_cache(backend=backend)
            def zeros(number: int) -> npt.NDArray[np.float64]:
                return np.zeros(number)

            zeros(10_000)
            ((_, found),) = [(name, value.payload) for name, value in backend._region.backend._cache.items()]
            sizes.append(len(found))
        assert sizes[0] > 80_000
        assert sizes[1] < 8000

    @pytest.mark.parametrize(
        ("url", "message"),
        [
            ("dogpile", "say which of dogpile's backends, such as dogpile://dogpile.cache.dbm"),
            ("dogpile://dogpile.cache.memory/path", "say which of dogpile's backends"),
            ("dogpile://dogpile.cache.memroy", "Couldn't find cache plugin to load: dogpile.cache.memroy"),
            ("dogpile://dogpile.cache.dbm", "dogpile cannot configure it: KeyError: 'filename'"),
            ("dogpile://dogpile.cache.memory?filename=x", "dogpile has no option 'filename'"),
            ("dogpile://dogpile.cache.memory?compress=gzip", "compress of backend .* is 'gzip': give zstd"),
        ],
    )
    def test_what_cannot_be_opened_is_a_clear_error(self, url: str, message: str) -> None:
        with pytest.raises(ConfigurationError, match=message):
            open_backend(url)

    def test_an_argument_that_is_a_secret_is_not_told(self) -> None:
        with pytest.raises(ConfigurationError) as caught:
            open_backend("dogpile://dogpile.cache.nothing?arguments.password=hunter2")
        assert "hunter2" not in str(caught.value)


def test_without_dogpile_the_error_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['dogpile'] = sys.modules['dogpile.cache'] = None\n"
        "from mlcache import open_backend; open_backend('dogpile://dogpile.cache.memory')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "needs the package 'dogpile.cache': install it with pip install 'mlcache[dogpile]'" in done.stderr


def test_decorating_with_other_backends_imports_neither_dogpile_nor_joblib() -> None:
    program = (
        "import sys; from mlcache import ml_cache, open_backend\n"
        "ml_cache(backend=['lru', open_backend('gdsf')])(abs)(-1)\n"
        "print([name for name in ('dogpile', 'joblib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
