"""Computing here after all: no workers, with the resources loaded once in this process."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mlcache import clock, forks
from mlcache.errors import ConfigurationError
from mlcache.offload import transport
from mlcache.offload.checks import factories
from mlcache.offload.coroutines import called, is_coroutine_function
from mlcache.offload.engine import CallOptions, Duration, check_options
from mlcache.offload.functions import resource_names
from mlcache.threads import in_thread

if TYPE_CHECKING:
    from concurrent.futures import Future

Function = Callable[..., Any]
Factories = Mapping[str, Callable[[], Any]]


class Resources:
    """What functions are given beside their arguments, each loaded once, when it is first needed.

    A factory that raises is called again by the next call.

    Args:
        factories: by the name of the parameter.
    """

    def __init__(self, factories: Factories) -> None:
        self.factories: Factories = dict(factories)
        self._loaded: dict[str, Any] = {}
        self._locks = {name: threading.RLock() for name in self.factories}
        forks.tend(self)

    def after_fork(self) -> None:
        """Be ready to load in a child that was forked while another thread did."""
        self._locks = {name: threading.RLock() for name in self.factories}

    def load(self, name: str) -> Any:
        """The resource ``name``."""
        if name not in self._loaded:
            with self._locks[name]:
                if name not in self._loaded:
                    self._loaded[name] = called(self.factories[name])
        return self._loaded[name]

    def has(self, names: tuple[str, ...]) -> bool:
        """Whether they are loaded already."""
        return all(name in self._loaded for name in names)

    def all(self, names: tuple[str, ...]) -> dict[str, Any]:
        """The resources of these names."""
        return {name: self.load(name) for name in names}

    def bind(self, function: Function) -> Function:
        """``function``, which is given the resources that it takes.

        On an event loop, they are loaded by a thread.

        Raises:
            ConfigurationError: one of them can be passed by position only.
        """
        names = resource_names(function, self.factories)
        if not names:
            return function
        bind = self._bind_suspending if is_coroutine_function(function) else self._bind
        return bind(function, names)

    def _bind(self, function: Function, names: tuple[str, ...]) -> Function:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs, **self.all(names))

        return call

    def _bind_suspending(self, function: Function, names: tuple[str, ...]) -> Function:
        @functools.wraps(function)
        async def call(*args: Any, **kwargs: Any) -> Any:
            if not self.has(names):
                await in_thread("compute", functools.partial(self.all, names))
            return await function(*args, **kwargs, **self.all(names))

        return call


class Inline:
    """An engine that computes each call at once, in the thread that submits it.

    Args:
        resources: functions that load what is passed beside the arguments, by parameter.
    """

    def __init__(self, resources: Factories | None = None) -> None:
        self._held = Resources(factories(resources))

    @property
    def resources(self) -> Factories:
        """The functions that load what is passed beside the arguments, by parameter."""
        return self._held.factories

    def bind(self, function: Function) -> Function:
        """``function``, which is given the resources that it takes; see ``Resources.bind``."""
        return self._held.bind(function)

    def submit(self, function: Function, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """``function(*args, **kwargs)``, computed before this returns.

        What is no ``Exception``, such as ``SystemExit``, comes as a ``RemoteError``, as from a worker; but
        for ``KeyboardInterrupt``, which goes to the caller.
        """
        from concurrent.futures import Future

        future: Future[Any] = Future()
        started = clock.ticks()
        try:
            result = self._call(function, args, kwargs)
        except KeyboardInterrupt:  # it is meant for the caller
            raise
        except Exception as error:  # noqa: BLE001 - it is the caller's
            future.set_exception(error)
        except BaseException as error:  # noqa: BLE001 - it must not end the caller, as it would not from a worker
            future.set_exception(_from_afar(error))
        else:
            future.set_result(result)
        future.seconds = clock.ticks() - started  # type: ignore[attr-defined]
        return future

    def _call(self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return called(self.bind(function), *args, **kwargs)

    def with_options(self, options: CallOptions) -> Inline:
        """This engine, if nothing is asked for that it cannot do.

        Raises:
            ConfigurationError: a timeout or a retry: a call that is computed here can neither be ended
                nor survive the end of its process.
        """
        refuse_options("a call that is computed in its own process", options)
        return self

    def close(self, timeout: Duration | None = None) -> None:
        """Nothing is left to be answered."""


class Apart(Inline):
    """An engine that computes as ``Inline``, but keeps the function and its caller as far apart as a worker.

    The function is given what it would be given there: arrays that can only be read, here views of the
    caller's, and copies of all else. The caller is given a copy of what it returns.
    """

    def _call(self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        stream, *buffers = transport.dump_arguments(args, kwargs)
        views = [memoryview(each).toreadonly() for each in buffers]
        args, kwargs = transport.load([stream, *views])
        result = transport.dump(super()._call(function, args, kwargs))
        return transport.load([bytearray(each) for each in result])


def refuse_options(what: str, options: CallOptions) -> None:
    """Refuse what only workers of our own can do.

    Raises:
        ConfigurationError: one of ``options`` is set, other than the number of items, or they are none.
    """
    check_options(options)
    for name in ("timeout", "deadline", "priority", "retry"):
        if getattr(options, name):
            raise ConfigurationError(
                f"{name}={getattr(options, name)!r} is more than can be asked of {what}: use a Pool, "
                "whose workers can be ended"
            )


def _from_afar(error: BaseException) -> BaseException:
    from mlcache.offload import failures

    return failures.unpack(failures.pack(error))
