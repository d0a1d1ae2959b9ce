"""Single items in memory, which take a shorter way than the flow: it must end where the flow does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mlcache import Batch, Expiry, RecursiveCallError, hook, ml_cache
from mlcache.backends.memory import Lru
from mlcache.entry import Entry, Key
from mlcache.testing import FakeClock

LRU = "lru?max_bytes=8MiB"


class Upper:
    """A function of texts, what it was called with, and ``one`` in a thread or on an event loop."""

    def __init__(self, *, on_loop: bool, **options: Any) -> None:
        self.calls: list[list[str]] = []
        self.broken = False

        @ml_cache(backend=LRU, batch="texts", version="1", ignore=["self"], **options)
        def upper(texts: list[str]) -> list[str]:
            self.calls.append(texts)
            if self.broken or "bad" in texts:
                raise ValueError("broken")
            return [text.upper() for text in texts]

        self.cached: Any = upper
        self._on_loop = on_loop

    def __ml_cache_key__(self) -> str:
        return "upper"

    def one(self, text: str) -> Any:
        return asyncio.run(self.cached.aio.one(text)) if self._on_loop else self.cached.one(text)


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    with FakeClock() as clock:
        yield clock


def wait_until(condition: Callable[[], object]) -> None:
    pause = threading.Event()
    while not condition():
        pause.wait(0.001)


def close(cached: Any) -> None:
    cached._actions.cache.store.close()


on_both = pytest.mark.parametrize("on_loop", [False, True], ids=["thread", "loop"])


@on_both
def test_it_is_counted_as_any_call_is(*, on_loop: bool) -> None:
    upper = Upper(on_loop=on_loop)
    assert [upper.one(text) for text in ("a", "b", "a")] == ["A", "B", "A"]
    info = upper.cached.cache_info()
    assert (info.hits, info.misses, info.currsize) == (1, 2, 2)
    events: list[str] = []
    with hook(lambda event: events.append(type(event).__name__)):
        assert [upper.one(text) for text in ("a", "c")] == ["A", "C"]
    assert events == ["Hit", "Computed"]


@on_both
def test_what_is_stale_is_served_and_renewed(*, on_loop: bool, clock: FakeClock) -> None:
    upper = Upper(on_loop=on_loop, ttl=Expiry(10, stale=100))
    upper.one("a")
    clock.advance(11)
    assert upper.one("a") == "A"
    wait_until(lambda: not upper.cached._actions.cache.flights)
    assert upper.calls == [["a"], ["a"]]
    assert upper.cached.call_with_info(["a"]).status == "hit"


def test_what_is_stale_is_renewed_together_and_waits_for_a_slot(clock: FakeClock) -> None:
    calls: list[list[int]] = []
    go = threading.Event()
    go.set()

    @ml_cache(backend=LRU, batch="numbers", ttl=Expiry(10, stale=60), version="1", ignore=["calls", "go"])
    def negative(numbers: list[int]) -> list[int]:
        calls.append(numbers)
        assert go.wait(20)
        return [-number for number in numbers]

    assert negative([1, 2, 3]) == [-1, -2, -3]
    clock.advance(11)
    go.clear()
    assert negative.one(1) == -1
    wait_until(lambda: len(calls) > 1)
    assert [negative.one(number) for number in (2, 3)] == [-2, -3]
    go.set()
    wait_until(lambda: not negative._actions.cache.flights)
    assert calls == [[1, 2, 3], [1], [2, 3]]


async def test_what_is_stale_is_renewed_together_by_tasks_too(clock: FakeClock) -> None:
    calls: list[list[int]] = []
    go = asyncio.Event()
    go.set()

    @ml_cache(
        backend=LRU, batch=Batch("numbers", max_size=40), ttl=Expiry(10, stale=60), ignore=["calls", "go"]
    )
    async def negative(numbers: list[int]) -> list[int]:
        calls.append(numbers)
        await go.wait()
        return [-number for number in numbers]

    cached: Any = negative
    numbers = list(range(50))
    assert await cached(numbers) == [-number for number in numbers]
    del calls[:]
    clock.advance(11)
    go.clear()
    assert await cached.one(0) == 0
    await asyncio.sleep(0)
    assert calls == [[0]], "a lone item is renewed at once"
    assert await asyncio.gather(*map(cached.one, numbers)) == [-number for number in numbers]
    go.set()
    while cached._actions.cache.flights:
        await asyncio.sleep(0)
    assert calls == [[0], numbers[1:41], numbers[41:]]
    assert (await cached.call_with_info(numbers)).status == "hit"


async def test_what_a_batch_of_tasks_finds_stale_waits_for_its_slot(clock: FakeClock) -> None:
    calls: list[list[Any]] = []

    @ml_cache(backend=LRU, batch="numbers", ttl=Expiry(10, stale=60), ignore=["calls"])
    async def size(numbers: list[int]) -> list[int]:
        calls.append(numbers)
        if -1 in numbers:
            assert await asyncio.gather(*map(cached.one, (1, 2, 3))) == [1, 2, 3]
            await asyncio.sleep(0)
            calls.append(["the batch ends"])
        return [abs(number) for number in numbers]

    cached: Any = size
    await cached([1, 2, 3])
    clock.advance(11)
    assert await cached.one(-1) == 1
    while cached._actions.cache.flights:
        await asyncio.sleep(0)
    assert calls == [[1, 2, 3], [-1], ["the batch ends"], [1, 2, 3]]


@on_both
def test_what_is_dead_is_computed_anew(*, on_loop: bool, clock: FakeClock) -> None:
    upper = Upper(on_loop=on_loop, ttl=10)
    upper.one("a")
    clock.advance(11)
    assert upper.one("a") == "A"
    assert upper.calls == [["a"], ["a"]]


@on_both
def test_errors_are_raised_and_kept_where_asked_for(*, on_loop: bool, clock: FakeClock) -> None:
    upper = Upper(on_loop=on_loop, ttl=Expiry(10, stale_if_error=100, errors=5))
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            upper.one("bad")
    assert upper.calls == [["bad"]]
    assert upper.one("a") == "A"
    clock.advance(11)
    upper.broken = True
    assert upper.one("a") == "A"


@on_both
@pytest.mark.parametrize("kind", [StopIteration, GeneratorExit])
def test_it_may_raise_what_coroutines_cannot_pass_on(kind: type[BaseException], *, on_loop: bool) -> None:
    @ml_cache(backend=LRU, batch="numbers", version="1", ignore=["kind"])
    def fail(numbers: list[int]) -> list[int]:
        raise kind(f"no {numbers[0]}")

    expected = RuntimeError if on_loop and kind is StopIteration else kind
    for _ in range(2):
        with pytest.raises(expected) as caught:
            asyncio.run(fail.aio.one(1)) if on_loop else fail.one(1)
        assert caught.type is expected
        root = caught.value.__cause__ if expected is RuntimeError else caught.value
        assert (type(root), str(root)) == (kind, "no 1")


@on_both
@pytest.mark.parametrize("kept_in", ["memory", "disk"])
@pytest.mark.parametrize("kind", [futures.CancelledError, asyncio.CancelledError, SystemExit])
def test_what_ends_a_batch_is_raised_and_not_tried_for_ever(
    kind: type[BaseException], kept_in: str, tmp_path: Path, *, on_loop: bool
) -> None:
    calls: list[list[int]] = []
    backend = LRU if kept_in == "memory" else f"disk://{tmp_path}"

    @ml_cache(backend=backend, batch="numbers", version="1", ignore=["kind", "calls"])
    def fail(numbers: list[int]) -> list[int]:
        calls.append(numbers)
        assert len(calls) < 10, "it is tried for ever"
        raise kind

    with pytest.raises(kind):
        asyncio.run(fail.aio.one(1)) if on_loop else fail.one(1)
    assert calls == [[1]]
    close(fail)


async def test_a_task_that_ends_in_a_batch_of_a_coroutine_function_is_raised_and_not_tried_for_ever() -> None:
    calls: list[list[int]] = []

    @ml_cache(backend=LRU, batch="numbers", version="1", ignore=["calls"])
    async def fail(numbers: list[int]) -> list[int]:
        calls.append(numbers)
        assert len(calls) < 10, "it is tried for ever"
        raise asyncio.CancelledError("a task of its own")

    for error in await asyncio.gather(fail.one(1), fail.one(2), return_exceptions=True):
        assert isinstance(error, asyncio.CancelledError)
    assert sorted(number for numbers in calls for number in numbers) == [1, 2]


async def test_who_rides_in_a_batch_that_the_user_interrupts_finds_another_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: list[threading.Thread] = []

    @ml_cache(backend=LRU, batch="numbers", version="1", ignore=["threads"])
    def negative(numbers: list[int]) -> list[int]:
        threads.append(threading.current_thread())
        if len(threads) == 1:
            raise KeyboardInterrupt
        return [-number for number in numbers]

    monkeypatch.setattr(threading, "excepthook", lambda _: None)  # the thread of the batch ends by it
    assert await negative.aio.one(1) == -1
    for thread in threads:
        thread.join()


@on_both
def test_who_waits_for_itself_is_told_so(*, on_loop: bool) -> None:
    @ml_cache(backend=LRU, batch="numbers", version="1")
    def same(numbers: list[int]) -> list[int]:
        return [asyncio.run(same.aio.one(each)) if on_loop else same.one(each) for each in numbers]

    with pytest.raises(RecursiveCallError, match="an item of the batch that it computes"):
        same.one(1)


async def test_a_batch_wakes_its_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = list[int]()

    @ml_cache(backend=LRU, batch="numbers", version="1")
    def double(numbers: list[int]) -> list[int]:
        calls.append(len(numbers))
        return [number * 2 for number in numbers]

    assert await double.aio.one(-1) == -2
    loop, woken = asyncio.get_running_loop(), list[Any]()
    wake = loop.call_soon_threadsafe

    def count(*args: Any, **kwargs: Any) -> Any:
        woken.append(args)
        return wake(*args, **kwargs)

    calls.clear()
    monkeypatch.setattr(loop, "call_soon_threadsafe", count)
    assert await asyncio.gather(*map(double.aio.one, range(200))) == [number * 2 for number in range(200)]
    assert len(woken) == len(calls)  # of which there are more where the first thread was still there
    assert sum(calls) == 200


async def test_who_is_cancelled_takes_nothing_from_those_who_wait_for_the_same_item() -> None:
    came, go = threading.Event(), threading.Event()

    @ml_cache(backend=LRU, batch="numbers", version="1", ignore=["came", "go"])
    def double(numbers: list[int]) -> list[int]:
        came.set()
        assert go.wait(20)
        return [number * 2 for number in numbers]

    first, second = (asyncio.create_task(double.aio.one(1)) for _ in range(2))
    await asyncio.to_thread(came.wait, 20)
    first.cancel()
    await asyncio.sleep(0)
    go.set()
    assert await second == 2
    assert first.cancelled()
    assert double.cache_info().misses == 1


async def test_who_comes_after_a_thread_has_begun_the_batch_of_the_turn_is_computed_too() -> None:
    @ml_cache(backend=LRU, batch="numbers", version="1")
    def double(numbers: list[int]) -> list[int]:
        return [number * 2 for number in numbers]

    async def join_in_a_thread() -> None:
        thread = threading.Thread(target=double.one, args=(1,))
        thread.start()
        thread.join()  # which holds up the loop: its turn goes on afterwards
        singles: Any = double._actions.singles  # type: ignore[attr-defined]
        while singles.batcher._busy:
            threading.Event().wait(0.001)

    assert await double.aio.one(0) == 0  # the first call opens the cache, which takes turns
    found = asyncio.gather(double.aio.one(1), join_in_a_thread(), double.aio.one(2))
    first, _, second = await asyncio.wait_for(found, 20)
    assert (first, second) == (2, 4)


async def test_a_store_that_blocks_is_not_asked_on_the_event_loop() -> None:
    asked = set[threading.Thread]()

    class Blocking(Lru):
        """Looked up by the fast path, but for a loop too slow."""

        blocking = True

        def get(self, key: Key) -> Entry | None:
            asked.add(threading.current_thread())
            return super().get(key)

    @ml_cache(backend=Blocking(max_bytes=1 << 20), batch="numbers", version="1")
    def double(numbers: list[int]) -> list[int]:
        return [number * 2 for number in numbers]

    assert [await double.aio.one(1) for _ in range(2)] == [2, 2]
    assert asked
    assert threading.current_thread() not in asked


def _array_of(number: int) -> Any:
    return np.arange(24.0).reshape(2, 3, 4)[number]


FIELDS = np.dtype([("a", "i4"), ("b", "f8")])
OF_A_KIND: list[tuple[Any, Callable[[list[Any]], Any], Any]] = [
    (npt.NDArray[Any], np.stack, _array_of(1)),
    (npt.NDArray[Any], np.stack, _array_of(1).T),
    (npt.NDArray[Any], np.stack, _array_of(1)[:, ::2]),
    (npt.NDArray[Any], np.stack, np.array([1, 2], np.float32)),
    (npt.NDArray[Any], np.stack, np.array(["a", "bc"])),
    (npt.NDArray[Any], np.stack, np.zeros(2, FIELDS)),
    (npt.NDArray[Any], np.stack, np.datetime64("2026-01-01")),
    (npt.NDArray[Any], np.stack, np.array(3)),
    (npt.NDArray[Any], np.stack, 2.5),
    (npt.NDArray[Any], np.stack, [1, 2]),
    (list[Any], list, "a"),
    (list[Any], list, _array_of(0)),
    (tuple[Any, ...], tuple, "a"),
]


@pytest.mark.parametrize("number", range(len(OF_A_KIND)))
def test_an_item_has_the_key_that_it_has_in_a_container(number: int) -> None:
    annotation, collate, item = OF_A_KIND[number]

    def doubled(items: Any, factor: float = 1.0) -> list[Any]:
        assert type(items) is type(collate([item])), factor
        return list(items)

    doubled.__annotations__["items"] = annotation
    cached: Any = ml_cache(backend=LRU, batch="items", version="1")(doubled)
    cached(collate([item]), 2.0)
    cached.one(item, 2.0)
    assert cached.cache_info().misses == 1
    cached.one(item, factor=2.0)
    cached.one(item, 3.0)
    assert cached.cache_info()[:2] == (2, 2)
