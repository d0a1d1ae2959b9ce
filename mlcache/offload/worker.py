"""The worker: takes calls over its socket, one at a time, and answers each."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

from mlcache import clock, switch
from mlcache.offload import failures, functions, journal, limits, transport
from mlcache.offload.mapping import Inbox, Outbox
from mlcache.offload.transport import Buffer
from mlcache.offload.wire import Answer, Call, Line, Message, Payload, Ready, Said, Setup, Stop, Unready

_MOMENT = 0.05
"""Seconds."""


class Worker:
    """A process that computes calls.

    Args:
        end: its socket.
    """

    def __init__(self, end: socket.socket) -> None:
        self._process = os.getpid()
        self._line = Line(end)
        self._inbox = Inbox()
        self._outbox = Outbox(self._line)
        self._resources: dict[str, Any] = {}
        self._memory = _Memory()

    def serve(self) -> None:
        """Load what is needed, then answer calls until the parent says stop or ends."""
        switch.be_plain()
        with contextlib.suppress(ConnectionError):  # the parent has ended
            while (arrived := self._line.receive()) is not None and not isinstance(arrived[0], Stop):
                self._obey(*arrived)
        _flush()

    def _obey(self, message: Message, files: list[int]) -> None:
        if isinstance(message, Call):
            self._line.send(self._answer(message, files))
        elif isinstance(message, Setup):
            self._line.send(self._set_up(message, files))

    def _set_up(self, setup: Setup, files: list[int]) -> Ready | Unready:
        journal.start(setup.journal, self._say)
        try:
            limits.limit_threads(setup.threads)
            parts = self._inbox.parts(setup.payload, setup.opens, files)
            for name, factory in zip(setup.names, parts, strict=True):
                self._resources[name] = functions.unpack(bytes(factory))()
        except BaseException as error:  # noqa: BLE001 - whatever loading does, the parent is told
            return Unready(failures.pack(error), journal.take())
        finally:
            self._inbox.forget(setup.opens)
        return Ready(self._memory.now(), journal.take())

    def _answer(self, call: Call, files: list[int]) -> Answer:
        """Whatever becomes of a call, as an answer. Only the end of the process is none."""
        ok, result, seconds = self._outcome(call, files)
        if os.getpid() != self._process:  # the function has forked, and both return
            os._exit(0)
        try:
            payload = self._outbox.put(result)
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 - no memory, most likely
            ok, payload = False, Payload([failures.pack(error)])
        del result  # which may be the arguments
        _flush()
        keeps, freed = self._inbox.done(call), self._inbox.freed()
        return Answer(call.number, ok, payload, seconds, self._memory.now(), journal.take(), keeps, freed)

    def _say(self) -> None:
        """Send what was logged, in the middle of a call."""
        if os.getpid() == self._process:  # not a fork that the function has made
            with contextlib.suppress(OSError):  # the parent has ended, which the end of the call notices
                self._line.interject(_said)

    def _outcome(self, call: Call, files: list[int]) -> tuple[bool, list[Buffer], float]:
        started = clock.ticks()
        try:
            parts = self._inbox.parts(call.payload, call.opens, files)
            function, (args, kwargs) = _load(parts)
            resources = {name: self._resources[name] for name in call.names}
            started = clock.ticks()
            value = function(*args, **kwargs, **resources)
            seconds = clock.ticks() - started
            return True, _dump(value), seconds
        except BaseException as error:  # noqa: BLE001 - also what means to end the process
            return False, [failures.pack(error)], clock.ticks() - started


def _load(parts: Sequence[Buffer]) -> tuple[Callable[..., Any], Any]:
    try:
        return functions.unpack(bytes(parts[0])), transport.load(parts[1:])
    except BaseException as error:
        error.add_note("raised in the worker while the function and its arguments were unpickled")
        raise


def _dump(value: object) -> list[Buffer]:
    try:
        return transport.dump(value)
    except BaseException as error:
        error.add_note("raised in the worker while the result was pickled")
        raise


def _said() -> Said | None:
    said = journal.take(call_ends=False)
    return Said(said) if said else None


def _flush() -> None:
    """Write out what was printed: a worker that is killed does not."""
    for stream in (sys.stdout, sys.stderr):
        try:  # noqa: SIM105 - a third of the time, once a call
            stream.flush()
        except (OSError, ValueError, AttributeError):  # closed, replaced, or read by nobody
            pass


class _Memory:
    """How much memory this process holds, looked up now and then: it takes longer than many a call."""

    def __init__(self) -> None:
        self._looked = -math.inf
        self._bytes = 0

    def now(self) -> int:
        """Bytes, as of a moment ago."""
        if clock.ticks() - self._looked > _MOMENT:
            self._bytes = limits.memory_of(os.getpid())
            self._looked = clock.ticks()
        return self._bytes
