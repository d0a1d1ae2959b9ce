"""The calls that wait: in which order, how many, and until when."""

from __future__ import annotations

import math
import random

import pytest

from mlcache.offload.engine import CallOptions
from mlcache.offload.item import Item
from mlcache.offload.queue import Queue


def call(number: int, *, size: int = 0, priority: int = 0, deadline: float | None = None) -> Item:
    item = Item("f", CallOptions(priority=priority))
    item.number, item.size, item.deadline = number, size, deadline
    return item


def filled(*items: Item, max_items: float = math.inf, max_bytes: float = math.inf) -> Queue:
    queue = Queue(max_items, max_bytes)
    for item in items:
        queue.push(item)
    return queue


def numbers(items: list[Item]) -> list[int]:
    return [item.number for item in items]


def drain(queue: Queue) -> list[int]:
    return numbers(list(iter(queue.pop, None)))


def test_the_highest_priority_goes_first_and_then_who_came_first() -> None:
    queue = filled(call(2), call(1), call(3, priority=5), call(4, priority=-1), call(5, priority=5))
    first = queue.first()
    assert first is not None
    assert (first.number, len(queue)) == (3, 5)
    assert drain(queue) == [3, 5, 1, 2, 4]
    assert queue.first() is queue.pop() is None


def test_there_is_room_up_to_the_bounds_and_no_farther() -> None:
    queue = filled(call(1, size=60), max_items=3, max_bytes=100)
    assert queue.has_room(40)
    assert not queue.has_room(41)
    assert queue.has_room(10, others=1, others_bytes=30)
    assert not queue.has_room(11, others=1, others_bytes=30)
    assert not queue.has_room(0, others=2)
    queue.push(call(2))
    queue.push(call(3))
    assert not queue.has_room(0)


def test_one_that_is_too_large_for_the_queue_has_room_alone() -> None:
    queue = Queue(3, 100)
    assert queue.has_room(1000)
    assert not queue.has_room(1000, others=1)
    queue.push(call(1, size=1000))
    assert not queue.has_room(0)


@pytest.mark.parametrize("end", ["pop", "discard", "expired", "clear"])
def test_who_waits_no_more_takes_no_room(end: str) -> None:
    item = call(1, size=70, deadline=5.0)
    queue = filled(item, max_items=1, max_bytes=100)
    ends = {
        "pop": lambda: [queue.pop()],
        "discard": lambda: [item] * queue.discard(item),
        "expired": lambda: queue.expired(5.0),
        "clear": queue.clear,
    }
    assert ends[end]() == [item]
    assert (len(queue), queue.bytes, queue.next_deadline()) == (0, 0, math.inf)
    assert queue.has_room(100)
    assert not queue.discard(item)
    assert queue.first() is queue.pop() is None


def test_a_deadline_is_the_first_instant_too_late() -> None:
    queue = filled(call(1, deadline=9.0), call(2), call(3, deadline=5.0), call(4, deadline=7.0))
    assert queue.next_deadline() == 5.0
    assert queue.expired(4.999) == []
    assert numbers(queue.expired(7.0)) == [3, 4]
    assert queue.next_deadline() == 9.0
    assert drain(queue) == [1, 2]


def test_who_is_cleared_away_comes_in_the_order_of_coming() -> None:
    queue = filled(*(call(number, priority=number % 3, deadline=1.0) for number in (3, 1, 4, 2)))
    assert numbers(queue.clear()) == [1, 2, 3, 4]
    assert queue.expired(2.0) == []


def test_who_is_taken_back_leaves_next_to_nothing_and_no_disorder() -> None:
    chance = random.Random(0)
    items = [call(number, priority=chance.randrange(5), deadline=chance.random()) for number in range(1000)]
    queue = filled(*items)
    stay = chance.sample(items, 50)
    for item in chance.sample(items, len(items)):
        if item not in stay:
            assert queue.discard(item)
    assert len(queue._heap) <= 64 + 2 * 50
    assert len(queue._deadlines) <= 64 + 2 * 50
    late = sorted((item for item in stay if (item.deadline or 0) <= 0.5), key=lambda item: item.deadline or 0)
    assert queue.expired(0.5) == late
    left = sorted(set(stay) - set(late), key=lambda item: (-item.priority, item.number))
    assert drain(queue) == numbers(left)
