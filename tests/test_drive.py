"""Both drivers at work: threads, event loops and processes that ask for the same thing at once."""

from __future__ import annotations

import asyncio
import gc
import inspect
import itertools
import os
import signal
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

import mlcache
from mlcache import AsyncCachedFunction, CachedFunction, Expiry, RecursiveCallError, ml_cache
from mlcache.backends.memory import Lru
from mlcache.entry import Entry, Key
from mlcache.events import hook
from mlcache.flight import Flights
from mlcache.threads import pool

PATIENCE = 20.0
"""Seconds after which a test that waits for something has failed."""


class Gate:
    """Holds a computation until it is let go."""

    def __init__(self) -> None:
        self.entered, self.let_go = threading.Event(), threading.Event()
        self.calls: list[Any] = []

    def __ml_cache_key__(self) -> str:
        return "gate"

    def hold(self, value: Any = None) -> None:
        self.calls.append(value)
        self.entered.set()
        assert self.let_go.wait(PATIENCE)

    async def hold_task(self, value: Any = None) -> None:
        self.calls.append(value)
        self.entered.set()
        assert await asyncio.to_thread(self.let_go.wait, PATIENCE)

    async def is_entered(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, PATIENCE)


def flights_of(cached: CachedFunction[..., Any] | AsyncCachedFunction[..., Any]) -> Flights:
    return cached._actions.cache.flights


def when_joined(
    cached: CachedFunction[..., Any] | AsyncCachedFunction[..., Any], number: int
) -> threading.Event:
    """An event that is set when so many callers lead or follow a flight."""
    flights, joined, lock, all_there = flights_of(cached), [0], threading.Lock(), threading.Event()

    def counting(join: Callable[..., Any]) -> Callable[..., Any]:
        def join_and_count(*args: Any, **kwargs: Any) -> Any:
            found = join(*args, **kwargs)
            with lock:
                joined[0] += found is not None
                if joined[0] == number:
                    all_there.set()
            return found

        return join_and_count

    flights.join = counting(flights.join)  # type: ignore[method-assign]
    flights.begin = counting(flights.begin)  # type: ignore[method-assign]
    flights.under_way = counting(flights.under_way)  # type: ignore[method-assign]
    return all_there


def when_waiting(
    cached: CachedFunction[..., Any] | AsyncCachedFunction[..., Any], number: int
) -> threading.Event:
    """An event that is set when so many callers wait for the one flight there is, or will be."""
    all_there = threading.Event()

    def look() -> None:
        while not any(flight.waiters >= number for flight in list(flights_of(cached)._flights.values())):
            threading.Event().wait(0.001)
        all_there.set()

    threading.Thread(target=look, daemon=True).start()
    return all_there


@asynccontextmanager
async def other_loop() -> AsyncIterator[Callable[[Coroutine[Any, Any, Any]], Future[Any]]]:
    """An event loop in another thread; what it gives has a coroutine awaited there."""
    loop, ended = asyncio.new_event_loop(), threading.Event()

    async def run() -> None:
        await asyncio.to_thread(ended.wait)

    def main() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(run())

    thread = threading.Thread(target=main)
    thread.start()
    try:
        yield lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop)
    finally:
        ended.set()
        await asyncio.to_thread(thread.join)


@pytest.mark.parametrize("number", [16, 32])
def test_of_many_threads_one_computes(number: int) -> None:
    gate = Gate()

    @ml_cache
    def score(x: int) -> list[int]:
        gate.hold(x)
        return [x]

    all_there = when_joined(score, number)
    with ThreadPoolExecutor(number) as threads:
        answers = [threads.submit(score, 1) for _ in range(number)]
        assert all_there.wait(PATIENCE)
        gate.let_go.set()
    values = [answer.result() for answer in answers]
    assert values == [[1]] * number
    assert len({id(value) for value in values}) == number, "a caller's container is its own"
    assert gate.calls == [1]
    info = score.cache_info()
    assert (info.misses, info.coalesced, info.hits) == (1, number - 1, 0)
    assert len(flights_of(score)) == 0


class SlowToWrite(Lru):
    """A store that writes when it may."""

    name = "slow"
    blocking = True

    def __init__(self) -> None:
        super().__init__(max_bytes=2**20)
        self.writing, self.may_write = threading.Event(), threading.Event()

    def put(self, key: Key, entry: Entry) -> None:
        self.writing.set()
        assert self.may_write.wait(PATIENCE)
        super().put(key, entry)


def test_who_waits_does_not_wait_for_the_store() -> None:
    gate, store = Gate(), SlowToWrite()

    @ml_cache(backend=store)
    def score(x: int) -> int:
        gate.hold(x)
        return x

    all_there = when_waiting(score, 3)
    with ThreadPoolExecutor(5) as threads:
        leader = threads.submit(score, 1)
        assert gate.entered.wait(PATIENCE)
        others = [threads.submit(score, 1) for _ in range(3)]
        assert all_there.wait(PATIENCE)
        gate.let_go.set()
        assert [other.result(PATIENCE) for other in others] == [1, 1, 1]
        assert store.writing.wait(PATIENCE)
        late = threads.submit(score.call_with_info, 1).result(PATIENCE)
        assert (late.value, late.status) == (1, "coalesced"), "it is under way until it is written"
        assert not leader.done()
        store.may_write.set()
        assert leader.result(PATIENCE) == 1
    assert score.call_with_info(1).status == "hit"
    assert (gate.calls, score.cache_info().misses) == ([1], 1)


def test_what_is_forgotten_while_it_is_written_is_not_kept() -> None:
    gate, store = Gate(), SlowToWrite()

    @ml_cache(backend=store)
    def score(x: int) -> int:
        gate.hold(x)
        return x

    all_there = when_waiting(score, 1)
    with ThreadPoolExecutor(2) as threads:
        leader = threads.submit(score, 1)
        assert gate.entered.wait(PATIENCE)
        other = threads.submit(score, 1)
        assert all_there.wait(PATIENCE)
        gate.let_go.set()
        assert other.result(PATIENCE) == 1
        assert store.writing.wait(PATIENCE)
        score.invalidate(1)
        store.may_write.set()
        assert leader.result(PATIENCE) == 1
    assert score.peek(1) is None


@pytest.mark.parametrize("suspends", [False, True])
def test_what_is_put_while_an_answer_is_slowly_written_stays(*, suspends: bool) -> None:
    gate, store = Gate(), SlowToWrite()

    @ml_cache(backend=store)
    def score(x: int) -> int:
        gate.hold(x)
        return x

    gate.let_go.set()
    with ThreadPoolExecutor(2) as threads:
        leader = threads.submit(asyncio.run, score.aio(1)) if suspends else threads.submit(score, 1)
        assert store.writing.wait(PATIENCE)
        store.writing.clear()
        putting = threads.submit(score.put, 7, 1)
        assert store.writing.wait(PATIENCE)
        store.may_write.set()
        assert leader.result(PATIENCE) == 1
        putting.result(PATIENCE)
    assert score(1) == 7


@pytest.mark.parametrize("backend", ["lru", "disk"])
@pytest.mark.parametrize("use", ["put", "refresh"])
async def test_what_an_answer_prompts_to_write_is_not_undone_by_its_flight(
    use: str, backend: str, tmp_path: Path
) -> None:
    given = itertools.count(1)

    @ml_cache(backend=f"disk://{tmp_path}" if backend == "disk" else backend, ignore="given")
    async def score(x: int) -> int:
        await asyncio.sleep(0)
        return next(given) * x

    async def correct() -> int:
        answer = await score(1)
        if use == "put":
            await score.put(2, 1)
        else:
            assert await score.refresh(1) == 2
        return answer

    assert list(await asyncio.gather(score(1), correct())) == [1, 1]
    kept = await score.call_with_info(1)
    assert (kept.value, kept.status) == (2, "hit")


async def test_tasks_that_wait_do_not_wait_for_the_store() -> None:
    gate, store = Gate(), SlowToWrite()

    @ml_cache(backend=store)
    async def score(x: int) -> int:
        await gate.hold_task(x)
        return x

    leader = asyncio.ensure_future(score(1))
    await gate.is_entered()
    others = [asyncio.ensure_future(score(1)) for _ in range(3)]
    await asyncio.sleep(0)
    assert await asyncio.to_thread(when_waiting(score, 3).wait, PATIENCE)
    gate.let_go.set()
    assert await asyncio.wait_for(asyncio.gather(*others), PATIENCE) == [1, 1, 1]
    assert not leader.done()
    store.may_write.set()
    assert await leader == 1
    assert (await score.call_with_info(1)).status == "hit"


async def test_who_left_the_work_to_a_thread_has_the_answer_when_it_is_kept() -> None:
    gate, store = Gate(), SlowToWrite()

    @ml_cache(backend=store)
    def score(x: int) -> int:
        gate.hold(x)
        return x

    all_there = when_joined(score, 3)
    answers = [asyncio.ensure_future(score.aio(1)) for _ in range(3)]
    assert await asyncio.to_thread(all_there.wait, PATIENCE)
    gate.let_go.set()
    assert await asyncio.to_thread(store.writing.wait, PATIENCE)
    assert not any(answer.done() for answer in answers)
    store.may_write.set()
    assert await asyncio.gather(*answers) == [1, 1, 1]
    assert store.get(score.cache_key(1)) is not None


async def test_of_a_thousand_tasks_one_computes() -> None:
    gate = Gate()

    @ml_cache
    async def score(x: int) -> int:
        await gate.hold_task(x)
        return x + 1

    tasks = [asyncio.ensure_future(score(1)) for _ in range(1000)]
    await gate.is_entered()
    assert len(flights_of(score)) == 1
    gate.let_go.set()
    assert await asyncio.gather(*tasks) == [2] * 1000
    assert gate.calls == [1]


async def test_of_a_thousand_tasks_with_a_plain_function_one_computes() -> None:
    gate = Gate()

    @ml_cache
    def score(x: int) -> int:
        gate.hold(x)
        return x + 1

    all_there = when_joined(score, 1000)
    tasks = [asyncio.ensure_future(score.aio(1)) for _ in range(1000)]
    assert await asyncio.to_thread(all_there.wait, PATIENCE)
    gate.let_go.set()
    assert await asyncio.gather(*tasks) == [2] * 1000
    assert gate.calls == [1]


async def test_threads_and_tasks_of_several_loops_share_one_flight() -> None:
    gate = Gate()

    @ml_cache
    def score(x: int) -> int:
        gate.hold(x)
        return x + 1

    all_there = when_joined(score, 12)
    async with other_loop() as there:
        here = [asyncio.ensure_future(score.aio(1)) for _ in range(4)]
        elsewhere = [there(score.aio(1)) for _ in range(4)]
        with ThreadPoolExecutor(4) as threads:
            blocked = [threads.submit(score, 1) for _ in range(4)]
            assert await asyncio.to_thread(all_there.wait, PATIENCE)
            gate.let_go.set()
        assert await asyncio.gather(*here, *map(asyncio.wrap_future, elsewhere)) == [2] * 8
        assert [answer.result() for answer in blocked] == [2] * 4
    assert gate.calls == [1]


async def test_tasks_of_several_loops_share_the_flight_of_a_coroutine_function() -> None:
    gate = Gate()

    @ml_cache
    async def score(x: int) -> int:
        await gate.hold_task(x)
        return x + 1

    all_there = when_joined(score, 2)
    async with other_loop() as there:
        mine = asyncio.ensure_future(score(1))
        theirs = there(score(1))
        assert await asyncio.to_thread(all_there.wait, PATIENCE)
        gate.let_go.set()
        assert list(await asyncio.gather(mine, asyncio.wrap_future(theirs))) == [2, 2]
    assert gate.calls == [1]


class NoLuckError(Exception):
    pass


class EndError(BaseException):
    pass


def test_a_failure_reaches_all_threads_after_one_execution_and_is_not_kept() -> None:
    gate = Gate()

    @ml_cache
    def score(x: int) -> int:
        gate.hold(x)
        raise NoLuckError

    all_there = when_joined(score, 8)
    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(score, 1) for _ in range(8)]
        assert all_there.wait(PATIENCE)
        gate.let_go.set()
    assert all(isinstance(answer.exception(), NoLuckError) for answer in answers)
    assert gate.calls == [1]
    with pytest.raises(NoLuckError):
        score(1)
    assert gate.calls == [1, 1]
    assert score.cache_info().currsize == 0


async def test_a_failure_reaches_all_tasks_after_one_execution() -> None:
    calls: list[int] = []

    @ml_cache
    async def score(x: int) -> int:
        calls.append(x)
        await asyncio.sleep(0)
        raise NoLuckError

    answers = await asyncio.gather(*(score(1) for _ in range(20)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {NoLuckError}
    assert calls == [1]


async def test_a_failure_of_a_plain_function_reaches_all_tasks() -> None:
    gate = Gate()

    @ml_cache
    def score(x: int) -> int:
        gate.hold(x)
        raise NoLuckError

    all_there = when_joined(score, 20)
    tasks = [asyncio.ensure_future(score.aio(1)) for _ in range(20)]
    assert await asyncio.to_thread(all_there.wait, PATIENCE)
    gate.let_go.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(answer) for answer in answers} == {NoLuckError}
    assert gate.calls == [1]


@pytest.mark.parametrize("kind", [StopIteration, StopAsyncIteration, GeneratorExit])
@pytest.mark.parametrize("use", ["__call__", "uncached", "refresh", "call_with_info"])
def test_what_would_end_a_coroutine_reaches_the_caller_as_itself(kind: type[BaseException], use: str) -> None:
    cause = KeyError("the cause")

    @ml_cache
    def fail() -> NoReturn:
        raise kind("the end") from cause

    with pytest.raises(kind, match="the end") as caught:
        getattr(fail, use)()
    assert caught.value.__cause__ is cause
    assert caught.value.__context__ is None
    assert len(flights_of(fail)) == 0


@pytest.mark.parametrize("kind", [StopIteration, GeneratorExit])
def test_what_would_end_a_coroutine_reaches_all_who_wait_as_itself(kind: type[BaseException]) -> None:
    gate = Gate()

    @ml_cache
    def fail() -> NoReturn:
        gate.hold()
        raise kind

    all_there = when_joined(fail, 4)
    with ThreadPoolExecutor(4) as threads:
        answers = [threads.submit(fail) for _ in range(4)]
        assert all_there.wait(PATIENCE)
        gate.let_go.set()
    assert [type(answer.exception()) for answer in answers] == [kind] * 4
    assert len(gate.calls) == 1


@pytest.mark.parametrize(("kind", "raised"), [(StopIteration, RuntimeError), (GeneratorExit, GeneratorExit)])
async def test_what_would_end_a_coroutine_leaves_nobody_waiting(
    kind: type[BaseException], raised: type[BaseException]
) -> None:
    """No coroutine can raise a StopIteration: Python makes a RuntimeError of it."""

    @ml_cache
    def fail() -> NoReturn:
        raise kind

    for answer in (fail.aio(), fail.aio.uncached()):
        with pytest.raises(raised):
            await asyncio.wait_for(answer, PATIENCE)
    with mlcache.disabled(), pytest.raises(raised):
        await asyncio.wait_for(fail.aio(), PATIENCE)


async def test_a_coroutine_function_may_raise_what_closes_coroutines() -> None:
    @ml_cache
    async def fail() -> NoReturn:
        raise GeneratorExit

    for _ in range(2):
        with pytest.raises(GeneratorExit):
            await asyncio.wait_for(fail(), PATIENCE)
    assert len(flights_of(fail)) == 0


def test_hooks_and_kept_errors_see_what_was_raised() -> None:
    @ml_cache(ttl=Expiry(60, errors=60))
    def fail() -> NoReturn:
        raise StopIteration("the end")

    seen: list[Any] = []
    with hook(seen.append):
        for _ in range(2):
            with pytest.raises(StopIteration, match="the end"):
                fail()
    assert [type(event).__name__ for event in seen] == ["Raised", "Hit"]
    assert type(seen[0].error) is StopIteration


async def test_an_error_of_a_coroutine_function_goes_with_the_last_who_holds_it() -> None:
    class HeldError(Exception):
        """One that can be watched."""

    @ml_cache
    async def fail(_x: int) -> NoReturn:
        await asyncio.sleep(0)
        raise HeldError

    async def ask(x: int) -> weakref.ref[HeldError]:
        try:
            return await fail(x)
        except HeldError as error:
            return weakref.ref(error)

    await ask(0)
    gc.collect()
    gc.disable()
    try:
        held = [await ask(x) for x in range(3)]
        await asyncio.sleep(0)
        assert [error() for error in held] == [None] * 3, "they are held in a circle"
    finally:
        gc.enable()


async def test_who_is_cancelled_first_does_not_cancel_the_others() -> None:
    gate = Gate()

    @ml_cache
    async def score(x: int) -> int:
        await gate.hold_task(x)
        return x + 1

    first, *others = [asyncio.ensure_future(score(1)) for _ in range(5)]
    await gate.is_entered()
    first.cancel()
    others[0].cancel()
    await asyncio.sleep(0)
    gate.let_go.set()
    answers = await asyncio.gather(first, *others, return_exceptions=True)
    assert [type(answer) for answer in answers[:2]] == [asyncio.CancelledError] * 2
    assert answers[2:] == [2, 2, 2]
    assert await score(1) == 2
    assert gate.calls == [1], "the answer that the first had asked for was kept"


async def test_what_all_who_asked_for_gave_up_is_kept_all_the_same() -> None:
    gate = Gate()

    @ml_cache
    async def score(x: int) -> int:
        await gate.hold_task(x)
        return x + 1

    alone = asyncio.ensure_future(score(1))
    await gate.is_entered()
    alone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await alone
    gate.let_go.set()
    assert await score(1) == 2
    assert gate.calls == [1]


async def test_who_is_cancelled_does_not_cancel_a_plain_function() -> None:
    gate = Gate()

    @ml_cache
    def score(x: int) -> int:
        gate.hold(x)
        return x + 1

    all_there = when_joined(score, 3)
    first, *others = [asyncio.ensure_future(score.aio(1)) for _ in range(3)]
    await gate.is_entered()
    assert await asyncio.to_thread(all_there.wait, PATIENCE)
    first.cancel()
    await asyncio.sleep(0)
    gate.let_go.set()
    answers = await asyncio.gather(first, *others, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [2, 2]
    assert gate.calls == [1]


async def test_a_leader_cancelled_before_its_first_step_leaves_nobody_waiting() -> None:
    calls: list[int] = []

    @ml_cache
    async def score(x: int) -> int:
        calls.append(x)
        return x + 1

    def cancel_new(loop: asyncio.AbstractEventLoop, coroutine: Any, **kwargs: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coroutine, loop=loop, **kwargs)
        task.cancel()
        return task

    loop = asyncio.get_running_loop()
    first = loop.create_task(score(1))
    loop.set_task_factory(cancel_new)
    try:
        with pytest.raises(asyncio.CancelledError):
            await first
    finally:
        loop.set_task_factory(None)
    assert calls == []
    assert len(flights_of(score)) == 0
    assert await asyncio.wait_for(score(1), PATIENCE) == 2


async def test_a_loop_that_makes_no_task_leaves_no_flight_behind() -> None:
    class FullError(Exception):
        """The loop takes no more tasks."""

    def refuse(loop: asyncio.AbstractEventLoop, running: Any, **kwargs: Any) -> asyncio.Task[Any]:
        if running.__name__ == "suspending":
            raise FullError
        return asyncio.Task(running, loop=loop, **kwargs)

    @ml_cache
    async def score(x: int) -> int:
        return x + 1

    loop = asyncio.get_running_loop()
    loop.set_task_factory(refuse)
    try:
        with pytest.raises(FullError):
            await score(1)
    finally:
        loop.set_task_factory(None)
    assert len(flights_of(score)) == 0
    assert await asyncio.wait_for(score(1), PATIENCE) == 2


async def test_the_end_of_the_leaders_task_sends_the_others_to_find_a_new_one() -> None:
    gate = Gate()
    leaders: list[asyncio.Task[Any] | None] = []

    @ml_cache(ignore=["leaders"])
    async def score(x: int) -> int:
        leaders.append(asyncio.current_task())
        if len(leaders) == 1:
            await gate.hold_task(x)
        return x + 1

    waiting = [asyncio.ensure_future(score(1)) for _ in range(3)]
    await gate.is_entered()
    assert leaders[0] is not None
    leaders[0].cancel()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    gate.let_go.set()
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [2, 2]
    assert len(leaders) == 2


def test_who_asks_after_a_loop_was_closed_in_the_middle_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    @ml_cache
    async def score(x: int) -> int:
        calls.append(x)
        if len(calls) == 1:
            await asyncio.Event().wait()
        return x + 1

    loop = asyncio.new_event_loop()
    abandoned = loop.create_task(score(1))
    while not calls:
        loop.run_until_complete(asyncio.sleep(0))
    abandoned.cancel()
    loop.run_until_complete(asyncio.gather(abandoned, return_exceptions=True))
    loop.close()  # its flight goes on for others, and will never land
    assert asyncio.run(asyncio.wait_for(score(1), PATIENCE)) == 2
    gc.collect()  # throws the abandoned task away, which must neither raise nor complain
    assert caplog.messages == []


def test_who_waits_while_the_leaders_loop_is_closed_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    @ml_cache
    async def score(x: int) -> int:
        calls.append(x)
        if len(calls) == 1:
            await asyncio.Event().wait()
        return x + 1

    loop = asyncio.new_event_loop()
    abandoned = loop.create_task(score(1))
    while not calls:
        loop.run_until_complete(asyncio.sleep(0))
    all_there = when_joined(score, 1)
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(lambda: asyncio.run(asyncio.wait_for(score(1), PATIENCE)))
        assert all_there.wait(PATIENCE)
        abandoned.cancel()
        loop.run_until_complete(asyncio.gather(abandoned, return_exceptions=True))
        loop.close()
        assert answer.result() == 2
    gc.collect()
    assert caplog.messages == []


def test_an_answer_that_a_closed_loop_did_not_write_is_not_given_for_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls: list[int] = []

    class LosesTheFirst(SlowToWrite):
        def put(self, key: Key, entry: Entry) -> None:
            if self.writing.is_set():
                super().put(key, entry)
            self.writing.set()
            assert self.may_write.wait(PATIENCE)

    store = LosesTheFirst()

    @ml_cache(backend=store)
    async def score(x: int) -> int:
        calls.append(x)
        await asyncio.sleep(0)
        return len(calls) * x

    async def leave_while_it_is_written() -> int:
        leader, other = asyncio.ensure_future(score(1)), asyncio.ensure_future(score(1))
        answer = await other
        while not store.writing.is_set():
            await asyncio.sleep(0)
        leader.cancel()
        await asyncio.wait([leader])
        return answer

    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(leave_while_it_is_written()) == 1
    loop.close()
    assert len(flights_of(score)) == 1
    store.may_write.set()
    first, second = (asyncio.run(score.call_with_info(1)) for _ in range(2))
    assert (first.value, first.status, second.value, second.status) == (2, "miss", 2, "hit")
    assert len(flights_of(score)) == 0
    gc.collect()
    assert caplog.messages == []


def test_a_thread_that_is_ended_in_the_middle_sends_the_others_to_find_a_new_leader() -> None:
    gate = Gate()

    @ml_cache
    def score(x: int) -> int:
        gate.hold(x)
        if len(gate.calls) == 1:
            raise SystemExit
        return x + 1

    all_there = when_joined(score, 4)
    with ThreadPoolExecutor(4) as threads:
        answers = [threads.submit(score, 1) for _ in range(4)]
        assert all_there.wait(PATIENCE)
        gate.let_go.set()
    ended = [answer for answer in answers if isinstance(answer.exception(), SystemExit)]
    assert len(ended) == 1
    assert [answer.result() for answer in answers if answer not in ended] == [2, 2, 2]
    assert gate.calls == [1, 1]


async def test_what_ends_a_thread_of_the_pool_reaches_the_one_who_asked() -> None:
    @ml_cache
    def score() -> int:
        raise EndError

    with pytest.raises(EndError):
        await asyncio.wait_for(score.aio(), PATIENCE)
    assert len(flights_of(score)) == 0


async def test_a_plain_call_on_the_loops_own_thread_waits_for_what_the_pool_computes() -> None:
    gate = Gate()

    @ml_cache
    def score(x: int) -> int:
        gate.hold(x)
        return x + 1

    task = asyncio.ensure_future(score.aio(1))
    await gate.is_entered()
    threading.Timer(0, gate.let_go.set).start()
    assert score(1) == 2  # the loop stands still until it is there
    assert await task == 2
    assert gate.calls == [1]


async def test_a_full_pool_does_not_lock_up() -> None:
    width = pool("compute")._max_workers  # type: ignore[attr-defined]
    together = threading.Barrier(width)
    inner_calls: list[int] = []

    @ml_cache
    def inner(x: int) -> int:
        inner_calls.append(x)
        return x * 10

    @ml_cache(ignore=["together"])
    def outer(x: int) -> int:
        together.wait(PATIENCE)  # now no thread of the pool is free, and the inner ones are queued
        return inner(x) + 1

    outers = [asyncio.ensure_future(outer.aio(x)) for x in range(width)]
    inners = [asyncio.ensure_future(inner.aio(x)) for x in range(width)]
    answers = await asyncio.wait_for(asyncio.gather(*outers, *inners), PATIENCE)
    assert answers == [x * 10 + 1 for x in range(width)] + [x * 10 for x in range(width)]
    assert sorted(inner_calls) == list(range(width))


async def test_a_full_pool_whose_functions_await_what_is_queued_behind_them_goes_on() -> None:
    width = pool("compute")._max_workers  # type: ignore[attr-defined]
    entered, go = threading.Semaphore(0), threading.Event()

    @ml_cache
    def inner(x: int) -> int:
        return x

    @ml_cache(ignore=["entered", "go"])
    def outer(x: int) -> int:
        entered.release()
        assert go.wait(PATIENCE)
        return asyncio.run(inner.aio(0)) + x

    outers = [asyncio.ensure_future(outer.aio(x)) for x in range(width)]
    for _ in range(width):
        assert await asyncio.to_thread(entered.acquire, timeout=PATIENCE)
    queued = asyncio.ensure_future(inner.aio(0))
    while not len(flights_of(inner)):
        await asyncio.sleep(0)
    go.set()
    answers = await asyncio.wait_for(asyncio.gather(queued, *outers), PATIENCE)
    assert answers == [0, *range(width)]


def test_a_function_that_calls_itself_with_the_same_arguments_is_told_so() -> None:
    @ml_cache
    def loop(x: int) -> int:
        return loop(x)

    with pytest.raises(RecursiveCallError, match="calls itself with the same arguments"):
        loop(1)
    with pytest.raises(RecursiveCallError):
        asyncio.run(loop.aio(1))


async def test_a_coroutine_function_that_awaits_itself_is_told_so() -> None:
    @ml_cache
    async def loop(x: int) -> int:
        return await loop(x)

    with pytest.raises(RecursiveCallError):
        await asyncio.wait_for(loop(1), PATIENCE)


def test_two_functions_that_call_each_other_are_told_so() -> None:
    @ml_cache
    def ping(x: int) -> int:
        return pong(x)

    @ml_cache
    def pong(x: int) -> int:
        return ping(x)

    with pytest.raises(RecursiveCallError, match="directly or through others"):
        ping(1)
    assert len(flights_of(ping)) == len(flights_of(pong)) == 0


def test_recursion_with_other_arguments_computes_each_once() -> None:
    calls: list[int] = []

    @ml_cache
    def fibonacci(n: int) -> int:
        calls.append(n)
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    assert fibonacci(40) == 102334155
    assert sorted(calls) == list(range(41))
    assert asyncio.run(fibonacci.aio(41)) == 165580141


async def test_recursion_of_coroutines_computes_each_once() -> None:
    calls: list[int] = []

    @ml_cache
    async def fibonacci(n: int) -> int:
        calls.append(n)
        return n if n < 2 else sum(await asyncio.gather(fibonacci(n - 1), fibonacci(n - 2)))

    assert await asyncio.wait_for(fibonacci(30), PATIENCE) == 832040
    assert sorted(calls) == list(range(31))


class Meanwhile:
    """A function that is being computed in a thread, and what it and later calls give."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.values = iter(["old", "new", "newer"])

        @ml_cache(ignore=["self"], backend=Lru(max_bytes=2**20))
        def load(name: str) -> str:
            value = next(self.values)
            if value == "old":
                self.gate.hold(name)
            return value

        self.load = load

    def computing(self, meanwhile: Callable[[], Any]) -> tuple[str, Any]:
        """What the call gives that was under way, and what was done meanwhile."""
        with ThreadPoolExecutor(1) as thread:
            answer = thread.submit(self.load, "model")
            assert self.gate.entered.wait(PATIENCE)
            try:
                done = meanwhile()
            finally:
                self.gate.let_go.set()
            return answer.result(), done


def test_what_is_invalidated_while_being_computed_is_not_kept() -> None:
    case = Meanwhile()
    assert case.computing(lambda: case.load.invalidate("model")) == ("old", False)
    assert case.load("model") == "new"


def test_who_asks_after_an_invalidation_does_not_get_what_was_under_way() -> None:
    case = Meanwhile()

    def meanwhile() -> str:
        case.load.invalidate("model")
        return case.load("model")

    assert case.computing(meanwhile) == ("old", "new")
    assert case.load("model") == "new"


def test_what_is_put_while_being_computed_stays() -> None:
    case = Meanwhile()
    assert case.computing(lambda: case.load.put("put", "model")) == ("old", None)
    assert case.load("model") == "put"


def test_a_refresh_does_not_wait_for_what_is_under_way() -> None:
    case = Meanwhile()
    assert case.computing(lambda: case.load.refresh("model")) == ("old", "new")
    assert case.load("model") == "new"


def test_what_is_cleared_while_being_computed_is_not_kept() -> None:
    case = Meanwhile()
    assert case.computing(case.load.cache_clear) == ("old", None)
    assert case.load.peek("model") is None
    assert case.load("model") == "new"


def test_a_coroutine_face_does_all_this_too() -> None:
    case = Meanwhile()
    assert case.computing(lambda: asyncio.run(case.load.aio.invalidate("model"))) == ("old", False)
    assert asyncio.run(case.load.aio("model")) == "new"
    case = Meanwhile()
    assert case.computing(lambda: asyncio.run(case.load.aio.put("put", "model"))) == ("old", None)
    assert asyncio.run(case.load.aio("model")) == "put"
    case = Meanwhile()
    assert case.computing(lambda: asyncio.run(case.load.aio.refresh("model"))) == ("old", "new")
    assert asyncio.run(case.load.aio("model")) == "new"
    case = Meanwhile()
    assert case.computing(lambda: asyncio.run(case.load.aio.cache_clear())) == ("old", None)
    assert asyncio.run(case.load.aio("model")) == "new"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("backend", ["lru", "disk", "lru, disk"])
def test_a_child_forked_in_the_middle_computes_for_itself(backend: str) -> None:
    gate = Gate()
    parent = os.getpid()

    @ml_cache(backend=backend)
    def score(x: int) -> int:
        if os.getpid() == parent and x == 1:
            gate.hold(x)
        return x + 1

    assert score(0) == 1
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(score, 1)
        assert gate.entered.wait(PATIENCE)
        child = os.fork()
        if not child:
            status = 1
            try:
                signal.alarm(int(PATIENCE))
                answers = (score(0), score(1), score(2), asyncio.run(score.aio(3)))
                status = 0 if answers == (1, 2, 3, 4) else 2
            finally:
                os._exit(status)
        gate.let_go.set()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert answer.result() == 2
    assert [score(x) for x in range(4)] == [1, 2, 3, 4]


def test_a_call_within_a_call_takes_few_levels_of_the_stack() -> None:
    depths: list[int] = []

    @ml_cache
    def down(left: int) -> int:
        depths.append(len(inspect.stack(0)))
        return down(left - 1) if left else 0

    down(0)
    depths.clear()
    down.cache_clear()
    down(5)
    assert {after - before for before, after in itertools.pairwise(depths)} == {6}
