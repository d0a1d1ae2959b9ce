"""From what the user and the environment say about offloading to what computes misses."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from mlcache import forks
from mlcache.errors import ConfigurationError

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from mlcache.offload.engine import Engine
    from mlcache.offload.inline import Resources
    from mlcache.offload.pool import Pool

OffloadSpec: TypeAlias = "int | Executor | Engine | None"
Checked: TypeAlias = "int | Engine | None"


def check_offload(spec: Any) -> Checked:
    """What ``offload=`` says, checked, and an executor as an engine; nothing is started.

    Raises:
        ConfigurationError: it is none of the things that it may be.
    """
    if spec is None or (isinstance(spec, int) and not isinstance(spec, bool) and spec >= 0):
        return spec
    if isinstance(spec, type | int | str):
        raise _no_engine(spec)
    if all(callable(getattr(spec, name, None)) for name in ("submit", "with_options", "close")):
        return cast("Engine", spec)
    from concurrent.futures import Executor

    if isinstance(spec, Executor):
        from mlcache.offload.executors import ExecutorEngine

        return ExecutorEngine(spec)
    raise _no_engine(spec)


def _no_engine(spec: object) -> ConfigurationError:
    what = f"{spec!r}, which is a class" if isinstance(spec, type) else repr(spec)
    return ConfigurationError(
        f"offload is {what}: give a number of worker processes, 0 for none, a Pool(...), "
        "or a concurrent.futures.Executor"
    )


def resources_of(spec: Checked) -> Mapping[str, Callable[[], Any]]:
    """The functions that load what an engine passes beside the arguments, by parameter."""
    found: Mapping[str, Callable[[], Any]] = getattr(spec, "resources", None) or {}
    return found


def with_resources(function: Callable[..., Any], spec: Checked) -> Callable[..., Any]:
    """The function as it is called in this process, where its resources are loaded when first needed."""
    if not resources_of(spec):
        return function
    from mlcache.offload.inline import Resources

    with _shared.lock:
        held: Resources | None = _shared.resources.get(spec)
        if held is None:
            held = _shared.resources[spec] = Resources(resources_of(spec))
    return held.bind(function)


def names_passed(function: Callable[..., Any], spec: Checked) -> tuple[str, ...]:
    """The parameters of ``function`` that ``spec`` passes, and that are no matter of its callers.

    Raises:
        ConfigurationError: one of them can be passed by position only.
        MissingExtraError: the function has to be sent by value, and cloudpickle is not installed.
    """
    if not spec:
        return ()
    from mlcache.offload import functions, passing

    check: Callable[[Any], None] = getattr(spec, "check_function", functions.check)
    check(function)
    passing.warn_of_misspelt(function, resources_of(spec))
    return functions.resource_names(function, resources_of(spec))


def open_engine(spec: Checked, asked: int | None, default: int | None) -> Engine | None:
    """What computes the misses of a function; None: its own process.

    Args:
        spec: what the code says.
        asked: the number of workers that the environment asks for, for this function.
        default: that which it asks for, for all functions whose code says nothing.
    """
    number = asked if asked is not None else default if spec is None else spec
    if not isinstance(number, int):
        return number
    if not number:
        return None
    if hasattr(spec, "with_workers"):
        return cast("Pool", spec).with_workers(number)
    return _pool_with(number, resources_of(spec)) if resources_of(spec) else _shared_pool(number)


def _pool_with(workers: int, resources: Mapping[str, Callable[[], Any]]) -> Pool:
    from mlcache.offload.pool import Pool

    return Pool(workers, resources=resources)


def _shared_pool(workers: int) -> Pool:
    """The pool of so many workers that all functions share which name no other one.

    It ends with the last function that holds it.
    """
    with _shared.lock:
        pool = _shared.pools.get(workers)
        if pool is None:
            from mlcache.offload.pool import Pool

            pool = _shared.pools[workers] = Pool(workers)
        return pool


class _Shared:
    """What functions have in common: pools by their number of workers, and resources by the engine."""

    def __init__(self) -> None:
        self.pools: weakref.WeakValueDictionary[int, Pool] = weakref.WeakValueDictionary()
        self.resources: weakref.WeakKeyDictionary[Any, Resources] = weakref.WeakKeyDictionary()
        self.lock = threading.RLock()  # a finalizer may come at any time, and call a cached function
        forks.tend(self)

    def after_fork(self) -> None:
        """Be of use in a child that was forked while another thread held the lock."""
        self.lock = threading.RLock()


_shared = _Shared()
