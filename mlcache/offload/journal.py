"""Log records and warnings of a worker, brought home to the parent's own logging and filters.

A worker configures no logging of its own. What is logged there, or warned of, is written down
(``start``, ``take``) and sent along with the answer; the parent hands it to the loggers of the same
names (``replay``), under whatever configuration its program has, as if it had been said there.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable
from typing import Any, TextIO

import msgspec

from mlcache.offload import failures
from mlcache.offload.filters import Filters, filters_here, set_filters

MOST_RECORDS = 1000
MOST_BYTES = 1 << 20
"""What is written down between two answers at most; what is more is counted."""
URGENT = logging.WARNING
"""From which level on a record is sent at once: a worker that dies or hangs afterwards answers no more."""
MOST_URGENT = 100
"""Records of one call at most that are sent at once; the others come with the answer."""

_LONGEST = 1 << 16
_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_PLAIN = (str, int, float, bool, type(None))


class Terms(msgspec.Struct):
    """What a worker has to know of the parent's configuration, so that it sends what will be wanted.

    Args:
        levels: of loggers, by name; that of the root logger under the empty name.
        disabled: the level up to which ``logging.disable`` has switched logging off.
        filters: of warnings.
    """

    levels: dict[str, int]
    disabled: int
    filters: Filters


class _Record(msgspec.Struct, omit_defaults=True):
    """A log record: its fields under the names that they have there, its own exception, and the rest."""

    fields: dict[str, Any]
    error: bytes = b""


class _Warning(msgspec.Struct, frozen=True):
    """A warning; ``kinds`` are its category and what that derives from, as module and name."""

    text: str
    kinds: tuple[tuple[str, str], ...]
    path: str
    line: int
    module: str


class _Page(msgspec.Struct):
    records: list[_Record]
    warnings: list[_Warning]
    dropped: int


class _Book:
    """What has been written down and not been taken."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.urgent = 0
        self._clear()

    def _clear(self) -> None:
        self._records: list[_Record] = []
        self._warnings: dict[_Warning, None] = {}
        self._size = 0
        self._dropped = 0

    def write(self, record: _Record) -> None:
        size = len(record.error) + sum(len(str(value)) for value in record.fields.values())
        with self._lock:
            if len(self._records) >= MOST_RECORDS or self._size + size > MOST_BYTES:
                self._dropped += 1
            else:
                self._records.append(record)
                self._size += size

    def warn(self, warning: _Warning) -> None:
        with self._lock:
            if len(self._warnings) < MOST_RECORDS:
                self._warnings[warning] = None

    def take(self) -> _Page | None:
        with self._lock:
            if not self._records and not self._warnings:
                return None
            page = _Page(self._records, list(self._warnings), self._dropped)
            self._clear()
        return page


_book = _Book()

_on_urgent: Callable[[], object] | None = None


def terms() -> bytes:
    """In the parent: what ``start`` has to know in a worker."""
    loggers = list(logging.root.manager.loggerDict.items())
    levels = {name: each.level for name, each in loggers if isinstance(each, logging.Logger) and each.level}
    levels[""] = logging.root.level
    return msgspec.msgpack.encode(Terms(levels, logging.root.manager.disable, filters_here()))


def start(data: bytes = b"", on_urgent: Callable[[], object] | None = None) -> None:
    """In a worker: write down what is logged and warned of from now on.

    Args:
        data: the parent's ``terms()``; without them, levels and filters are Python's own.
        on_urgent: called after what should not wait for the answer was written down.
    """
    global _on_urgent  # noqa: PLW0603 - a worker has one parent
    _on_urgent = on_urgent
    # Not by a handler: modules that set up logging when they are imported would write, too.
    logging.Logger.handle = _write_down  # type: ignore[method-assign,assignment]
    warnings.showwarning = _write_warning_down
    if data:
        asked = msgspec.msgpack.decode(data, type=Terms)
        for name, level in asked.levels.items():
            logging.getLogger(name).setLevel(level)
        logging.disable(asked.disabled)
        set_filters(asked.filters)


def take(*, call_ends: bool = True) -> bytes:
    """In a worker: what was written down since the last time; nothing if there was nothing."""
    if call_ends:
        _book.urgent = 0
    try:
        page = _book.take()
        return b"" if page is None else msgspec.msgpack.encode(page)
    except Exception:  # noqa: BLE001 - what is said about an answer must not keep the answer
        return b""


def replay(data: bytes) -> None:
    """In the parent: say what a worker wrote down; it never raises."""
    if not data:
        return
    try:
        page = msgspec.msgpack.decode(data, type=_Page)
    except Exception:  # noqa: BLE001 - bytes of a process that may have gone wrong
        return
    for record in page.records:
        _calmly(_log_again, record)
    for warning in page.warnings:
        _calmly(_warn_again, warning)
    if page.dropped:
        more = "a worker logged %d records more in one call, which were dropped"
        _calmly(logging.getLogger("mlcache.offload").warning, more, page.dropped)


def _calmly(say: Callable[..., object], *args: Any) -> None:
    try:
        say(*args)
    except BaseException:  # noqa: BLE001 - a filter of the user's may raise anything
        if logging.raiseExceptions:  # as handlers of logging do
            traceback.print_exc()


def _write_down(logger: logging.Logger, record: logging.LogRecord) -> None:
    """What ``Logger.handle`` does in a worker."""
    if logger.disabled:
        return
    passed: Any = logger.filter(record)
    if passed:
        _book.write(_describe(passed if isinstance(passed, logging.LogRecord) else record))
        if _on_urgent is not None and record.levelno >= URGENT and _book.urgent < MOST_URGENT:
            _book.urgent += 1
            _on_urgent()


def _describe(record: logging.LogRecord) -> _Record:
    fields = {name: _sendable(value) for name, value in vars(record).items() if name not in _OWN_FIELDS}
    fields |= {name: _sendable(getattr(record, name)) for name in _KEPT}
    fields |= _words_of(record)
    raised = record.exc_info[1] if record.exc_info else None
    if raised is None:
        return _Record(fields)
    text = "".join(traceback.format_exception(raised)).rstrip("\n")
    fields["exc_text"] = _sendable(record.exc_text or text)
    return _Record(fields, failures.pack(raised))


_KEPT = (
    *("name", "levelno", "levelname", "pathname", "filename", "module", "lineno", "funcName", "created"),
    *("msecs", "thread", "threadName", "process", "processName", "stack_info"),
)


def _words_of(record: logging.LogRecord) -> dict[str, Any]:
    """The template and its arguments, by which records are grouped; where these cannot be sent, the text."""
    try:
        text = record.getMessage()
    except Exception as error:  # noqa: BLE001 - the code of an argument, or too few of them
        text = f"{record.msg!r:.1000} (which cannot be formatted: {error!r:.200})"
    else:
        values: Any = record.args.values() if isinstance(record.args, dict) else record.args or ()
        if isinstance(record.msg, str) and all(type(value) in _PLAIN for value in values):
            return {"msg": _sendable(record.msg), "args": _sendable(record.args)}
    return {"msg": _sendable(text), "args": None}


def _sendable(value: Any) -> Any:
    """``value`` if it is plain, else what it looks like."""
    if isinstance(value, str):
        return value[:_LONGEST].encode("utf-8", "backslashreplace").decode()
    if type(value) is int:
        return value if -(2**63) <= value < 2**64 else str(value)
    if type(value) in _PLAIN:
        return value
    if type(value) in (list, tuple):
        return [_sendable(each) for each in value[:MOST_RECORDS]]
    if type(value) is dict:
        return {str(name): _sendable(value[name]) for name in list(value)[:MOST_RECORDS]}
    return _sendable(_looks_of(value))


def _looks_of(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - the code of any class
        return f"<{type(value).__qualname__}>"


def _write_warning_down(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001 - the signature of warnings.showwarning
    line: str | None = None,  # noqa: ARG001 - the same
) -> None:
    kinds = [(each.__module__, each.__qualname__) for each in category.__mro__ if issubclass(each, Warning)]
    # What no module here holds was sent by value, which is how what a script or a notebook defines comes.
    module = next(
        (name for name, each in list(sys.modules.items()) if _path_of(each) == filename), "__main__"
    )
    _book.warn(_Warning(_sendable(str(message)), tuple(kinds), _sendable(filename), lineno, module))


def _path_of(module: Any) -> object:
    return getattr(module, "__dict__", {}).get("__file__")


def _log_again(record: _Record) -> None:
    logger = logging.getLogger(record.fields["name"])
    if not logger.isEnabledFor(record.fields["levelno"]):
        return
    args = record.fields["args"]
    again = logging.makeLogRecord(record.fields | {"args": tuple(args) if isinstance(args, list) else args})
    if record.error:
        raised = failures.unpack(record.error)
        again.exc_info = (type(raised), raised, None)
    logger.handle(again)


def _warn_again(warning: _Warning) -> None:
    category = _first_found(warning.kinds)
    module = sys.modules.get(warning.module)
    registry = _registry if module is None else vars(module).setdefault("__warningregistry__", {})
    if len(_registry) > MOST_RECORDS:
        _registry.clear()
    try:
        warnings.warn_explicit(warning.text, category, warning.path, warning.line, warning.module, registry)
    except Warning:  # the call is over, and cannot fail any more
        text = warnings.formatwarning(warning.text, category, warning.path, warning.line)
        logging.getLogger("py.warnings").warning("%s", text)


_registry: dict[Any, Any] = {}
"""Which warnings were given already, of modules that the parent has not imported."""


def _first_found(kinds: Iterable[tuple[str, str]]) -> type[Warning]:
    for module, name in kinds:
        found = getattr(sys.modules.get(module), name, None)
        if isinstance(found, type) and issubclass(found, Warning):
            return found
    return UserWarning
