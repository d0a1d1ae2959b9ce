"""How the misses of one function are computed: here, or by an engine that computes elsewhere."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from mlcache import clock, switch
from mlcache.call import Parameters, Values
from mlcache.flight import aboard
from mlcache.steps import Compute, Made
from mlcache.threads import finished, in_thread

if TYPE_CHECKING:
    from concurrent.futures import Future

    from mlcache.offload.engine import Engine

Function = Callable[..., Any]


class Computes(Protocol):
    """What computes misses."""

    offloads: bool
    """Whether an engine does, elsewhere."""

    def compute(self, step: Compute) -> Made:
        """Call the function."""
        ...

    def ship(self, step: Compute) -> Made | Shipped:
        """Give the call to the engine, and wait for no more than that; without one, as ``compute``."""
        ...

    async def compute_suspending(self, step: Compute) -> Made:
        """Await the function, or the engine."""
        ...


class Computing:
    """Misses are computed by whoever leads the flight.

    Args:
        function: with all that it takes beside the arguments of its callers.
        parameters: those that its callers pass.
    """

    offloads: bool = False
    workers: int = 1
    """How many calls are computed at a time, where an engine says so."""

    def __init__(self, function: Function, parameters: Parameters) -> None:
        self.invoke = function
        self.apply: Callable[[Values], Any] = parameters.compile_apply(function)

    def compute(self, step: Compute) -> Made:
        """Call the function in this thread."""
        started = clock.ticks()
        if step.flight is None:
            value = step.call.apply(step.call.values)
        else:
            with aboard(step.flight):
                value = step.call.apply(step.call.values)
        return Made(value, clock.now(), clock.ticks() - started)

    async def compute_suspending(self, step: Compute) -> Made:
        """Await the coroutine function."""
        started = clock.ticks()
        if step.flight is None:
            value = await step.call.apply(step.call.values)
        else:
            with aboard(step.flight):
                value = await step.call.apply(step.call.values)
        return Made(value, clock.now(), clock.ticks() - started)

    def ship(self, step: Compute) -> Made | Shipped:
        """As ``compute``."""
        return self.compute(step)


class Offloading(Computing):
    """Misses are computed by an engine.

    Args:
        function: of the user.
        engine: that it is sent to.
        local: the function with its resources, for where this process is itself a worker.
        parameters: those that its callers pass.
    """

    offloads = True

    def __init__(self, function: Function, engine: Engine, local: Function, parameters: Parameters) -> None:
        super().__init__(self._send, parameters)
        self._function = function
        self._engine = engine
        # Calls come from threads that many functions share: where it can, a call waits for room without one.
        self._submit = getattr(engine, "enqueue", engine.submit)
        self.workers = getattr(engine, "workers", 1)
        self._local = local

    def _send(self, /, *args: Any, **kwargs: Any) -> Any:
        if switch.is_plain():
            return self._local(*args, **kwargs)
        return Shipped(self._submit(self._function, *args, **kwargs))

    def compute(self, step: Compute) -> Made:
        """Give the call to the engine, and wait for its answer."""
        started = clock.ticks()
        if step.flight is None:
            return _made(step.call.apply(step.call.values), started)
        with aboard(step.flight):
            return _made(step.call.apply(step.call.values), started)

    def ship(self, step: Compute) -> Made | Shipped:
        """Give the call to the engine, and wait for no more than that."""
        started = clock.ticks()
        if step.flight is None:
            value = step.call.apply(step.call.values)
        else:
            with aboard(step.flight):
                value = step.call.apply(step.call.values)
        return value if isinstance(value, Shipped) else Made(value, clock.now(), clock.ticks() - started)

    async def compute_suspending(self, step: Compute) -> Made:
        """Give the call to the engine, and await its answer."""
        shipped = await ship_aside(partial(self.ship, step))
        if isinstance(shipped, Shipped):
            await finished(shipped.future)
            return shipped.made()
        if inspect.isawaitable(shipped.value):
            return Made(await shipped.value, clock.now(), shipped.cost)
        return shipped


class Shipped:
    """A call that was given to an engine.

    Args:
        future: of its answer.
    """

    def __init__(self, future: Future[Any]) -> None:
        self.future = future
        self._started = clock.ticks()

    def made(self) -> Made:
        """What the call gave; it waits for that, and may be asked once.

        Raises:
            Exception: whatever the function or the engine raised.
        """
        future = self.future
        try:
            value = future.result()
            seconds = getattr(future, "seconds", None)
        except BaseException:
            future.cancel()  # nobody waits any more, if it was this thread that was interrupted
            raise
        finally:
            del future, self.future  # which hold the error, whose traceback holds this frame: a circle
        return Made(value, clock.now(), clock.ticks() - self._started if seconds is None else seconds)


async def ship_aside(ship: Callable[[], Made | Shipped]) -> Made | Shipped:
    """Give a call to an engine in a thread: packing takes its time, and some engines wait for room.

    Who is cancelled meanwhile takes it back.
    """
    errand = _Errand(ship)
    try:
        return await in_thread("ship", errand.run)
    except BaseException:
        errand.recall()
        raise


class _Errand:
    """Giving a call to an engine, in a thread, for somebody who may not wait for that to be done."""

    def __init__(self, ship: Callable[[], Made | Shipped]) -> None:
        self._ship = ship
        self._shipped: Made | Shipped | None = None
        self._recalled = False

    def run(self) -> Made | Shipped:
        """Give the call to the engine."""
        self._shipped = shipped = self._ship()
        if self._recalled:
            self.recall()
        return shipped

    def recall(self) -> None:
        """Take the call back, now or when it has been given."""
        self._recalled = True
        if isinstance(self._shipped, Shipped):
            self._shipped.future.cancel()


def _made(value: Any, started: float) -> Made:
    if isinstance(value, Shipped):
        return value.made()
    return Made(value, clock.now(), clock.ticks() - started)
