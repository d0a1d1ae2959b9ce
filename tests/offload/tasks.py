"""What the tests of the pool have computed by workers, good and bad."""

from __future__ import annotations

import collections
import ctypes
import itertools
import logging
import os
import resource
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

Array = np.ndarray[Any, Any]


def echo(value: Any) -> Any:
    return value


def pid() -> int:
    return os.getpid()


def hang() -> NoReturn:
    while True:
        threading.Event().wait()


def hang_for(_: object) -> NoReturn:
    hang()


def tell_and_wait_for(path: str, other: str) -> str:
    """Writes its process down, and waits for another file to be there."""
    tell(path)
    while not Path(other).exists():
        threading.Event().wait(0.005)
    return "went"


def warn(logger: str, text: str) -> str:
    logging.getLogger(logger).warning(text)
    return text


def warn_often(logger: str, times: int) -> None:
    for number in range(times):
        logging.getLogger(logger).warning("%d", number)


def log_and(logger: str, then: Callable[[], Any]) -> Any:
    logging.getLogger(logger).info("leading up to it")
    logging.getLogger(logger).error("about to fail")
    return then()


def terminate_a_child() -> int | None:
    """How a fork that the function made ends when it is asked to."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(theirs, b"here")
        hang()
    os.read(ours, 4)
    os.kill(child, signal.SIGTERM)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def draw() -> float:
    return float(np.random.rand())  # noqa: NPY002 - the generator that forks share


def hang_in_c() -> None:
    """A loop of C that never gives the GIL away."""
    collections.deque(itertools.repeat(0), maxlen=0)


def hang_deaf() -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hang()


def tell_and_hang(path: str) -> NoReturn:
    """Writes its process down, so that a test knows that it runs."""
    tell(path)
    hang()


def tell_and_spin(path: str) -> None:
    tell(path)
    hang_in_c()


def tell(path: str) -> None:
    with Path(path).open("a") as file:
        file.write(f"{os.getpid()}\n")


def tell_once_and_die(path: str) -> int:
    """Dies the first time it is called."""
    first = not Path(path).exists()
    tell(path)
    if first:
        kill_myself()
    return os.getpid()


def write_down(path: str, number: int, value: Any) -> Any:
    """Notes that the call of that number was computed."""
    with Path(path).open("ab", buffering=0) as file:
        file.write(number.to_bytes(8, "little"))
    return value


def kill_myself() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    hang()


def tell_and_die(path: str) -> NoReturn:
    tell(path)
    kill_myself()


def segfault() -> None:
    ctypes.string_at(0)


def write_past_numpy(values: npt.NDArray[Any]) -> None:
    """Writes to an array as torch does, which asks nobody whether it may."""
    ctypes.memset(values.ctypes.data, 0, values.nbytes)


def exit_hard() -> NoReturn:
    os._exit(7)


def exit_softly() -> NoReturn:
    raise SystemExit(3)


def stop() -> NoReturn:
    raise StopIteration


def interrupt() -> NoReturn:
    raise KeyboardInterrupt


def run_out_of_memory() -> int:
    """A limit on memory is hit, as by a cgroup with polite code."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, hard))
    try:
        return len(bytearray(64 << 30))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


_held: list[object] = []


def hold(megabytes: int) -> int:
    """Takes memory and keeps it."""
    _held.append(np.ones(megabytes << 17))
    return os.getpid()


def keep(value: Any) -> int:
    _held.append(value)
    return len(_held)


def keep_and_echo(value: Any) -> Any:
    """Keeps the last few values that it saw, as a function with a memory of its own would."""
    _held.append(value)
    del _held[:-3]
    return value


def kept() -> list[Any]:
    return [np.array(value) for value in _held]


def drop() -> None:
    _held.clear()


def drop_slowly() -> None:
    """So that another one that is submitted meanwhile goes to another worker."""
    drop()
    threading.Event().wait(0.02)


def write_to(array: Array) -> None:
    array[0] = 1


def facts(array: Array) -> tuple[Any, ...]:
    return array.flags.writeable, array.dtype.str, array.dtype.descr, array.shape, contents(array)


def contents(array: Array) -> object:
    """All that an array holds, in a form that ``==`` compares; a list of a structured one may hold arrays."""
    return array.tolist() if array.dtype.hasobject or np.ma.isMaskedArray(array) else array.tobytes()


def tell_slowly(seconds: float) -> None:
    threading.Event().wait(seconds)


_descriptors: list[int] = []


def use_up_descriptors() -> int:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, most))
    try:
        while True:
            _descriptors.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return os.getpid()


def give_descriptors_back() -> int:
    given = len(_descriptors)
    while _descriptors:
        os.close(_descriptors.pop())
    return given


def zeros(megabytes: int) -> Array:
    return np.zeros(megabytes << 17)


def ones_and_die_sending(megabytes: int, after: float) -> Array:
    """Is killed while its large result is on its way."""
    threading.Timer(after, kill_myself).start()
    return np.ones(megabytes << 17)


def fork_and_return() -> int:
    """A task that forks, and whose child returns, too."""
    os.fork()
    return 5


def log(text: str) -> str:
    logging.getLogger("tests.offload").warning(text)
    return text


def close_everything() -> int:
    os.closerange(3, 256)
    return 1


def talk_rubbish() -> int:
    """Writes to the socket that it should not know of."""
    for file in list(Path("/proc/self/fd").iterdir()):
        if file.is_symlink() and "socket" in str(file.readlink()):
            os.write(int(file.name), b"rubbish, and more of it")
    hang()


def truncate_memory() -> int:
    """Tries to make shared memory smaller, on which the parent would stumble."""
    failed = 0
    for file in list(Path("/proc/self/fd").iterdir()):
        if file.is_symlink() and "memfd" in str(file.readlink()):
            try:
                os.truncate(int(file.name), 0)
            except OSError:
                failed += 1
    return failed


class CannotBePickled:
    def __reduce__(self) -> Any:
        raise ValueError("I cannot be pickled")


class CannotBeUnpickled:
    def __reduce__(self) -> Any:
        return _refuse, ()


def _refuse() -> NoReturn:
    raise ValueError("I cannot be unpickled")


class BadError(Exception):
    """Cannot be pickled: it holds a lock."""

    def __init__(self) -> None:
        super().__init__("bad")
        self.lock = threading.Lock()


class PoisonError(Exception):
    """Can be pickled, and cannot be unpickled: not even where it was raised."""

    def __reduce__(self) -> Any:
        return _refuse, ()


class HomeError(Exception):
    """Can be unpickled in the process that it was raised in, and nowhere else."""

    def __reduce__(self) -> Any:
        return _make_at_home, (os.getpid(),)


def _make_at_home(process: int) -> HomeError:
    return HomeError() if process == os.getpid() else _refuse()


def raise_poison() -> NoReturn:
    raise PoisonError("deadly")


def raise_home() -> NoReturn:
    raise HomeError("sweet")


def raise_runtime_error(text: str) -> NoReturn:
    raise RuntimeError(text)


def log_error(text: str) -> None:
    try:
        raise_runtime_error(text)
    except RuntimeError:
        logging.getLogger("app").exception("it failed")


def make_unpicklable() -> CannotBePickled:
    return CannotBePickled()


def make_poison() -> CannotBeUnpickled:
    return CannotBeUnpickled()


def raise_unpicklable() -> NoReturn:
    raise BadError


def load_ten() -> int:
    return 10


def load_badly() -> NoReturn:
    raise FileNotFoundError("no weights here")


def use(x: int, *, model: int) -> int:
    return x * model


def load_and_tell() -> int:
    tell(os.environ["TELL"])
    return os.getpid()


def which(*, model: int) -> int:
    return model
