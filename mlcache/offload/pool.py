"""The pool: worker processes that compute calls, and whatever becomes of them, the program goes on."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from mlcache import forks
from mlcache.errors import PoolClosedError, PoolFullError
from mlcache.offload.checks import time_to_close
from mlcache.offload.engine import CallOptions, Duration, check_options
from mlcache.offload.functions import pack
from mlcache.offload.inline import Apart
from mlcache.offload.plan import Plan, check_inline, make_plan, options_of
from mlcache.threads import in_thread

if TYPE_CHECKING:
    from concurrent.futures import Future
    from types import TracebackType

    from mlcache.offload.health import Health
    from mlcache.offload.metrics import PoolMetrics
    from mlcache.offload.supervisor import Supervisor

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
        max_queue: calls that may wait for a worker. None: any number.
        max_queue_bytes: bytes of arguments that may wait (or ``"1GiB"``). None: any number.
        when_full: what ``submit`` does if there is no room: ``"wait"``, ``"raise"`` a ``PoolFullError``,
            or compute the call ``"inline"``, in the caller's own thread (in one beside the event loop, if it
            is awaited): it is given what it would be in a worker, but may take as long as it likes.
        start_method: ``"forkserver"`` (the default): workers are forks of a clean process; ``"spawn"``:
            each is a fresh interpreter; ``"fork"``: they are forks of this process, as it is at the
            first call.
        threads: that numerical libraries may use in each worker. None: what
            ``OMP_NUM_THREADS`` says, else the cores shared out evenly.
        max_calls: after so many calls a worker is replaced.
        max_memory: a worker that holds more bytes (or ``"2GiB"``) after a call is replaced.
        recycle: seconds (or ``"6h"``) after which a worker is replaced, between calls.
        load_timeout: seconds (or ``"5m"``) that loading the resources may take. None: no limit.

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
        start_method: str = "forkserver",
        threads: int | None = None,
        max_calls: int | None = None,
        max_memory: int | str | None = None,
        recycle: Duration | None = None,
        load_timeout: Duration | None = 120.0,
    ) -> None:
        self._plan = make_plan({name: value for name, value in locals().items() if name != "self"})
        self._inline = Apart(self._plan.resources)
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
            TypeError: ``function`` cannot be called.
            PoolFullError: too many calls wait, and ``when_full`` is ``"raise"``.
            PoolClosedError: the pool is closed.
            OffloadError: a module was reloaded, and the pool's workers are forks from before (``"fork"``).
            OSError: no descriptor or shared memory is left for the arguments.
        """
        return self._submit(_NOTHING_ASKED, function, args, kwargs)

    def enqueue(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As ``submit``, but where that would wait for room, the future does, and no thread.

        The arguments may then be copied after it returns: do not change them before the future is done.
        A call for which there is still no room when the pool is closed fails with ``PoolClosedError``.
        """
        return self._submit(_NOTHING_ASKED, function, args, kwargs, later=True)

    async def run(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """The result of ``function(*args, **kwargs)``, awaited; the event loop goes on meanwhile.

        Raises:
            Exception: as ``submit``, and whatever the function raises.
        """
        return await self._run(_NOTHING_ASKED, function, args, kwargs)

    def with_options(self, options: CallOptions) -> PoolWithOptions:
        """This pool, asked for ``options`` in each of its calls.

        Raises:
            ConfigurationError: they are no ``CallOptions``, or ask of a pool that may compute ``"inline"``
                for a timeout or a retry, which only workers can give.
        """
        check_options(options)
        check_inline(self._plan, options)
        enqueue = partial(self._submit, options, later=True)
        return PoolWithOptions(self, partial(self._submit, options), enqueue, partial(self._run, options))

    @property
    def workers(self) -> int:
        """How many there are, but for those that are just being replaced."""
        return self._plan.workers

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

    def close(self, timeout: Duration | None = None) -> None:
        """Take no more calls, wait until those that were taken are answered, and end the workers.

        Args:
            timeout: seconds (or ``"5s"``, or 0) after which calls left fail with ``PoolClosedError``.

        Raises:
            ConfigurationError: it is no duration; the pool goes on as it was.
        """
        patience = time_to_close(timeout)
        with self._lock:
            self._closed = True
            supervisor = self._supervisor
        if supervisor is not None:
            supervisor.close(patience)

    def metrics(self) -> PoolMetrics:
        """What the pool has done so far, and what it does now."""
        from mlcache.offload import report

        return report.metrics(self._supervisor)

    def health(self) -> Health:
        """Whether the pool does what it is for, and what is in its way."""
        from mlcache.offload import report

        return report.health(self._plan, self._supervisor, closed=self._closed)

    def after_fork(self) -> None:
        """In a fork of this process: let go of the workers, and start others if they are needed."""
        self._lock = threading.RLock()
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.forget()

    def _submit(
        self,
        options: CallOptions,
        function: Callable[..., Any],
        args: Any,
        kwargs: Any,
        *,
        later: bool = False,
    ) -> Future[Any]:
        try:
            return self._take_in(options, (function, args, kwargs), later=later)
        except PoolFullError:
            if self._plan.when_full != "inline":
                raise
            return self._inline.submit(function, *args, **kwargs)

    def _take_in(
        self, options: CallOptions, call: tuple[Callable[..., Any], Any, Any], *, later: bool
    ) -> Future[Any]:
        if not callable(call[0]):
            raise TypeError(f"a pool computes functions, and {call[0]!r} cannot be called")
        if self._supervisor is None:
            with suppress(Exception):  # which ``take_in`` will meet again
                pack(call[0])  # notices a reload before workers are ordered, which then have the new code
        supervisor = self._started()
        wait = self._plan.when_full == "wait" and (
            later or supervisor.thread is not threading.current_thread()
        )
        return supervisor.take_in(options, call, wait=wait, later=self if later else None)

    async def _run(self, options: CallOptions, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        import asyncio

        try:
            future = self._take_in(options, (function, args, kwargs), later=True)
        except PoolFullError:
            if self._plan.when_full != "inline":
                raise
            return await in_thread("compute", lambda: self._inline.submit(function, *args, **kwargs).result())
        return await asyncio.wrap_future(future)

    def _started(self) -> Supervisor:
        supervisor = self._supervisor
        if supervisor is not None and not self._closed:
            return supervisor
        with self._lock:
            if self._closed:
                raise PoolClosedError("the pool is closed, and takes no more calls")
            if self._supervisor is None:
                from mlcache.offload.supervisor import Supervisor  # takes a while to import

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

    def __init__(self, pool: Pool, submit: Submit, enqueue: Submit, run: Run) -> None:
        self._pool = pool
        self._submit = submit
        self._enqueue = enqueue
        self._run = run

    @property
    def resources(self) -> Mapping[str, Callable[[], Any]]:
        """Those of the pool."""
        return self._pool.resources

    @property
    def workers(self) -> int:
        """Those of the pool."""
        return self._pool.workers

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As ``Pool.submit``."""
        return self._submit(function, args, kwargs)

    def enqueue(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As ``Pool.enqueue``."""
        return self._enqueue(function, args, kwargs)

    async def run(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """As ``Pool.run``."""
        return await self._run(function, args, kwargs)

    def with_options(self, options: CallOptions) -> PoolWithOptions:
        """The pool, asked for other options."""
        return self._pool.with_options(options)

    def close(self, timeout: Duration | None = None) -> None:
        """Close the pool."""
        self._pool.close(timeout)


def _again(plan: Plan, workers: int) -> Pool:
    """A pool of so many workers with the options of ``plan``."""
    return Pool(**options_of(plan, workers))
