"""What was heard lately of keys that changed, so that a lookup can tell whether its answer was overtaken."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from mlcache.entry import Key

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
