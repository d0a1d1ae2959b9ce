"""What a lease needs of a Redis."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from mlcache.backends.redis.bell import Bell

Commands = Sequence[tuple[Any, ...]]


class Wire(Protocol):
    """What carries commands to a server and brings the replies, errors among them."""

    @property
    def target(self) -> Hashable:
        """What tells the server from others."""
        ...

    @property
    def spread(self) -> bool:
        """Whether keys lie on several nodes, so that one command cannot have many of them."""
        ...

    def send(self, commands: Commands) -> list[Any]:
        """In one round trip."""
        ...

    async def send_async(self, commands: Commands) -> list[Any]:
        """As ``send``, on the running event loop."""
        ...

    def bell(self) -> Bell:
        """What tells of the end of leases."""
        ...
