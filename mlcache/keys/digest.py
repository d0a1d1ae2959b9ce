"""From a value to 16 bytes: a canonical code of the value, hashed once.

Every value has one *code*: bytes that name its type and hold its content, written so that
no code is the beginning of another. Putting codes in a row therefore never blurs where one
ends, and two values share a code only if they are equal in type and content. The code of a
plain value (int, str, ...) is what ``marshal`` writes for it; every other code begins with
``@``, which marshal never writes, a name and a colon. What is long, such as an array's
bytes, stands in the code by its length and its own 16 byte hash.

How a type is encoded is looked up by the exact type in ``ENCODERS``, which asks
``resolve`` about a type when it is first seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from marshal import dumps
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from mlcache.errors import UnhashableArgumentError
from mlcache.keys import hashing

KEY_VERSION = 3
"""Goes into every digest: a change of any code is a change of this number."""

Seen: TypeAlias = dict[int, int]
"""The containers that the encoder is inside of: identity to depth."""

Encoder: TypeAlias = Callable[[Any, Seen], bytes]

_HEAD = b"mlcache:%d:" % KEY_VERSION
_LONG = 1 << 16


def digest(value: object, prefix: bytes = b"") -> bytes:
    """16 bytes that stand for ``value``: equal for equal values, different for different ones.

    Args:
        value: anything that can be keyed; a tuple of bound arguments, say.
        prefix: goes into the digest as well, such as the digest of the function's identity.

    Raises:
        UnhashableArgumentError: if no stable key can be made from the value or from a part of it.
    """
    try:
        if type(value) is tuple:
            return hashing.hash128(_HEAD + encode_items(value, {}) + b"@end:" + prefix)
        return hashing.hash128(_HEAD + b"@one:" + ENCODERS[type(value)](value, {}) + prefix)
    except RecursionError:
        raise UnhashableArgumentError(type(value), reason="it is nested too deeply") from None


def encode(value: object, seen: Seen) -> bytes:
    """The code of ``value``, found inside the containers ``seen``."""
    return ENCODERS[type(value)](value, seen)


def encode_items(items: Iterable[object], seen: Seen, step: str = "[{}]") -> bytes:
    """The codes of ``items`` in a row. An error's path says by ``step`` which one it was."""
    codes: list[bytes] = []
    try:
        for item in items:
            codes.append(ENCODERS[type(item)](item, seen))  # noqa: PERF401  # its length says which item failed
    except UnhashableArgumentError as error:
        raise at(error, step.format(len(codes))) from None
    return b"".join(codes)


def at(error: UnhashableArgumentError, step: str) -> UnhashableArgumentError:
    """The same error, one step further out on the path."""
    return UnhashableArgumentError(error.kind, step + error.path, error.parameter, error.reason)


def fold(code: bytes) -> bytes:
    """``code``, or what stands for it where it is too long to be copied around."""
    return code if len(code) < _LONG else b"@long:" + hashing.hash128(code)


def within(value: object, seen: Seen, body: Encoder) -> bytes:
    """The code ``body`` makes, or how many containers further up ``value`` already is."""
    depth = seen.get(id(value))
    if depth is not None:
        return b"@above:" + dumps(len(seen) - depth, 2)
    seen[id(value)] = len(seen)
    try:
        return body(value, seen)
    finally:
        del seen[id(value)]


def tracked(body: Encoder) -> Encoder:
    """An encoder of values that may contain themselves."""
    return lambda value, seen: within(value, seen, body)


def is_compared_by_identity(kind: type) -> bool:
    """Whether a table by classes finds a class and no other; its own class may say what is equal to it."""
    return type(kind) is type or type(kind).__eq__ is type.__eq__


class Encoders(dict[type, Encoder]):
    """How each exact type is encoded. What ``resolve`` says about a new type is kept.

    A class that is found under its name stands in the table itself until another is found there, as when
    a cell of a notebook is run again. Any other is held weakly, so no encoder may hold its own class.
    """

    limit = 4096
    resolve: Callable[[type], Encoder]
    name_of: Callable[[type], str | None]
    """The name under which a class is found; None where it is not."""

    def __init__(self) -> None:
        super().__init__()
        self._named: dict[str, type] = {}
        self._passing: WeakKeyDictionary[type, Encoder] = WeakKeyDictionary()

    def __missing__(self, kind: type) -> Encoder:
        if not is_compared_by_identity(kind):
            return self.resolve(kind)
        encoder = self._passing.get(kind)
        if encoder is None:
            encoder = self.resolve(kind)
            self._keep(kind, encoder)
        return encoder

    def _keep(self, kind: type, encoder: Encoder) -> None:
        name = self.name_of(kind) if len(self) < self.limit else None
        if name is None:
            self._passing[kind] = encoder
            return
        former = self._named.get(name)
        self[kind], self._named[name] = encoder, kind
        if former is not None and former is not kind:
            self.pop(former, None)

    def clear(self) -> None:
        """Forget all types."""
        super().clear()
        self._named.clear()
        self._passing.clear()


ENCODERS = Encoders()
