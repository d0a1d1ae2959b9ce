"""Taking leases away from their holders, whose answers rest on older facts, and leaving them word of that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlcache.backends.redis.commands import Command, checked
from mlcache.backends.redis.wire import Wire

WORD = 3600.0
"""Seconds for which the word stays that a lease was taken away."""

TOKEN = 32
"""Characters of a holder's token."""

_TAKE_AWAY = """\
local held = redis.call("get", KEYS[1])
if not held then return "" end
redis.call("del", KEYS[1])
redis.pcall("publish", ARGV[1], KEYS[1])
return string.sub(held, 1, ARGV[2])"""


def take_away(wire: Wire, leases: Sequence[str | bytes], channel: str) -> None:
    """End leases, whoever holds them, and leave word of that.

    Args:
        wire: to their server.
        leases: their names.
        channel: of the bell, which those who wait for them hear.
    """
    words = _words(leases, wire.send(_taking(leases, channel)))
    checked(wire.send(words))


async def take_away_async(wire: Wire, leases: Sequence[str | bytes], channel: str) -> None:
    """As ``take_away``, on the running event loop."""
    words = _words(leases, await wire.send_async(_taking(leases, channel)))
    checked(await wire.send_async(words))


def word_of(lease: str | bytes, token: str) -> str:
    """Where word is left for who held a lease by this token."""
    return f"{lease if isinstance(lease, str) else lease.decode()}:{token}"


def _taking(leases: Sequence[str | bytes], channel: str) -> list[Command]:
    return [("EVAL", _TAKE_AWAY, 1, lease, channel, TOKEN) for lease in leases]


def _words(leases: Sequence[str | bytes], replies: list[Any]) -> list[Command]:
    """What leaves word for each who held a lease."""
    tokens = [token.decode() for token in checked(replies)]
    return [
        ("SET", word_of(lease, token), 1, "PX", round(WORD * 1000))
        for lease, token in zip(leases, tokens, strict=True)
        if token
    ]
