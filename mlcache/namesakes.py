"""Functions of one namespace, such as one that was decorated twice, and what that means for their hits.

They find each other's answers in memory. The fast path goes by an answer's own deadline there, which is
right while all of them have the same terms. From when on they do not, each goes by its own terms as well.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from mlcache import forks
from mlcache.fastpath import look_closer

FastPath = Callable[..., Any]


class Namesakes:
    """Those of one namespace, in this process."""

    def __init__(self) -> None:
        self._terms: str | None = None
        self._differ = False
        self._paths: WeakSet[FastPath] = WeakSet()
        self._lock = threading.RLock()  # a finalizer may come at any time, and call a cached function
        forks.tend(self)

    def open(self, terms: str) -> bool:
        """Note one more, under ``terms``; whether they are other terms than those of the last."""
        with self._lock:
            before, self._terms = self._terms, terms
            if before in (None, terms):
                return False
            self._differ = True
            for path in list(self._paths):
                look_closer(path)
            return True

    def install(self, path: FastPath) -> None:
        """Note the fast path of one."""
        with self._lock:
            self._paths.add(path)
            if self._differ:
                look_closer(path)

    def after_fork(self) -> None:
        """Be usable in a child that was forked while another thread was at it."""
        self._lock = threading.RLock()


_by_namespace: dict[str, Namesakes] = {}


def namesakes_of(namespace: str) -> Namesakes:
    """All functions of a namespace."""
    return _by_namespace.setdefault(namespace, Namesakes())
