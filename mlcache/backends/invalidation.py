"""Keeping the tiers of this process true to what other processes write and drop in a tier they share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from mlcache.backends.protocol import Announces, News
from mlcache.entry import Key

if TYPE_CHECKING:
    from mlcache.backends.tiered import Tiers

REMEMBERED = 4096
"""How many names are remembered; a lookup during which more are heard keeps nothing nearer."""


class Recent:
    """What was heard lately, so that a lookup can tell whether its answer was overtaken.

    Between a lookup in the shared tier and the copy to a nearer one, the news that the entry is
    gone may come and find nothing to delete yet. So a lookup takes a mark before, and asks after.
    """

    def __init__(self) -> None:
        self.mark = 0
        self._marks: dict[bytes | str, int] = {}
        self._forgotten = 0  # the highest mark of a name that is remembered no more
        self._lock = threading.RLock()  # a finalizer may come at any time, and call a cached function

    def note(self, names: Iterable[bytes | str]) -> None:
        """Remember digests, or namespaces as a whole."""
        with self._lock:
            for name in names:
                self.mark += 1
                self._marks.pop(name, None)
                self._marks[name] = self.mark
            while len(self._marks) > REMEMBERED:
                self._forgotten = self._marks.pop(next(iter(self._marks)))

    def has(self, key: Key, *, since: int) -> bool:
        """Whether news of ``key`` came after the mark ``since``."""
        if since == self.mark:
            return False
        heard = max(self._marks.get(name, 0) for name in (key.digest, key.namespace))
        return max(heard, self._forgotten) > since


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
