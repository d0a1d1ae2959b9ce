"""Calls computed in another process, beside the peers: what the way there and back costs, and what faults do.

Everybody has one worker, which was started and warmed up before. The function gives its argument back, so
what is measured is the transport: arguments are copied there, results are copied back. Of faults, the table
shows how long callers wait for the error, and what becomes of the next call.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, suppress
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.harness import Call, Case, Contender, Result, WrongAnswerError, measure, plan
from benchmarks.report import Report
from benchmarks.targets import targets
from mlcache import CallTimeoutError, Pool

Submit = Callable[..., Any]
"""Takes a function and its arguments, and gives the result."""

SIZES = {"null": 0, "64 KB": 64 << 10, "1 MB": 1 << 20, "10 MB": 10 << 20}
TIMEOUT = 0.2
OURS, EXECUTOR, AQUEDUCT, COPY = "mlcache", "ProcessPoolExecutor", "Aqueduct", "memcpy"
ONE_WAY, KILLED = "10 MB one way", "worker killed"
HUNG, CLOSED = "call hangs: beyond its timeout", "idle pool closed"


def run(*, quick: bool) -> Report:
    """Measure the transport of all sizes and the faults, or with ``quick`` each once."""
    sizes = {name: SIZES[name] for name in (("null", "64 KB") if quick else SIZES)}
    times = 1 if quick else 7
    cases = [
        *(measure(name, _there_and_back(size), plan(quick=quick)) for name, size in sizes.items()),
        *([] if quick else [measure(ONE_WAY, _one_way(SIZES["10 MB"]), plan(quick=False))]),
        Case(KILLED, [_of_fault(name, _kill, ENGINES[name], times) for name in FUTURES]),
        Case(HUNG, [_of_fault(name, HANGS[name], ENGINES[name], times) for name in HANGS]),
        Case(CLOSED, [_of_fault(name, _close, ENGINES[name], times) for name in FUTURES]),
    ]
    about = "one worker, warmed up; the argument comes back"
    return Report("offload", about, cases, targets("offload", cases))


# --- what workers compute


def echo(value: Any = None) -> Any:
    """Its argument."""
    return value


def first(array: Any) -> float:
    """Something small of a large argument."""
    return float(array.flat[0])


def hang() -> None:
    """Nothing, ever."""
    threading.Event().wait()


# --- the engines: each gives a function that has a call computed and waits for it


def _pool(stack: ExitStack, **options: Any) -> Pool:
    return stack.enter_context(Pool(1, **options))


def _executor(stack: ExitStack) -> Any:
    return stack.enter_context(ProcessPoolExecutor(1))


def _loky(stack: ExitStack) -> Any:
    from loky import ProcessPoolExecutor as Loky

    executor = Loky(1)
    stack.callback(executor.shutdown, kill_workers=True)
    return executor


class _Pebble:
    """Pebble's pool, with the method that the others have."""

    def __init__(self, stack: ExitStack) -> None:
        from pebble import ProcessPool

        self._pool: Any = ProcessPool(max_workers=1)
        stack.callback(self.shutdown)

    def submit(self, function: Callable[..., Any], *args: Any, timeout: float | None = None) -> Any:
        return self._pool.schedule(function, args=args, timeout=timeout)

    def shutdown(self) -> None:
        self._pool.stop()
        self._pool.join()


ENGINES: dict[str, Callable[[ExitStack], Any]] = {
    OURS: _pool,
    EXECUTOR: _executor,
    "loky": _loky,
    "pebble": _Pebble,
}
FUTURES = list(ENGINES)


def _future_of(make: Callable[[ExitStack], Any], stack: ExitStack) -> Submit:
    engine = make(stack)
    return lambda function, *args: engine.submit(function, *args).result()


def _joblib(stack: ExitStack) -> Submit:
    from joblib import Parallel, delayed
    from joblib.externals.loky import get_reusable_executor

    stack.callback(lambda: get_reusable_executor().shutdown(wait=True, kill_workers=True))
    parallel: Any = stack.enter_context(Parallel(n_jobs=2))  # with one it would compute in this process
    return lambda function, *args: parallel([delayed(function)(*args)])[0]


def _aqueduct(stack: ExitStack) -> Submit:
    from benchmarks.aqueduct_flow import submit_to_flow

    return submit_to_flow(stack)


TRANSPORTS: dict[str, Callable[[ExitStack], Submit]] = {
    **{name: functools.partial(_future_of, make) for name, make in ENGINES.items()},
    "joblib": _joblib,
    AQUEDUCT: _aqueduct,
}


# --- the transport


def _there_and_back(size: int) -> list[Contender]:
    return [Contender(name, functools.partial(_echo, make, size)) for name, make in TRANSPORTS.items()]


def _echo(make: Callable[[ExitStack], Submit], size: int, stack: ExitStack) -> Call:
    submit = make(stack)
    value: Any = np.random.default_rng(0).integers(0, 255, size, np.uint8) if size else None
    if not np.array_equal(submit(echo, value), value):
        raise WrongAnswerError("WRONG: another array came back")
    return Call(functools.partial(submit, echo), value)


def _one_way(size: int) -> list[Contender]:
    array = np.random.default_rng(0).integers(0, 255, size, np.uint8)

    def copy(_: ExitStack) -> Call:
        touched = np.empty_like(array)
        return Call(functools.partial(np.copyto, touched), array)

    def offload(make: Callable[[ExitStack], Submit], stack: ExitStack) -> Call:
        return Call(functools.partial(make(stack), first), array)

    engines = [Contender(name, functools.partial(offload, make)) for name, make in TRANSPORTS.items()]
    return [Contender(COPY, copy), *engines]


# --- faults


def _of_fault(name: str, cause: Callable[[Any], tuple[float, str]], make: Any, times: int) -> Result:
    """How long it took each time, in an engine of its own, and what the last of them said."""
    result = Result(name)
    for _ in range(times):
        with ExitStack() as stack:
            try:
                seconds, result.remark = cause(make(stack))
            except Exception as error:  # noqa: BLE001 - is its result
                result.error = f"{type(error).__name__}: {error}"
                return result
            result.samples.append(seconds)
    return result


def _kill(engine: Any) -> tuple[float, str]:
    """Seconds from the end of a worker to the error of what it computed."""
    worker = engine.submit(os.getpid).result()
    future = engine.submit(hang)
    _wait_until_computing(future)
    started = perf_counter()
    os.kill(worker, signal.SIGKILL)
    future.exception()
    seconds = perf_counter() - started
    return seconds, _next_call(engine)


def _wait_until_computing(future: Future[Any]) -> None:
    while not future.running():
        threading.Event().wait(0.001)
    threading.Event().wait(0.05)  # which is when it was sent; those that do so in a thread need a while more


def _next_call(engine: Any) -> str:
    try:
        return "the next call works" if engine.submit(echo, 7).result(30) == 7 else "the next call is WRONG"  # noqa: PLR2004
    except Exception as error:  # noqa: BLE001 - is what is to be told
        return f"the next call raises {type(error).__name__}"


def _hang_ours(engine: Pool) -> tuple[float, str]:
    from mlcache.offload.engine import CallOptions

    engine.submit(echo).result()
    return _beyond(engine.with_options(CallOptions(timeout=TIMEOUT)).submit(hang), engine)


def _hang_pebble(engine: Any) -> tuple[float, str]:
    engine.submit(echo).result()
    return _beyond(engine.submit(hang, timeout=TIMEOUT), engine)


def _hang_forever(engine: Any) -> tuple[float, str]:
    """What cannot end a call can only stop waiting for it."""
    raise NotImplementedError(f"{type(engine).__name__} cannot end a call")


def _beyond(future: Future[Any], engine: Any) -> tuple[float, str]:
    started = perf_counter()
    with suppress(CallTimeoutError, TimeoutError):
        future.result()
    return perf_counter() - started - TIMEOUT, _next_call(engine)


HANGS: dict[str, Callable[[Any], tuple[float, str]]] = {
    OURS: _hang_ours,
    EXECUTOR: _hang_forever,
    "loky": _hang_forever,
    "pebble": _hang_pebble,
}


def _close(engine: Any) -> tuple[float, str]:
    engine.submit(echo).result()
    started = perf_counter()
    (engine.close if isinstance(engine, Pool) else engine.shutdown)()
    return perf_counter() - started, ""
