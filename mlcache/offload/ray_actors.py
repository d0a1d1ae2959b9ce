"""Ray as an engine: actors, each of which holds the resources and computes one call at a time."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future, wait
from typing import Any

from mlcache import forks
from mlcache.errors import MissingExtraError, PoolClosedError, WorkerDied
from mlcache.offload import functions
from mlcache.offload.checks import count, factories, time_to_close
from mlcache.offload.engine import CallOptions, Duration
from mlcache.offload.executors import Answer, Relayed, answer
from mlcache.offload.inline import Factories, Function, refuse_options


class RayEngine:
    """An engine over actors of Ray, which are started at the first call, and end with this object.

    Ray itself is connected to as it always is: by ``ray.init`` or, at the first call, as its variables
    say. What an actor was computing when it died fails with ``WorkerDied``, and another one is started.

    Args:
        actors: how many.
        resources: functions that load what is passed beside the arguments, by parameter: once in each
            actor, when it starts.
        options: of the actors, as Ray's ``.options()`` takes them, such as ``{"num_gpus": 1}``.

    Raises:
        ConfigurationError: ``actors`` is no number above zero.
        MissingExtraError: Ray is not installed.
    """

    def __init__(
        self,
        actors: int,
        resources: Factories | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        seats = count(actors, "actors")
        _import_ray()
        self.resources: Factories = factories(resources)
        self._options = dict(options or {})
        self._seats = [_Seat() for _ in range(seats)]
        self._closed = False
        self.after_fork()
        forks.tend(self)

    def after_fork(self) -> None:
        """Be of use in a child that was forked while another thread held the lock."""
        self._lock = threading.RLock()  # a finalizer may come at any time, and call a cached function

    def submit(self, function: Function, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have the actor that has the least to do compute ``function(*args, **kwargs)``.

        Raises:
            PoolClosedError: the engine is closed.
        """
        names = functions.resource_names(function, self.resources)
        call = functions.pack(function), functions.dumps((args, kwargs)), names
        with self._lock:
            if self._closed:
                raise PoolClosedError("the engine is closed, and takes no more calls")
            seat = min(self._seats, key=lambda seat: len(seat.calls))
            if seat.actor is None:
                seat.actor = self._start()
            future = _RayFuture(seat.actor.compute.remote(*call).future())
            seat.calls.add(future)
        future.add_done_callback(lambda _: self._note_end(seat, future))
        return future

    def with_options(self, options: CallOptions) -> RayEngine:
        """This engine, if nothing is asked for that actors cannot do.

        Raises:
            ConfigurationError: anything but the number of items.
        """
        refuse_options("an actor of Ray", options)
        return self

    def close(self, timeout: Duration | None = None) -> None:
        """Take no more calls, wait for those that were taken, and end the actors."""
        import ray

        patience = time_to_close(timeout)
        with self._lock:
            self._closed = True
            seats, self._seats = self._seats, []
        wait([call for seat in seats for call in seat.calls], patience)
        for seat in seats:
            if seat.actor is not None:
                ray.kill(seat.actor)

    def __reduce__(self) -> Any:
        """In another process it is an engine of its own, with the same options, without actors yet."""
        return RayEngine, (len(self._seats), self.resources, self._options)

    def _start(self) -> Any:
        import ray

        factories = {name: functions.pack(factory) for name, factory in self.resources.items()}
        make: Any = ray.remote(_Actor)
        return make.options(**self._options).remote(factories)

    def _note_end(self, seat: _Seat, future: _RayFuture) -> None:
        with self._lock:
            seat.calls.discard(future)
            if isinstance(future.exception(), WorkerDied):
                seat.actor = None


class _Seat:
    """The place of an actor, and the calls that it has to answer."""

    def __init__(self) -> None:
        self.actor: Any = None
        self.calls: set[_RayFuture] = set()


class _RayFuture(Relayed):
    def cancel(self) -> bool:
        """Nothing: an actor's call is not taken back."""
        return False

    def explain(self, error: BaseException) -> BaseException:
        """What became of the actor, in our words."""
        from ray.exceptions import RayActorError

        if not isinstance(error, RayActorError):
            return error
        died = WorkerDied("the actor of Ray died while it computed the call, or could not be started")
        died.__cause__ = error
        return died


class _Actor:
    """What runs in Ray.

    Args:
        factories: the packed functions that load the resources, by name.
    """

    def __init__(self, factories: Mapping[str, bytes]) -> None:
        self._resources = {name: functions.unpack(factory)() for name, factory in factories.items()}

    def compute(self, function: bytes, data: bytes, names: tuple[str, ...]) -> Answer:
        """As ``executors.compute``, with the resources of these names."""
        return answer(function, data, lambda: {name: self._resources[name] for name in names})


def _import_ray() -> None:
    try:
        __import__("ray")
    except ImportError:
        raise MissingExtraError("RayEngine", "ray", "ray") from None
