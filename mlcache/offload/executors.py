"""Engines over what runs work already: any ``concurrent.futures.Executor``, Dask's, loky's.

An executor of another process is sent bytes alone, the function as ``functions`` packs it, so that
the arguments may change after ``submit`` and no cache travels; and its exceptions come home as
``failures`` packs them. What only workers of our own can do, such as ending a call that hangs, is
refused when it is asked for.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from typing import Any

from mlcache import clock
from mlcache.errors import ConfigurationError
from mlcache.offload import failures, functions
from mlcache.offload.checks import factories
from mlcache.offload.engine import CallOptions, Duration
from mlcache.offload.inline import Factories, Function, Inline, refuse_options

Answer = tuple[bool, Any, float]
"""Whether the function returned, what it returned or its packed exception, and the seconds it took."""


class Relayed(Future[Any]):
    """The future of a call that another library's future will answer.

    Attributes:
        seconds: how long the function itself took, once it is done.
    """

    def __init__(self, inner: Future[Answer]) -> None:
        super().__init__()
        self.seconds: float | None = None
        self._inner = inner
        inner.add_done_callback(self._settle)

    def cancel(self) -> bool:
        """Take the call back, if that library can."""
        return self._inner.cancel()

    def running(self) -> bool:
        """Whether that library says so."""
        return self._inner.running()

    def explain(self, error: BaseException) -> BaseException:
        """What to raise where that library failed to bring an answer."""
        return error

    def _settle(self, inner: Future[Answer]) -> None:
        if inner.cancelled():
            super().cancel()
            self.set_running_or_notify_cancel()
        elif (error := inner.exception()) is not None:
            self.set_exception(self.explain(error))
        else:
            returned, value, self.seconds = inner.result()
            if returned:
                self.set_result(value)
            else:
                self.set_exception(failures.unpack(value) if isinstance(value, bytes) else value)


class ExecutorEngine:
    """An engine over an executor, which stays its owner's to shut down.

    Args:
        executor: of threads or processes, on this machine or on others.
        resources: functions that load what is passed beside the arguments, by parameter: once in each
            process of the executor.

    Raises:
        ConfigurationError: it is no executor, or it is Dask's, and would answer two equal calls with one.
    """

    def __init__(self, executor: Executor, resources: Factories | None = None) -> None:
        if not callable(getattr(executor, "submit", None)):
            raise ConfigurationError(f"executor is {executor!r}: give a concurrent.futures.Executor")
        _check_dask(executor)
        self._executor = executor
        self.resources: Factories = factories(resources)
        self._inline = Inline(self.resources)
        self._shares_process = _is_of_threads(executor)

    def check_function(self, function: Function) -> None:
        """Refuse what could not be sent to the executor.

        Raises:
            MissingExtraError: as ``functions.check``; threads of this process take anything.
        """
        if not self._shares_process:
            functions.check(function)

    def __reduce__(self) -> Any:
        """In another process, which does not have the executor, calls are computed inline."""
        return Inline, (self.resources,)

    def submit(self, function: Function, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have the executor compute ``function(*args, **kwargs)``."""
        if self._shares_process:
            return self._submit_to_thread(function, args, kwargs)
        load = {
            name: functions.pack(self.resources[name])
            for name in functions.resource_names(function, self.resources)
        }
        data = functions.dumps((args, kwargs))
        return Relayed(self._executor.submit(compute, functions.pack(function), data, load))

    def _submit_to_thread(self, function: Function, args: Any, kwargs: dict[str, Any]) -> Future[Any]:
        if self._executor in _running.get():  # in one of its threads, all of which may wait like this one
            return self._inline.submit(function, *args, **kwargs)
        context = copy_context()
        return Relayed(self._executor.submit(context.run, self._compute, function, args, kwargs))

    def _compute(self, function: Function, args: Any, kwargs: dict[str, Any]) -> Answer:
        _running.set((*_running.get(), self._executor))
        done = self._inline.submit(function, *args, **kwargs)
        error = done.exception()
        return error is None, done.result() if error is None else error, done.seconds  # type: ignore[attr-defined]

    def with_options(self, options: CallOptions) -> ExecutorEngine:
        """This engine, if nothing is asked for that an executor cannot do.

        Raises:
            ConfigurationError: anything but the number of items.
        """
        refuse_options(f"a {type(self._executor).__qualname__}", options)
        return self

    def close(self, timeout: Duration | None = None) -> None:
        """Leave the executor to its owner."""

    def __repr__(self) -> str:
        return f"ExecutorEngine({self._executor!r})"


_running: ContextVar[tuple[Executor, ...]] = ContextVar("mlcache_executors", default=())
"""The executors themselves: several engines, one for each decorated function, may share one."""


def compute(function: bytes, data: bytes, load: Mapping[str, bytes]) -> Answer:
    """In a process of the executor: call the function.

    Args:
        function: packed.
        data: the positional and the keyword arguments, pickled.
        load: the packed functions that load its resources, by name.
    """
    return answer(function, data, lambda: {name: _resource(factory) for name, factory in load.items()})


def answer(function: bytes, data: bytes, load: Callable[[], Mapping[str, Any]]) -> Answer:
    """Call the function, whatever becomes of that; see ``compute``. ``load`` gives its resources."""
    started = clock.ticks()
    try:
        args, kwargs = pickle.loads(data)  # noqa: S301 - packed by this program
        call = functions.unpack(function)
        resources = load()
        started = clock.ticks()
        value = call(*args, **kwargs, **resources)
    except BaseException as error:  # noqa: BLE001 - also what means to end the process
        return False, failures.pack(error), clock.ticks() - started
    return True, value, clock.ticks() - started


def _resource(factory: bytes) -> Any:
    """What a packed function loads, once in this process."""
    with _loading:
        if factory not in _loaded:
            _loaded[factory] = functions.unpack(factory)()
        return _loaded[factory]


_loaded: dict[bytes, Any] = {}
_loading = threading.RLock()


def _is_of_threads(executor: Executor) -> bool:
    """Whether its calls are computed in this process; interpreters are as good as others."""
    return isinstance(executor, ThreadPoolExecutor) and "Interpreter" not in type(executor).__name__


def _check_dask(executor: Executor) -> None:
    asked: Mapping[str, Any] = getattr(executor, "_kwargs", {})
    if type(executor).__module__.startswith("distributed.") and asked.get("pure") is not False:
        raise ConfigurationError(
            "Dask would take two equal calls for one, whatever became of the first: "
            "give client.get_executor(pure=False)"
        )
