"""A driver that holds no thread while an engine computes the call.

One thread drives the flow until it has given the call to the engine, and is free; once there is an
answer, another one drives it to its end. None of them needs an event loop, so the flight lands even
if the loop from which it took off is blocked by somebody who waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any

from mlcache.computing import Computes, Shipped
from mlcache.flight.carried import carried
from mlcache.steps import Compute, Step
from mlcache.threads import start

Flow = Coroutine[Step, Any, Any]


def relay(flow: Flow, parts: Computes, carry_out: Callable[[Step], Any]) -> None:
    """Drive ``flow`` to its end; in this thread only until an engine computes its call.

    Args:
        flow: that nobody else drives, and that lands a flight whatever happens.
        parts: which give calls to the engine.
        carry_out: does every step but ``Compute``.
    """
    _drive(flow, parts, carry_out, partial(flow.send, None))


def _drive(flow: Flow, parts: Computes, carry_out: Callable[[Step], Any], go_on: Callable[[], Step]) -> None:
    step: Step | None = None
    try:
        while True:
            step = go_on()
            try:
                reply = parts.ship(step) if isinstance(step, Compute) else carry_out(step)
            except BaseException as error:  # noqa: BLE001 - all errors of a step are the flow's to deal with
                go_on = partial(flow.throw, carried(error))
                continue
            if isinstance(reply, Shipped):
                _hand_over(reply, partial(_resume, flow, parts, carry_out))
                return
            go_on = partial(flow.send, reply)
    except Exception:  # noqa: BLE001, S110 - it has landed in the flight, where all callers wait for it
        pass
    finally:
        del step, go_on  # they may hold the error that ends us, whose traceback holds this frame: a circle


def _hand_over(shipped: Shipped, resume: Callable[[Shipped], None]) -> None:
    context = copy_context()

    def again() -> None:
        context.run(resume, shipped)

    def land(_: object) -> None:
        try:
            start("land", again)
        except RuntimeError:  # the program ends, and no thread takes anything any more
            again()

    shipped.future.add_done_callback(land)


def _resume(flow: Flow, parts: Computes, carry_out: Callable[[Step], Any], shipped: Shipped) -> None:
    with suppress(BaseException):  # as above; whose thread this is has not asked for it
        _drive(flow, parts, carry_out, partial(_answer, flow, shipped))


def _answer(flow: Flow, shipped: Shipped) -> Step:
    try:
        made = shipped.made()
    except BaseException as error:  # noqa: BLE001 - all errors of a step are the flow's to deal with
        return flow.throw(carried(error))
    return flow.send(made)
