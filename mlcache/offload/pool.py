"""The pool: worker processes that compute calls, and whatever becomes of them, the program goes on."""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import msgspec

from mlcache import forks, units
from mlcache.errors import ConfigurationError, PoolClosedError, PoolFullError
from mlcache.offload import report
from mlcache.offload.engine import CallOptions
from mlcache.offload.hire import METHODS
from mlcache.offload.inline import Inline
from mlcache.offload.intake import take_in
from mlcache.offload.plan import Plan
from mlcache.offload.supervisor import Supervisor
from mlcache.threads import in_thread

if TYPE_CHECKING:
    from concurrent.futures import Future
    from types import TracebackType

    from mlcache.offload.health import Health
    from mlcache.offload.metrics import PoolMetrics

Duration = float | str | timedelta
Submit: TypeAlias = "Callable[[Callable[..., Any], Any, Any], Future[Any]]"
Run: TypeAlias = "Callable[[Callable[..., Any], Any, Any], Awaitable[Any]]"
_NOTHING_ASKED = CallOptions()


class Pool:
    """Worker processes that compute calls.

    Arrays travel through shared memory. A worker that crashes, hangs or runs out of memory costs the
    call that it computed, and is replaced; nothing else is lost. Workers are started at the first call.

    Args:
        workers: how many. None: one for each core that this process may use.
        resources: what functions are given beside their arguments: by the name of a parameter, a
            function without arguments that is called once in each worker, when that starts.
        timeout: seconds (or ``"30s"``) that a call may compute; then its worker is killed. None: no limit.
        max_queue: calls that may wait for a worker.
        max_queue_bytes: bytes of arguments that may wait (or ``"1GiB"``).
        when_full: what ``submit`` does if there is no room: ``"wait"``, ``"raise"`` a ``PoolFullError``,
            or compute the call ``"inline"``, in the caller's own thread.
        start_method: ``"forkserver"`` (the default): workers are forks of a clean process; ``"spawn"``:
            each is a fresh interpreter; ``"fork"``: they are forks of this process, as it is at the
            first call.
        threads: that numerical libraries may use in each worker. None: the cores shared out evenly.
        max_calls: after so many calls a worker is replaced.
        max_memory: a worker that holds more bytes (or ``"2GiB"``) after a call is replaced.
        recycle: seconds (or ``"6h"``) after which a worker is replaced, between calls.
        load_timeout: seconds that loading the resources may take.

    Raises:
        ConfigurationError: an option that cannot be understood.
    """

    def __init__(  # noqa: PLR0913 - one object for all of it, as the decorator has one keyword
        self,
        workers: int | None = None,
        *,
        resources: Mapping[str, Callable[[], Any]] | None = None,
        timeout: Duration | None = None,
        max_queue: int | None = 1000,
        max_queue_bytes: int | str | None = "256MiB",
        when_full: str = "wait",
        start_method: str | None = None,
        threads: int | None = None,
        max_calls: int | None = None,
        max_memory: int | str | None = None,
        recycle: Duration | None = None,
        load_timeout: Duration | None = 120.0,
    ) -> None:
        number = _cores() if workers is None else _count(workers, "workers")
        self._plan = Plan(
            workers=number,
            resources=_factories(resources or {}),
            timeout=_seconds(timeout, "timeout"),
            max_queue=math.inf if max_queue is None else _count(max_queue, "max_queue"),
            max_queue_bytes=_bytes(max_queue_bytes, "max_queue_bytes"),
            when_full=_one_of(when_full, ("wait", "raise", "inline"), "when_full"),
            start_method=_start_method(start_method),
            threads=_fair_share(number) if threads is None else _count(threads, "threads"),
            max_calls=math.inf if max_calls is None else _count(max_calls, "max_calls"),
            max_memory=_bytes(max_memory, "max_memory"),
            recycle=_seconds(recycle, "recycle"),
            load_timeout=_seconds(load_timeout, "load_timeout"),
        )
        self._inline = Inline(self._plan.resources)
        self._closed = False
        self._supervisor: Supervisor | None = None
        self._lock = threading.RLock()
        forks.tend(self)

    @property
    def resources(self) -> Mapping[str, Callable[[], Any]]:
        """The functions that load what is passed beside the arguments, by parameter."""
        return self._plan.resources

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have ``function(*args, **kwargs)`` computed by a worker.

        The arguments are copied before it returns. The function sees arrays among them as read-only.

        Returns:
            A ``concurrent.futures.Future`` of the result. What cannot be pickled makes it fail, too.

        Raises:
            PoolFullError: too many calls wait, and ``when_full`` is ``"raise"``.
            PoolClosedError: the pool is closed.
        """
        return self._submit(_NOTHING_ASKED, function, args, kwargs)

    async def run(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """The result of ``function(*args, **kwargs)``, awaited; the event loop goes on meanwhile.

        Raises:
            Exception: as ``submit``, and whatever the function raises.
        """
        return await self._run(_NOTHING_ASKED, function, args, kwargs)

    def with_options(self, options: CallOptions) -> PoolWithOptions:
        """This pool, asked for ``options`` in each of its calls."""
        for name in ("timeout", "deadline"):
            if getattr(options, name) is not None:
                units.seconds(getattr(options, name), what=name)
        return PoolWithOptions(self, partial(self._submit, options), partial(self._run, options))

    def with_workers(self, workers: int) -> Pool:
        """Another pool, of so many workers, with the same options otherwise."""
        return _again(self._plan, workers)

    def __reduce__(self) -> Any:
        """In another process it is a pool of its own, with the same options, that has not been started."""
        return _again, (self._plan, self._plan.workers)

    def start(self) -> Self:
        """Start the workers in the background, rather than at the first call."""
        self._started()
        return self

    def close(self, timeout: float | None = None) -> None:
        """Take no more calls, wait until those that were taken are answered, and end the workers.

        Args:
            timeout: seconds after which the calls that are left fail with ``PoolClosedError``.
        """
        with self._lock:
            self._closed = True
            supervisor = self._supervisor
        if supervisor is not None:
            supervisor.close(timeout)

    def metrics(self) -> PoolMetrics:
        """What the pool has done so far, and what it does now."""
        return report.metrics(self._supervisor)

    def health(self) -> Health:
        """Whether the pool does what it is for, and what is in its way."""
        return report.health(self._plan, self._supervisor, closed=self._closed)

    def after_fork(self) -> None:
        """In a fork of this process: let go of the workers, which are not its own, and start others if needed."""
        self._lock = threading.RLock()
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.forget()

    def _submit(
        self, options: CallOptions, function: Callable[..., Any], args: Any, kwargs: Any, *, wait: bool = True
    ) -> Future[Any]:
        supervisor = self._started()
        when_full = self._plan.when_full
        wait = wait and when_full == "wait" and supervisor.thread is not threading.current_thread()
        try:
            return take_in(self._plan, supervisor.desk, options, (function, args, kwargs), wait=wait)
        except PoolFullError:
            if when_full != "inline":
                raise
            return self._inline.submit(function, *args, **kwargs)

    async def _run(
        self, options: CallOptions, function: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        import asyncio

        try:
            future = self._submit(options, function, args, kwargs, wait=False)
        except PoolFullError:
            if self._plan.when_full != "wait":
                raise
            future = await in_thread("compute", partial(self._submit, options, function, args, kwargs))
        return await asyncio.wrap_future(future)

    def _started(self) -> Supervisor:
        supervisor = self._supervisor
        if supervisor is not None and not self._closed:
            return supervisor
        with self._lock:
            if self._closed:
                raise PoolClosedError("the pool is closed, and takes no more calls")
            if self._supervisor is None:
                self._supervisor = Supervisor(self._plan)
                weakref.finalize(self, self._supervisor.retire)
            return self._supervisor

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close(None if error is None else 0)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "not started" if self._supervisor is None else "started"
        return f"<Pool of {self._plan.workers} workers, {state}>"


class PoolWithOptions:
    """A pool that is asked for the same options in each call; ``Pool.with_options`` makes it."""

    def __init__(self, pool: Pool, submit: Submit, run: Run) -> None:
        self._pool = pool
        self._submit = submit
        self._run = run

    @property
    def resources(self) -> Mapping[str, Callable[[], Any]]:
        """Those of the pool."""
        return self._pool.resources

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As ``Pool.submit``."""
        return self._submit(function, args, kwargs)

    async def run(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """As ``Pool.run``."""
        return await self._run(function, args, kwargs)

    def with_options(self, options: CallOptions) -> PoolWithOptions:
        """The pool, asked for other options."""
        return self._pool.with_options(options)

    def close(self, timeout: float | None = None) -> None:
        """Close the pool."""
        self._pool.close(timeout)


def _cores() -> int:
    """How many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _fair_share(workers: int) -> int:
    return max(_cores() // workers, 1)


def _again(plan: Plan, workers: int) -> Pool:
    """A pool of so many workers with the options of ``plan``."""
    options = msgspec.structs.asdict(plan)
    same = {name: None if value == math.inf else value for name, value in options.items()}
    threads = None if plan.threads == _fair_share(plan.workers) else plan.threads
    return Pool(**same | {"workers": workers, "threads": threads})


def _count(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{what} is {value!r}: give a whole number above zero")
    return value


def _seconds(value: Duration | None, what: str) -> float:
    return math.inf if value is None else units.seconds(value, what=what)


def _bytes(value: int | str | None, what: str) -> float:
    return math.inf if value is None else units.size(value, what=what)


def _one_of(value: str, choices: tuple[str, ...], what: str) -> str:
    if value not in choices:
        raise ConfigurationError(f"{what} is {value!r}: give one of {', '.join(map(repr, choices))}")
    return value


def _start_method(value: str | None) -> str:
    if not hasattr(os, "fork"):
        raise ConfigurationError(
            "worker processes of mlcache need a POSIX system: here, give an executor, "
            "such as concurrent.futures.ProcessPoolExecutor(), in place of a Pool"
        )
    return _one_of(value or "forkserver", METHODS, "start_method")


def _factories(resources: Mapping[str, Callable[[], Any]]) -> dict[str, Callable[[], Any]]:
    for name, factory in resources.items():
        if not isinstance(name, str) or not name.isidentifier() or not callable(factory):
            raise ConfigurationError(
                f"resources has {name!r}: {factory!r}: give the name of a parameter, and a function without "
                "arguments that loads what is passed for it in each worker"
            )
    return dict(resources)
