"""Exceptions brought home from another process, with the traceback that they had there.

An exception travels as a small tree: itself, what it was raised from, and what it was raised
while handling, each pickled by itself, so that one of them which cannot be pickled does not keep
the others; so do the members of a group. Neither packing nor unpacking ever raises.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast

import msgspec

from mlcache.errors import RemoteError
from mlcache.offload.functions import dumps

T = TypeVar("T")

_HERE = str(Path(__file__).parent) + os.sep
_LONGEST_TEXT = 1 << 16
_LARGEST = 16 << 20
"""Bytes above which an exception is represented, rather than sent with all that it holds."""
_DEEPEST = 20
"""Exceptions in a chain, from the one that was raised inwards."""


class WorkerTraceback(Exception):  # noqa: N818 - it is not raised, and is named for what it shows
    """The traceback that an exception had in the process it comes from, as the innermost cause of it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class _Packed(msgspec.Struct, omit_defaults=True):
    """One exception of a chain, in words and, where that can be, pickled; of a group, its members too."""

    kind: str
    message: str
    data: bytes = b""
    notes: list[str] = []
    cause: _Packed | None = None
    context: _Packed | None = None
    suppresses: bool = False
    members: list[_Packed] = []


class _Parcel(msgspec.Struct):
    error: _Packed
    traceback: str


def pack(error: BaseException) -> bytes:
    """The bytes from which ``unpack`` makes the exception in another process; it never raises."""
    try:
        text = _safely(lambda: _traceback_of(error), "(it cannot be shown)\n")
        return msgspec.msgpack.encode(_Parcel(_pack(error, set()), text))
    except BaseException as failure:  # noqa: BLE001 - whatever the exception's own code does
        kind = f"{type(error).__module__}.{type(error).__qualname__}"
        words = _Packed(_clean(kind), f"it cannot be described: {type(failure).__name__}")
        return msgspec.msgpack.encode(_Parcel(words, ""))


def unpack(data: bytes) -> BaseException:
    """The exception, as good as it can be had; it never raises.

    Its traceback in the worker is the cause of the innermost exception of the chain. What cannot be
    pickled is a ``RemoteError`` with its type, its message and its notes. So is what would end or
    cancel the caller, where it was only meant for the worker: ``SystemExit``, ``KeyboardInterrupt``,
    ``GeneratorExit`` and the cancellation of a task.
    """
    try:
        parcel = msgspec.msgpack.decode(data, type=_Parcel)
        error = _unpack(parcel.error, parcel.traceback)
        _attach(error, WorkerTraceback(parcel.traceback))
    except BaseException as failure:  # noqa: BLE001 - bytes of a process that may have gone wrong
        return RemoteError("an exception", f"it cannot be read here: {type(failure).__name__}", "")
    return _not_a_stop(error) if isinstance(error, StopIteration | StopAsyncIteration) else error


def _pack(error: BaseException, seen: set[int], *, in_words: bool = False) -> _Packed:
    """The exception and its chain, but for those ``seen``; ``in_words`` where it was pickled with others."""
    seen.add(id(error))
    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    packed = _Packed(
        _clean(kind),
        _clean(_safely(lambda: str(error), "(its message cannot be shown)")),
        b"" if in_words or _is_for_the_worker(error) else _safely(lambda: _pickled(error), b""),
        [_clean(str(note)) for note in getattr(error, "__notes__", ())],
        suppresses=error.__suppress_context__,
    )
    for name in ("cause", "context"):
        inner = getattr(error, f"__{name}__")
        if inner is not None and id(inner) not in seen and len(seen) < _DEEPEST:
            setattr(packed, name, _pack(inner, seen))
    if isinstance(error, ExceptionGroup):
        pickled = in_words or bool(packed.data)
        packed.members = [_pack(each, {*seen}, in_words=pickled) for each in error.exceptions]
        packed.message = packed.message if pickled else _clean(error.message)
    return packed


def _is_for_the_worker(error: BaseException) -> bool:
    futures: Any = sys.modules.get(
        "concurrent.futures._base"
    )  # not imported for this: no file may be left to open
    cancels = futures is not None and isinstance(error, futures.CancelledError)  # asyncio's is no Exception
    return cancels or not isinstance(error, Exception)


def _pickled(error: BaseException) -> bytes:
    """The exception pickled in a way that brings it back as it is; nothing if there is none."""
    ways = [(dump, form) for dump in (pickle.dumps, dumps) for form in (error, _Remake(error))]
    for dump, form in ways:
        data = _safely(partial(dump, form), b"")
        if len(data) <= _LARGEST and _safely(partial(_brings_back, data, error), otherwise=False):
            return data
    return b""


def _brings_back(data: bytes, error: BaseException) -> bool:
    """Whether what ``data`` holds is like the exception; its ``__init__`` may make another message of it."""
    return _is_alike(pickle.loads(data), error)  # noqa: S301 - pickled above


def _is_alike(one: Any, other: BaseException) -> bool:
    if type(one) is not type(other) or str(one) != str(other) or len(one.args) != len(other.args):
        return False
    if isinstance(other, BaseExceptionGroup):
        return all(map(_is_alike, cast("Any", one).exceptions, other.exceptions))
    return all(type(a) is type(b) for a, b in zip(one.args, other.args, strict=True))


class _Remake:
    """What is pickled in place of an exception whose ``__init__`` takes other arguments than it hands on."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> Any:
        _, args, *state = cast("tuple[Any, ...]", self._error.__reduce_ex__(2))
        return _remake, (type(self._error), tuple(map(_for_remaking, args)), *state)


def _for_remaking(value: Any) -> Any:
    """An argument of an exception, which may be exceptions, as a group has them."""
    if isinstance(value, list):
        return [_for_remaking(each) for each in value]
    return _Remake(value) if isinstance(value, BaseException) else value


def _remake(kind: type[BaseException], args: tuple[Any, ...], state: Any = None) -> BaseException:
    """An exception of that type, made without its own ``__init__``."""
    error = kind.__new__(kind, *args)
    builtin: Any = next(each for each in kind.__mro__ if each.__module__ == "builtins")
    builtin.__init__(error, *args)  # of C, which sets such things as errno
    error.__setstate__(state)
    return error


def _unpack(packed: _Packed, text: str) -> BaseException:
    error = _safely(lambda: pickle.loads(packed.data), None) if packed.data else None  # noqa: S301
    if not isinstance(error, Exception):
        members = [_unpack(each, "") for each in packed.members]
        error = RemoteError(packed.kind, packed.message, text) if not members else _group(packed, members)
    _dress(error, packed)
    return error


def _group(packed: _Packed, members: Sequence[BaseException]) -> Exception:
    """What ``except*`` takes, in place of a group that cannot be had."""
    return ExceptionGroup(packed.message, [cast("Exception", each) for each in members])


def _dress(error: BaseException, packed: _Packed) -> None:
    """Give an exception what pickle leaves behind."""
    if packed.notes and getattr(error, "__notes__", None) != packed.notes:
        error.__notes__ = list(packed.notes)
    if packed.cause is not None:
        error.__cause__ = _unpack(packed.cause, "")
    if packed.context is not None:
        error.__context__ = _unpack(packed.context, "")
    error.__suppress_context__ = packed.suppresses
    for member, each in zip(getattr(error, "exceptions", ()), packed.members, strict=False):
        _dress(member, each)


def _attach(error: BaseException, shown: WorkerTraceback) -> None:
    """Make ``shown`` the innermost cause, so that it is printed first and hides nothing."""
    inner = error
    for _ in range(2 * _DEEPEST):  # an exception may bring a circle of its own
        further = inner.__cause__ or (None if inner.__suppress_context__ else inner.__context__)
        if further is None:
            inner.__cause__ = shown
            return
        inner = further


def _not_a_stop(error: Exception) -> RuntimeError:
    """Neither a coroutine nor a future of asyncio can raise a StopIteration."""
    stand_in = RuntimeError(f"the function raised {type(error).__name__}")
    stand_in.__cause__ = error
    return stand_in


def _traceback_of(error: BaseException) -> str:
    lines = traceback.format_exception(type(error), error, _from_the_function(error.__traceback__))
    text = _clean("".join(lines))
    if len(text) > _LONGEST_TEXT:
        half = _LONGEST_TEXT // 2
        text = f"{text[:half]}\n... {len(text) - 2 * half} characters more ...\n{text[-half:]}"
    return text


def _from_the_function(frames: TracebackType | None) -> TracebackType | None:
    """The traceback without the frames of ours that come first; all of it, if there are no others."""
    for frame in _each(frames):
        if not frame.tb_frame.f_code.co_filename.startswith(_HERE):
            return frame
    return frames


def _each(frames: TracebackType | None) -> Iterator[TracebackType]:
    while frames is not None:
        yield frames
        frames = frames.tb_next


def _clean(text: str) -> str:
    """``text`` without halves of characters, which cannot be encoded."""
    return text.encode("utf-8", "backslashreplace").decode()


def _safely(do: Callable[[], T], otherwise: T) -> T:
    """What ``do`` returns; ``otherwise`` if it raises, as the code of an exception's class may."""
    try:
        return do()
    except BaseException:  # noqa: BLE001 - any, as above
        return otherwise
