"""What is sent to Redis for each operation, and what its replies mean."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from mlcache import clock
from mlcache.backends.protocol import News
from mlcache.backends.redis.listener import Message, channel_of, encode, origin_of
from mlcache.backends.redis.target import Target
from mlcache.entry import Key
from mlcache.errors import BackendError, EntryTooLargeError
from mlcache.units import show_size

LARGEST = 512 * 2**20
"""Bytes of the largest value that Redis takes."""

FAR = 10 * 365 * 86400.0
"""Seconds until a deadline that is as good as none: telling Redis of it would spare no memory."""

Command = tuple[Any, ...]
Item = tuple[Key, bytes, float]
"""A key, a frame, and from when on it is useless."""

_DIGITS = 32
_LEASE = ":lease"
_SPECIAL = re.compile(r"([*?\[\]\\])")
_DIGEST = re.compile(rb"[0-9a-f]{32}\Z")


class Commands:
    """The commands of one backend.

    Args:
        target: whose prefix begins all keys.
        token: of the backend, from which what is published comes.
    """

    def __init__(self, target: Target, token: bytes) -> None:
        self._prefix = target.prefix
        self._channel = channel_of(target)
        self._token = token

    def name(self, key: Key) -> str:
        """What a key is called in Redis."""
        return f"{self._prefix}:{key.namespace}:{key.digest.hex()}"

    def lease(self, key: Key) -> str:
        """What the lease of a key is called."""
        return self.name(key) + _LEASE

    def leases(self, namespace: str) -> str:
        """What the names of the leases of a namespace match, and no others."""
        return self.pattern(namespace) + _LEASE

    def pattern(self, namespace: str) -> str:
        """What the names of a namespace match, and no others: digests are of one length."""
        return _SPECIAL.sub(r"\\\1", f"{self._prefix}:{namespace}:") + "?" * _DIGITS

    def write(self, item: Item) -> list[Command]:
        """Write one frame, and tell of it.

        Raises:
            EntryTooLargeError: it is larger than Redis takes.
        """
        return [self._set(item), self._tell(item[0].namespace, [item[0].digest])]

    def write_many(self, items: Iterable[Item]) -> tuple[list[Command], list[Exception | None]]:
        """Write many frames, and tell of them last; by item, why it cannot be written."""
        commands: list[Command] = []
        objections: list[Exception | None] = []
        digests: dict[str, list[bytes]] = {}
        for item in items:
            try:
                commands.append(self._set(item))
            except EntryTooLargeError as error:
                objections.append(error)
            else:
                objections.append(None)
                digests.setdefault(item[0].namespace, []).append(item[0].digest)
        return commands + [self._tell(*each) for each in digests.items()], objections

    def delete(self, keys: Sequence[Key]) -> list[Command]:
        """Delete keys, and tell of them last."""
        digests: dict[str, list[bytes]] = {}
        for key in keys:
            digests.setdefault(key.namespace, []).append(key.digest)
        gone: list[Command] = [("UNLINK", self.name(key)) for key in keys]
        return gone + [self._tell(*each, dropped=True) for each in digests.items()]

    def clear(self, namespace: str) -> list[Command]:
        """Tell that a namespace was cleared."""
        return [self._tell(namespace, (), dropped=True)]

    def _set(self, item: Item) -> Command:
        key, data, expires_at = item
        if len(data) > LARGEST:
            raise EntryTooLargeError(
                f"{show_size(len(data))} do not fit into the 512 MiB of a value in Redis"
            )
        left = expires_at - clock.now()
        if left > FAR or math.isnan(left):
            return "SET", self.name(key), data
        # Redis refuses an expiry that is not above zero; what is dead already is gone in a millisecond.
        return "SET", self.name(key), data, "PX", max(math.ceil(left * 1000), 1)

    def _tell(self, namespace: str, digests: Sequence[bytes], *, dropped: bool = False) -> Command:
        news = News(namespace, tuple(digests), dropped)
        return "PUBLISH", self._channel, encode(Message(origin_of(self._token), clock.now(), news))


def unlink(names: Iterable[bytes]) -> list[Command]:
    """Delete those of these keys that are ours; one command each, as a cluster has them on several nodes."""
    return [("UNLINK", name) for name in names if _DIGEST.search(name)]


def digests_of(names: Iterable[bytes]) -> list[bytes]:
    """The digests of names that a pattern matched; a stranger's key that only looks alike is left out."""
    return [bytes.fromhex(name[-_DIGITS:].decode()) for name in names if _DIGEST.search(name)]


def checked(replies: list[Any]) -> list[Any]:
    """``replies``, if there is no error among them.

    Raises:
        BackendError: Redis refused a command.
    """
    for reply in replies:
        if isinstance(reply, Exception):
            raise _refusal(reply)
    return replies


def errors_of(replies: list[Any], objections: list[Exception | None]) -> list[Exception | None]:
    """By item, why it was not written, from the replies to ``Commands.write_many``.

    Raises:
        BackendError: others could not be told.
    """
    written = objections.count(None)
    checked(replies[written:])
    answers = iter(replies[:written])
    return [_error_or_none(next(answers)) if each is None else each for each in objections]


def gone_of(replies: list[Any], number: int) -> list[bool | Exception]:
    """By key, whether there was anything, from the replies to ``Commands.delete`` for so many keys.

    Raises:
        BackendError: others could not be told.
    """
    checked(replies[number:])
    return [_refusal(each) if isinstance(each, Exception) else bool(each) for each in replies[:number]]


def found_in(replies: list[Any]) -> list[bytes | Exception | None]:
    """By key, what was found, or why it could not be looked up."""
    return [_refusal(reply) if isinstance(reply, Exception) else reply for reply in replies]


def _error_or_none(reply: Any) -> Exception | None:
    return _refusal(reply) if isinstance(reply, Exception) else None


def _refusal(error: Exception) -> BackendError:
    if "permission" in str(error) and "channel" in str(error):
        return BackendError(f"others cannot be told of a change: grant the user its channels: {error}")
    return BackendError(f"Redis refused: {error}")
