"""What the functions that write and read one kind of value are given."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

Node: TypeAlias = Any
"""A plain scalar, or ``[tag, ...]``. What stands in a frame may be anything: it is checked where it is used."""


class NeedsPickleError(Exception):
    """A value that has no form of its own here; it never leaves the codec."""


class Writer(Protocol):
    """Takes values apart."""

    plain: frozenset[type]
    """The types whose values are nodes as they are."""

    def node(self, value: Any) -> Node:
        """The node that stands for ``value``."""
        ...

    def buffer(self, data: Any, size: int) -> int:
        """Takes ``size`` bytes of contiguous ``data`` in; where they will begin among the buffers."""
        ...


class Reader(Protocol):
    """Puts values together."""

    buffers: memoryview
    """All buffers, read-only."""

    def value(self, node: Node) -> Any:
        """What ``node`` stands for."""
        ...

    def buffer(self, offset: int, size: int) -> memoryview:
        """``size`` bytes from ``offset`` on."""
        ...
