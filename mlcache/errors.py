"""Every error and warning of mlcache, in one tree.

MlcacheError
├── ConfigurationError (ValueError)
│   └── MissingExtraError (ImportError)
├── UnhashableArgumentError (TypeError)
├── RecursiveCallError (RecursionError)
├── BatchAnswerError (ValueError)
├── BatchTimeoutError (TimeoutError)
├── BackendError
│   └── EntryTooLargeError
├── ModelError
│   ├── UnknownUserError (LookupError)
│   ├── UnknownModelError (LookupError)
│   ├── ModelStoreError
│   ├── InvalidModelError
│   │   └── UntrustedModelError
│   ├── ModelInputError (ValueError)
│   └── NoRoomError
├── RemoteError
├── OffloadError
│   ├── CallTimeoutError (TimeoutError)
│   ├── PoolClosedError
│   ├── PoolFullError
│   ├── WorkerDied
│   └── WorkerStartError
├── TraceError (ValueError)
└── CodecError
    ├── CannotEncodeError
    └── CorruptEntryError

MlcacheWarning (UserWarning)
"""

from __future__ import annotations

import sys

_LONGEST = 300
"""Characters of what another library's error says in one of ours."""


class MlcacheError(Exception):
    """What every error of mlcache derives from."""


class ConfigurationError(MlcacheError, ValueError):
    """An option, a backend's URL or an environment variable that cannot be understood."""


class MissingExtraError(ConfigurationError, ImportError):
    """A feature that needs a package which is not installed; the message says which."""

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs the package {package!r}: install it with pip install 'mlcache[{extra}]'"
        )


class UnhashableArgumentError(MlcacheError, TypeError):
    """An argument from which no stable key can be made.

    Args:
        kind: the type of the value that stands in the way.
        path: where it sits inside the argument, such as ``[3].name``; empty for the argument itself.
        parameter: the parameter it was passed for; None until known.
        reason: what about the value is in the way, if there is more to say than its type.
        must_count: whether the parameter cannot be left out of the key, as that of a batch's items cannot.
    """

    def __init__(
        self,
        kind: type,
        path: str = "",
        parameter: str | None = None,
        reason: str = "",
        *,
        must_count: bool = False,
    ) -> None:
        self.kind = kind
        self.must_count = must_count
        self.path = path
        self.parameter = parameter
        self.reason = reason
        super().__init__(self._message())

    def of(self, parameter: str) -> UnhashableArgumentError:
        """The same error, naming the parameter."""
        return UnhashableArgumentError(self.kind, self.path, parameter, self.reason)

    def _message(self) -> str:
        name = self.parameter or "the value"
        where = f"{name}{self.path}" if self.parameter else f"{name} at {self.path}" * bool(self.path)
        kind = f"{self.kind.__module__}.{self.kind.__qualname__}".removeprefix("builtins.")
        out = self.parameter or "name"
        ways, leave = "Three", f"leave it out of the key with ignore=[{out!r}]; "
        if self.must_count:
            ways, leave = "Two", ""
        return (
            f"no stable key can be made from {where or name} of type {kind}"
            f"{f' ({self.reason})' if self.reason else ''}. {ways} ways out: {leave}"
            f"say what stands for it with key={{{out!r}: function}}; or {self._for_the_class()}."
        )

    def _for_the_class(self) -> str:
        name = self.kind.__qualname__
        if self.kind.__module__.partition(".")[0] in sys.stdlib_module_names:  # nobody can add a method
            return f"say it once for every {name}, with mlcache.register_key({name}, function)"
        return (
            f"give {name} a method __ml_cache_key__() that returns something that can be keyed "
            "(register_key does so for a class that is not yours)"
        )


class RecursiveCallError(MlcacheError, RecursionError):
    """A cached function that waits for itself: the same call is already being computed further up."""


class BatchAnswerError(MlcacheError, ValueError):
    """A function of many items that did not return one answer for each of them."""


class BatchTimeoutError(MlcacheError, TimeoutError):
    """A single item whose batch did not begin in time."""


class BackendError(MlcacheError):
    """A store that could not be opened, read or written."""


class EntryTooLargeError(BackendError):
    """An entry larger than the whole of the store it was meant for."""


class ModelError(MlcacheError):
    """A model that cannot be had or used."""


class UnknownUserError(ModelError, LookupError):
    """A user for whom there is no model."""


class UnknownModelError(ModelError, LookupError):
    """A model that is not in the store."""


class ModelStoreError(ModelError):
    """A store of models or a database that does not answer; asking again later may help.

    Args:
        message: what happened.
        retry_after: seconds after which asking again makes sense; None where that is not known.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class InvalidModelError(ModelError):
    """Something stored as a model that is torn, changed, or no model that can be loaded."""


class UntrustedModelError(InvalidModelError):
    """A stored model that could run code of whoever wrote it, which nobody has allowed."""


class ModelInputError(ModelError, ValueError):
    """A frame that a model cannot answer for."""


class NoRoomError(ModelError):
    """A model that is larger than all the room for models, or for which none became free in time.

    Args:
        message: what was missing.
        passing: whether others were using the room, so that there may be some later.
    """

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


class RemoteError(MlcacheError):
    """What stands in for an exception of another process that cannot be brought home as it is.

    Args:
        kind: its type, with its module.
        message: what it said.
        traceback: where it was raised, as text.
    """

    def __init__(self, kind: str, message: str, traceback: str) -> None:
        super().__init__(kind, message, traceback)
        self.kind = kind
        self.message = message
        self.traceback = traceback

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}" if self.message else self.kind


class OffloadError(MlcacheError):
    """A call that worker processes did not compute."""


class CallTimeoutError(OffloadError, TimeoutError):
    """A call that took longer than it may, and was ended, or that would have begun too late."""


class PoolClosedError(OffloadError):
    """A call for a pool that takes no more, or that was closed before it was computed."""


class PoolFullError(OffloadError):
    """A call for which there is no room: too many wait already."""


class WorkerDied(OffloadError):  # noqa: N818 - says what happened, as TimeoutExpired does
    """The process that computed a call ended in the middle of it."""


class WorkerStartError(OffloadError):
    """Workers cannot be started: their processes end at once, or their resources cannot be loaded."""


class TraceError(MlcacheError, ValueError):
    """A file that is no trace of calls, or one with nothing to replay."""


class CodecError(MlcacheError):
    """An entry that cannot be turned into bytes or back."""


class CannotEncodeError(CodecError):
    """A value that this codec may not or cannot write."""


class CorruptEntryError(CodecError):
    """Bytes that are not a whole, unchanged frame which this version can read."""


class MlcacheWarning(UserWarning):
    """Something went wrong that did not fail the call."""


def first_line(error: BaseException) -> str:
    """The first line of what ``error`` says: some libraries add pages to it."""
    text = str(error).strip().partition("\n")[0]
    return f"{text[:_LONGEST]}..." if len(text) > _LONGEST else text
