"""One computation for all processes, threads and tasks, whatever becomes of the leader and of the store."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlcache.backends.redis.lease import LEASE
from mlcache.flight.shared import LONGEST
from tests.faults.children import PATIENCE
from tests.faults.fleet import Order, Ship
from tests.redis.servers import Server

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there are no such signals here")

OPERATIONS = int(os.environ.get("MLCACHE_TEST_OPERATIONS", "8000"))
"""How many calls there are where there are many keys. 64,000 are a thousand for each of 64 threads."""

POLL = 0.5
"""Seconds that a follower may take on a busy machine to notice that it may go on."""


@pytest.fixture(scope="module")
def ships() -> Iterator[list[Ship]]:
    """Eight processes."""
    started = [Ship() for _ in range(8)]
    yield [ship.ready() for ship in started]
    for ship in started:
        ship.close()


@pytest.fixture
def doomed() -> Iterator[Ship]:
    """A process that may be killed or stopped."""
    ship = Ship()
    yield ship.ready()
    if ship.alive:
        ship.signal(signal.SIGCONT)
    ship.close()


@pytest.fixture(scope="module")
def standing() -> Iterator[Server]:
    """A Redis for all tests that do not harm it."""
    with Server() as server:
        yield server


@pytest.fixture(params=["disk", "redis"])
def backend(request: pytest.FixtureRequest, standing: Server, tmp_path: Path) -> str:
    """The URL of a store that processes share."""
    if request.param == "disk":
        return f"disk://{tmp_path}/cache"
    standing.command("FLUSHALL")
    return f"{standing.url}?timeout=5s&connect_timeout=5s"


@pytest.fixture
def order(backend: str, tmp_path: Path) -> Order:
    """One thread of each process asks for one key, and the function waits for the gate."""
    return Order(backend, "stampede", tmp_path / "log", tmp_path / "gate")


def wait_until(condition: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        pause.wait(0.002)


def set_out(ships: list[Ship], order: Order) -> None:
    for ship in ships:
        ship.send(order)


def arrive(ships: list[Ship]) -> list[str]:
    return [ship.said().answer for ship in ships]


@pytest.mark.parametrize(("kind", "callers", "number"), [("threads", 8, 8), ("tasks", 1000, 3)])
def test_one_cold_key_is_computed_once(
    kind: str, callers: int, number: int, ships: list[Ship], order: Order
) -> None:
    order = order._replace(kind=kind, callers=callers)
    set_out(ships[:number], order)
    wait_until(order.runs)
    order.gate.touch()
    assert arrive(ships[:number]) == ["right"] * number
    assert len(order.runs()) == 1
    assert not list(order.log.parent.glob("cache/locks/*")), "no lock is left behind"


@pytest.mark.parametrize(("kind", "callers", "number"), [("threads", 8, 8), ("tasks", 1, 8)])
def test_many_keys_at_once_are_computed_once_each(
    kind: str, callers: int, number: int, ships: list[Ship], order: Order
) -> None:
    thousand = kind == "threads" and order.backend.startswith("disk")  # the quickest of the four
    keys = 1000 if thousand else min(1000, OPERATIONS // 64)
    order = order._replace(kind=kind, callers=callers, keys=keys)
    order.gate.touch()
    set_out(ships[:number], order)
    assert arrive(ships[:number]) == ["right"] * number
    assert sorted(key for _, key in order.runs()) == list(range(keys))


def test_followers_in_other_processes_are_told_when_the_leader_has_ended(
    ships: list[Ship], standing: Server, tmp_path: Path
) -> None:
    """They listen over one connection a process, and ask much less often than they would without."""
    standing.command("FLUSHALL")
    order = Order(f"{standing.url}?timeout=5s", "told", tmp_path / "log", tmp_path / "gate", callers=8)
    lead_with(ships[0], ships[1:4], order)
    wait_until(lambda: standing.command("PUBSUB", "NUMSUB", "mlcache:free:0")[1] == 3)
    assert not threading.Event().wait(0.5)  # by then nobody asks more than four times a second
    standing.command("CONFIG", "RESETSTAT")
    started = time.monotonic()
    assert not threading.Event().wait(1.0)
    lookups = calls_of(standing, "get")
    assert lookups < 3 * (time.monotonic() - started) / LONGEST / 3, "a third of what polling takes"
    order.gate.touch()
    assert arrive(ships[:4]) == ["right"] * 4
    assert len(order.runs()) == 1
    assert calls_of(standing, "publish") >= 2  # the entry is there, and the lease is free


def prepare(ships: list[Ship], order: Order) -> None:
    """Have all import what the store needs, which takes seconds on a busy machine, and connect."""
    there = order.log.parent
    for place, ship in enumerate(ships):
        ship.send(order._replace(name=f"prepared {place}", log=there / "prepared", gate=there))
    assert arrive(ships) == ["right"] * len(ships)


def calls_of(server: Server, command: str) -> int:
    """How often the server carried out a command since its counters were reset, in scripts, too."""
    found = server.command("INFO", "commandstats")
    return int(found.get(f"cmdstat_{command}", {}).get("calls", 0))


def lead_with(leader: Ship, followers: list[Ship], order: Order) -> None:
    """Have ``leader`` compute, and the others wait for it."""
    prepare([leader, *followers], order)
    leader.send(order)
    wait_until(order.runs)
    set_out(followers, order)
    assert not threading.Event().wait(0.1)
    assert order.runs() == [(leader.pid, 0)]


def test_a_killed_leader_is_replaced_by_one_of_its_followers(
    doomed: Ship, ships: list[Ship], order: Order
) -> None:
    lead_with(doomed, ships[:3], order)
    doomed.signal(signal.SIGKILL)
    killed = time.monotonic()
    wait_until(lambda: len(order.runs()) == 2)
    took = time.monotonic() - killed
    order.gate.touch()
    assert arrive(ships[:3]) == ["right"] * 3
    assert len(order.runs()) == 2
    assert took < (1.0 if order.backend.startswith("disk") else LEASE + POLL)


def test_a_stopped_leader_is_replaced_after_its_lease(doomed: Ship, ships: list[Ship], order: Order) -> None:
    on_disk = order.backend.startswith("disk")
    order = order._replace(wait="300ms" if on_disk else "60s")  # a lock on disk has no lease, but a limit
    lead_with(doomed, ships[:3], order)
    doomed.signal(signal.SIGSTOP)
    stopped = time.monotonic()
    wait_until(lambda: len(order.runs()) > 1)
    assert time.monotonic() - stopped < (0.3 if on_disk else LEASE) + POLL
    order.gate.touch()
    assert arrive(ships[:3]) == ["right"] * 3
    doomed.signal(signal.SIGCONT)
    assert doomed.said().answer == "right"
    assert len(order.runs()) <= (4 if on_disk else 2)  # beyond the limit each computes by itself


def test_a_leader_that_raises_leaves_the_others_to_compute(
    doomed: Ship, ships: list[Ship], order: Order
) -> None:
    order.gate.touch()
    doomed.send(order._replace(raises=True))
    assert doomed.said().answer == "ValueError: no"
    set_out(ships[:3], order)
    assert arrive(ships[:3]) == ["right"] * 3
    assert len(order.runs()) == 2


def test_a_cancelled_leader_leaves_another_process_to_compute(
    doomed: Ship, ships: list[Ship], order: Order
) -> None:
    """All who asked are gone, and with them the event loop that computed."""
    order = order._replace(kind="tasks")
    doomed.send(order._replace(gives_up=True))
    wait_until(order.runs)
    set_out(ships[:3], order)
    assert doomed.said().answer == "CancelledError: "
    wait_until(lambda: len(order.runs()) == 2)
    order.gate.touch()
    assert arrive(ships[:3]) == ["right"] * 3
    assert len(order.runs()) == 2


def test_a_redis_that_is_restarted_in_the_middle_costs_each_process_one_computation_at_most(
    ships: list[Ship], tmp_path: Path
) -> None:
    with Server() as own:
        backend = f"{own.url}?breaker=100ms"
        order = Order(backend, "restarted", tmp_path / "log", tmp_path / "gate", lenient=True)
        lead_with(ships[0], ships[1:4], order)
        own.kill()
        own.start()
        assert not threading.Event().wait(0.3)
        order.gate.touch()
        assert arrive(ships[:4]) == ["right"] * 4
        runs = len(order.runs())
        processes = {process for process, _ in order.runs()}
        assert len(processes) == runs  # who cannot ask whether others compute does so itself, once
        set_out(ships[:4], order)
        assert arrive(ships[:4]) == ["right"] * 4
        assert len(order.runs()) <= runs + 1  # the new server knew nothing of the answer
