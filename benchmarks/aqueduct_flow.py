"""A flow of Aqueduct with one step, which calls a function; arrays travel in its shared fields."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import aqueduct
import numpy as np


class Task(aqueduct.BaseTask):  # type: ignore[misc] # it has no types
    """A call, and later its result."""

    def __init__(self, function: Callable[..., Any], argument: Any) -> None:
        super().__init__()
        self.function, self.argument, self.result = function, argument, None
        _share(self, "argument")


class Handler(aqueduct.BaseTaskHandler):  # type: ignore[misc] # the same
    """Calls the functions of tasks."""

    def handle(self, *tasks: Any) -> None:
        """Compute the result of each."""
        for task in tasks:
            task.result = task.function(task.argument)
            _share(task, "result")


def submit_to_flow(stack: ExitStack) -> Callable[..., Any]:
    """A function that has a call computed by a flow, which is started now and stopped with ``stack``."""
    logging.getLogger("aqueduct").setLevel(logging.ERROR)
    loop = asyncio.new_event_loop()
    stack.callback(loop.close)
    flow = aqueduct.Flow(aqueduct.FlowStep(Handler()), metrics_enabled=False)

    async def start() -> None:
        flow.start()

    async def process(function: Callable[..., Any], argument: Any) -> Any:
        task = Task(function, argument)
        await flow.process(task)
        return task.result

    loop.run_until_complete(start())
    stack.callback(lambda: loop.run_until_complete(flow.stop(graceful=False)))
    return lambda function, argument=None: loop.run_until_complete(process(function, argument))


def _share(task: Any, field: str) -> None:
    if isinstance(getattr(task, field), np.ndarray):
        task.share_value(field)
