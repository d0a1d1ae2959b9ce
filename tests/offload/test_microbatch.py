"""The queue of single requests, and who computes them."""

from __future__ import annotations

import threading
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcache import clock
from mlcache.offload.microbatch import MicroBatcher
from mlcache.offload.tickets import Queue, Rules, Ticket
from mlcache.testing import FakeClock
from tests.offload.requests import Request, names


def fill(queue: Queue, *requests: Request) -> Queue:
    for request in requests:
        queue.add(request)
    return queue


def take_all(queue: Queue, now: float = 1e9) -> list[str]:
    taken: list[str] = []
    while len(queue):
        batch, _, wait = queue.take(now)
        assert not wait
        taken.append(names(batch))
    return taken


def test_batches_have_the_size_asked_for_and_the_order_of_arrival() -> None:
    queue = fill(Queue(Rules(max_size=3)), *map(Request, "abcdefg"))
    assert take_all(queue) == ["abc", "def", "g"]


def test_nothing_is_taken_from_an_empty_queue() -> None:
    assert Queue(Rules()).take(0.0) == ([], [], 0.0)


def test_tenants_take_turns() -> None:
    queue = Queue(Rules(max_size=4))
    fill(queue, *(Request(name, tenant="busy") for name in "abcdef"))
    fill(queue, *(Request(name, tenant=name) for name in "xy"))
    assert take_all(queue) == ["axyb", "cdef"]


def test_a_tenant_who_was_served_comes_last_next_time() -> None:
    queue = Queue(Rules(max_size=1))
    fill(
        queue, *(Request(name, tenant="first") for name in "ab"), *(Request(n, tenant="second") for n in "xy")
    )
    assert take_all(queue) == ["a", "x", "b", "y"]


def test_buckets_are_not_mixed_and_the_oldest_goes_first() -> None:
    with FakeClock() as clock:
        queue = Queue(Rules())
        for name, bucket in ("a1", "b2", "c1", "d2"):
            queue.add(Request(name, bucket=bucket))
            clock.advance(1)
    assert take_all(queue) == ["ac", "bd"]


def test_what_is_heavy_goes_alone_and_weights_add_up() -> None:
    queue = Queue(Rules())
    for name, weight in {"a": 0.5, "b": 0.5, "c": 0.1, "d": 7.0, "e": 0.2}.items():
        queue.add(Request(name, weights=(0.0, weight)))
    assert take_all(queue) == ["ab", "c", "d", "e"]


def test_who_is_late_or_not_wanted_leaves_before_the_batch_is_made() -> None:
    late, unwanted, good = Request("l", ends=5.0), Request("u"), Request("g", ends=7.0)
    unwanted.wanted = False
    batch, gone, _ = fill(Queue(Rules()), late, unwanted, good).take(5.0)
    assert (names(batch), set(names(gone))) == ("g", {"l", "u"})


def test_a_request_can_be_taken_back_until_it_is_taken() -> None:
    request = Request("a")
    queue = fill(Queue(Rules()), request)
    assert queue.remove(request)
    assert not queue.remove(request)
    assert not len(queue)


def test_a_wait_ends_with_a_full_batch_or_with_its_time() -> None:
    with FakeClock() as clock:
        start = Request("?").since
        queue = fill(Queue(Rules(max_size=2, max_wait=3.0)), Request("a"))
        clock.advance(1)
        batch, _, wait = queue.take(start + 1)
        assert not batch
        assert wait == pytest.approx(2.0)
        queue.add(Request("b"))
        assert names(queue.take(start + 1)[0]) == "ab"
        queue.add(Request("c"))
        assert names(queue.take(start + 4)[0]) == "c"


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=30), st.integers(1, 5))
def test_everyone_is_taken_once_in_the_order_of_his_tenant(places: list[tuple[int, int]], most: int) -> None:
    queue = Queue(Rules(max_size=most))
    requests = [Request(str(n), bucket=bucket, tenant=tenant) for n, (bucket, tenant) in enumerate(places)]
    fill(queue, *requests)
    taken: list[Request] = []
    while len(queue):
        batch: list[Any] = queue.take(1e9)[0]
        assert 1 <= len(batch) <= most
        assert len({request.bucket for request in batch}) == 1
        taken += batch
    assert sorted(taken, key=id) == sorted(requests, key=id)
    for line in {(request.bucket, request.tenant) for request in requests}:
        mine = [request for request in taken if (request.bucket, request.tenant) == line]
        assert mine == [request for request in requests if (request.bucket, request.tenant) == line]


def test_who_finds_a_free_slot_serves_himself_and_the_others_gather() -> None:
    batches: list[str] = []
    inside, go = threading.Event(), threading.Event()

    def compute(batch: list[Any]) -> None:
        batches.append(names(batch))
        inside.set()
        assert go.wait(20)
        for request in batch:
            request.done.set()

    batcher = MicroBatcher(compute, Rules())
    first, *others = map(Request, "abcd")
    assert batcher.add(first)
    thread = threading.Thread(target=batcher.serve, args=(first.done.is_set,))
    thread.start()
    assert inside.wait(20)
    assert [batcher.add(request) for request in others] == [False] * 3
    assert batcher.waiting == 3
    go.set()
    for request in others:
        assert request.done.wait(20)
    thread.join()
    assert batches == ["a", "bcd"]


def test_the_slot_is_free_again_when_what_computes_is_interrupted() -> None:
    def compute(batch: list[Any]) -> None:
        if names(batch) == "a":
            raise KeyboardInterrupt
        for request in batch:
            request.done.set()

    batcher = MicroBatcher(compute, Rules())
    assert batcher.add(Request("a"))
    with pytest.raises(KeyboardInterrupt):
        batcher.serve()
    second = Request("b")
    assert batcher.add(second)
    batcher.serve()
    assert second.done.is_set()


def test_a_request_within_a_batch_waits_for_no_slot() -> None:
    answered: list[str] = []

    def compute(batch: list[Any]) -> None:
        for request in batch:
            if request.name == "outer":
                inner = Request("inner")
                assert batcher.add(inner)
                batcher.serve(inner.done.is_set)
            answered.append(request.name)
            request.done.set()

    batcher = MicroBatcher(compute, Rules(slots=1))
    assert batcher.add(Request("outer"))
    batcher.serve()
    assert answered == ["inner", "outer"]


def test_whoever_has_come_can_be_told_to_wait_no_more() -> None:
    with FakeClock() as clock:
        queue = fill(Queue(Rules(max_wait=60.0)), Request("a", bucket=1), Request("b", bucket=2))
        assert queue.take(clock.ticks())[2] == 60.0
        queue.hasten(clock.ticks())
        clock.advance(1)
        fill(queue, Request("c", bucket=3))
        taken = [queue.take(clock.ticks()) for _ in range(3)]
    assert [(names(batch), wait) for batch, _, wait in taken] == [("a", 0.0), ("b", 0.0), ("", 60.0)]


def test_a_full_batch_is_not_shared_among_those_who_waited_for_it_to_fill() -> None:
    queue = fill(Queue(Rules(max_size=4, max_wait=60.0, slots=2)), *map(Request, "abcd"))
    batch, _, wait = queue.take(clock.ticks(), 2)
    assert (names(batch), wait) == ("abcd", 0.0)


def test_a_batch_that_cannot_grow_does_not_wait_for_the_turn_to_end() -> None:
    batcher = MicroBatcher(lambda _: None, Rules(max_size=2, slots=2))
    tickets = [Ticket("b") for _ in range(5)]
    assert [batcher.put(ticket) for ticket in tickets[:2]] == [False, True]
    batcher._busy += 1  # whoever serves them has not begun, and will take these two
    assert [batcher.put(ticket) for ticket in tickets[2:4]] == [False, True]
    batcher._busy += 1
    assert not batcher.put(tickets[4])  # no slot is left


def test_those_who_left_are_passed_over_wherever_they_stand() -> None:
    requests = [Request(name) for name in "abcdef"]
    queue = fill(Queue(Rules(max_size=2)), *requests)
    for place in (0, 2, 3, 5):
        requests[place].wanted = False
    batch, gone, wait = queue.take(1e9)
    assert (names(batch), names(gone), wait) == ("be", "acd", 0.0)
    batch, gone, wait = queue.take(1e9)
    assert (names(batch), names(gone), wait) == ("", "f", 0.0)
    assert not len(queue)


def test_a_full_batch_is_told_by_who_is_still_there() -> None:
    requests = [Request(name) for name in "abc"]
    queue = fill(Queue(Rules(max_size=2, max_wait=1e9)), *requests[:2])
    requests[1].wanted = False
    assert queue.take(0.0)[2] > 0
    fill(queue, requests[2])
    batch, gone, _ = queue.take(0.0)
    assert (names(batch), names(gone)) == ("ac", "b")


def test_who_is_wanted_again_after_being_passed_over_is_not_late() -> None:
    class Rejoined(Request):
        """Unwanted when it is looked at first, and wanted from then on, as where a thread joins meanwhile."""

        __slots__ = ()

        def is_wanted(self) -> bool:
            before, self.wanted = self.wanted, True
            return before

    with FakeClock() as clock:
        batcher = MicroBatcher(lambda _: None, Rules())
        rejoined, late = Rejoined("r"), Request("l", ends=clock.ticks())
        rejoined.wanted = False
        for request in (rejoined, late):
            batcher.put(request)
        assert batcher.take() == ([], 0.0)
    assert (rejoined.left, late.left) == ([False], [True])


def no_more_threads() -> Any:
    """Let starting a thread fail."""
    refused = RuntimeError("can't start new thread")
    return mock.patch.object(threading.Thread, "start", side_effect=refused)


def test_where_no_thread_can_be_started_requests_fail_and_slots_are_free_again() -> None:
    batches: list[str] = []
    batcher = MicroBatcher(lambda batch: batches.append(names(batch)), Rules(slots=2, max_size=1))
    requests = [Request(name) for name in "ab"]
    for request in requests:
        batcher.put(request)
    with no_more_threads():
        batcher.open()
    assert [len(request.failed) for request in requests] == [1, 1]
    assert batcher.add(Request("c"))
    batcher.serve()
    assert batches == ["c"]


def test_who_serves_and_cannot_hand_over_fails_those_who_wait() -> None:
    batcher = MicroBatcher(lambda _: None, Rules(max_size=1))
    first, second = Request("a"), Request("b")
    assert batcher.add(first)
    assert not batcher.add(second)
    with no_more_threads():
        batcher.serve(until=lambda: True)
    assert (first.failed, len(second.failed)) == ([], 1)
    assert batcher.add(Request("c"))


def test_who_cannot_be_computed_apart_waits_on() -> None:
    batches: list[str] = []
    outer, inner = Request("o"), Request("i")

    def compute(batch: list[Any]) -> None:
        batches.append(names(batch))
        if batch == [outer]:
            with no_more_threads(), pytest.raises(RuntimeError):
                batcher.hurry(inner)

    batcher = MicroBatcher(compute, Rules(max_size=1))
    assert batcher.add(outer)
    assert not batcher.add(inner)
    batcher.serve()
    assert batches == ["o", "i"]
    assert batcher.add(Request("next"))
