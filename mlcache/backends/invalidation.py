"""Keeping the tiers of this process true to what other processes write and drop in a tier they share."""

from __future__ import annotations

from collections.abc import Callable

from mlcache.backends.protocol import Announces, News
from mlcache.backends.tiered import Tiers
from mlcache.entry import Key


class Hearing:
    """What one function does about the news of others.

    Args:
        namespace: of the function.
        tiers: of the function.
        before: the place of the shared tier.
        supersede: lets the result of a computation under way, of one key or of all, not be kept.
    """

    def __init__(
        self, namespace: str, tiers: Tiers, before: int, supersede: Callable[[Key | None], None]
    ) -> None:
        self._namespace = namespace
        self._tiers = tiers
        self._before = before
        self._supersede = supersede

    def hear(self, news: News) -> None:
        """Forget what was written or dropped; what was dropped is not kept if it is just being computed."""
        keys = [Key(self._namespace, digest) for digest in news.digests]
        if news.dropped:
            for key in keys or (None,):
                self._supersede(key)
        self._tiers.forget(self._namespace, keys, before=self._before)

    def renew(self) -> None:
        """Forget all that is nearer, as news of it may have been missed."""
        self._tiers.forget(self._namespace, (), before=self._before)


def listen(tiers: Tiers, namespace: str, supersede: Callable[[Key | None], None]) -> list[Hearing]:
    """Listen to every shared tier that stands behind others; nobody listens longer than the result lives."""
    hearings: list[Hearing] = []
    for place, backend in enumerate(tiers.backends):
        if place and isinstance(backend, Announces):
            hearings.append(Hearing(namespace, tiers, place, supersede))
            backend.subscribe(namespace, hearings[-1])
    return hearings
