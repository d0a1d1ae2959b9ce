"""A flow is driven by one thread until an engine has its call, and by another one to its end."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextvars import ContextVar
from typing import Any

from mlcache import threads
from mlcache.call import Call
from mlcache.computing import Shipped
from mlcache.entry import Key
from mlcache.relay import relay
from mlcache.steps import Compute, Made, Now, Step

CALL = Call(Key("n", b""), (), lambda _: None)
NAME: ContextVar[str] = ContextVar("NAME", default="nobody")


class Ships:
    """What the flow gives its calls to: a future that the test sets, or an error."""

    offloads = True

    def __init__(self, reply: Any = None) -> None:
        self.future: Future[Any] = Future()
        self.reply = reply

    def ship(self, step: Compute) -> Made | Shipped:
        assert step.call is CALL
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply or Shipped(self.future)

    def compute(self, step: Compute) -> Made:
        raise NotImplementedError(step)

    async def compute_suspending(self, step: Compute) -> Made:
        raise NotImplementedError(step)


class Flow:
    """A flow that notes what it was answered with, and where it was driven."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.threads: list[str] = []
        self.names: list[str] = []
        self.ended = threading.Event()

    async def run(self) -> None:
        try:
            for step in (Now(), Compute(CALL), Now()):
                self._note()
                try:
                    self.seen.append(await step)
                except ValueError as error:
                    self.seen.append(error)
            self._note()
            raise KeyError("has landed")
        finally:
            self.ended.set()

    def _note(self) -> None:
        self.threads.append(threading.current_thread().name)
        self.names.append(NAME.get())


def carry_out(step: Step) -> float:
    assert isinstance(step, Now)
    return 5.0


def test_the_thread_is_free_while_the_engine_computes() -> None:
    flow, parts = Flow(), Ships()
    token = NAME.set("the caller")
    relay(flow.run(), parts, carry_out)
    NAME.reset(token)
    assert flow.seen == [5.0]
    parts.future.set_result("answer")
    assert flow.ended.wait(20)
    assert [flow.seen[0], flow.seen[1].value, flow.seen[2]] == [5.0, "answer", 5.0]
    here = threading.current_thread().name
    assert flow.threads[:2] == [here, here]
    assert all(name.startswith("mlcache-land") for name in flow.threads[2:])
    assert flow.names == ["the caller"] * 4


def test_what_the_engine_raises_is_thrown_into_the_flow() -> None:
    flow, parts = Flow(), Ships()
    relay(flow.run(), parts, carry_out)
    error = ValueError("of the function")
    parts.future.set_exception(error)
    assert flow.ended.wait(20)
    assert flow.seen == [5.0, error, 5.0]


def test_an_engine_that_refuses_the_call_throws_into_the_flow() -> None:
    error = ValueError("no room")
    flow = Flow()
    relay(flow.run(), Ships(error), carry_out)
    assert flow.ended.is_set()
    assert flow.seen == [5.0, error, 5.0]


def test_what_was_computed_at_once_needs_no_other_thread() -> None:
    made = Made("answer", 0.0, 0.0)
    flow = Flow()
    relay(flow.run(), Ships(made), carry_out)
    assert flow.seen == [5.0, made, 5.0]


def test_a_step_that_fails_throws_into_the_flow() -> None:
    def fail(_: Step) -> None:
        raise ValueError

    flow, parts = Flow(), Ships()
    relay(flow.run(), parts, fail)
    parts.future.set_result("answer")
    assert flow.ended.wait(20)
    assert [type(each) for each in flow.seen] == [ValueError, Made, ValueError]


def test_where_no_thread_can_be_had_any_more_the_flow_is_driven_by_who_answers() -> None:
    flow, parts = Flow(), Ships()
    relay(flow.run(), parts, carry_out)
    threads.pool("land").shutdown()
    parts.future.set_result("answer")
    assert flow.ended.is_set()
    assert flow.seen[1].value == "answer"
