"""Many leases at once: each operation is one round trip."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from mlcache.backends.redis.lease import Lease
from mlcache.backends.redis.wire import Wire


def acquire_many(wire: Wire, leases: Sequence[Lease]) -> list[bool | Exception]:
    """Take those that nobody holds; by lease, whether it is ours, or why that is not known."""
    with ExitStack() as renewed:
        for lease in leases:
            renewed.enter_context(lease.renewed())
        replies = wire.send([lease.taking() for lease in leases])
        return [
            reply if isinstance(reply, Exception) else lease.note(bool(reply))
            for lease, reply in zip(leases, replies, strict=True)
        ]


def release_many(wire: Wire, leases: Sequence[Lease]) -> list[Any]:
    """Let go of leases; by lease, whether it was taken away. It is no error not to hold one."""
    held = [lease for lease in leases if lease.forgo()]
    if not held:
        return [False] * len(leases)
    replies = wire.send([command for lease in held for command in lease.leaving()])
    taken_away = {lease for lease, word in zip(held, replies[1::2], strict=True) if word == 1}
    return [lease in taken_away for lease in leases]
