"""A value as a tree that msgpack can hold, beside buffers that it refers to.

A node of the tree is a plain scalar, which stands for itself, or a list ``[tag, ...]``. The
tables below say which function writes a type and which one reads a tag. A type is looked up
exactly, so that a subclass never comes back as its base.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, TypeAlias

from mlcache.codec import arrays, builtin, failures
from mlcache.codec.compression import MAX_RATIO
from mlcache.codec.frame import align
from mlcache.codec.nodes import NeedsPickleError, Node, Reader, Writer

Write: TypeAlias = Callable[[Any, Writer], Node]
Read: TypeAlias = Callable[[Node, Reader], Any]

WRITERS: dict[type, Write] = {**builtin.WRITERS, **arrays.WRITERS, **failures.WRITERS}
READERS: dict[str, Read] = {**builtin.READERS, **arrays.READERS, **failures.READERS}

# By the first part of a type's module, which is also the first part of its tags.
FAMILIES = {
    "pandas": "mlcache.codec.frames",
    "polars": "mlcache.codec.polars",
    "pyarrow": "mlcache.codec.arrow",
    "scipy": "mlcache.codec.sparse",
    "torch": "mlcache.codec.tensors",
}

PLAIN = frozenset({type(None), bool, int, float, str})
ALWAYS_PLAIN = frozenset({type(None), bool, float})

MAX_DEPTH = 100

MAX_NODES = 10_000_000
"""Lists of lists that share their parts can unfold without end."""

ROOM = 1 << 26
"""Bytes that a small frame may unfold to."""


class TreeWriter:
    """Builds a tree and collects its buffers.

    Args:
        careful: msgpack refuses integers of more than 64 bits and strings with lone surrogates.
            Both are rare, so the first attempt takes every int and str for plain; where msgpack
            then fails, a careful second one looks at each.
    """

    def __init__(self, *, careful: bool = False) -> None:
        self.plain = ALWAYS_PLAIN if careful else PLAIN
        self.buffers: list[tuple[int, Any]] = []
        self._end = 0
        self._claimed = 0
        self._depth = 0
        self._count = 0

    def node(self, value: Any) -> Node:
        """The node that stands for ``value``.

        Raises:
            NeedsPickleError: no table knows its type, or it is too deep or too large to be no cycle.
        """
        kind = type(value)
        if kind in self.plain:
            return value
        write = WRITERS.get(kind) or _late_writer(kind)
        self._depth += 1
        self._count += 1
        if self._depth > MAX_DEPTH:
            raise NeedsPickleError(f"it is nested more than {MAX_DEPTH} levels deep, or contains itself")
        if self._count > MAX_NODES:
            raise NeedsPickleError(f"it has more than {MAX_NODES} parts, or contains the same ones often")
        node = write(value, self)
        self._depth -= 1
        return node

    def buffer(self, data: Any, size: int) -> int:
        """Takes ``size`` bytes of contiguous ``data`` in; where they will begin among the buffers."""
        if not size:
            return 0
        offset = align(self._end)
        self.buffers.append((offset, data))
        self._end = offset + size
        return offset

    def claim(self, size: int) -> None:
        """Says that reading will take ``size`` bytes that are not in the buffers.

        Raises:
            NeedsPickleError: beside the bytes that are written so far, a reader would refuse that many.
        """
        self._claimed += size
        if self._claimed > _room_beside(self._end):
            raise NeedsPickleError(f"it is short to write and would take {self._claimed} bytes to read")


class TreeReader:
    """Makes values of nodes.

    Args:
        buffers: everything after the tree, as bytes that cannot be written to.
    """

    def __init__(self, buffers: memoryview) -> None:
        self._buffers = buffers
        self._unread = len(buffers)
        self._room = _room_beside(len(buffers))

    def value(self, node: Node) -> Any:
        """What ``node`` stands for."""
        if type(node) is not list:
            return node
        tag = node[0]
        read = READERS.get(tag) or _late_reader(tag)
        return read(node, self)

    def buffer(self, offset: int, size: int) -> memoryview:
        """``size`` bytes from ``offset`` on.

        No buffer is written for two values: a few bytes that a million nodes make copies of would
        take up all memory.
        """
        if not 0 <= offset <= offset + size <= len(self._buffers):
            raise ValueError(f"{size} bytes at {offset} are not within the {len(self._buffers)} there are")
        self._unread -= size
        if self._unread < 0:
            raise ValueError(f"more bytes are asked for than the {len(self._buffers)} there are")
        return self._buffers[offset : offset + size]

    def claim(self, size: int) -> None:
        """Says that a value is about to take ``size`` bytes that are not in the buffers.

        Raises:
            ValueError: all such values together are out of proportion to what was stored.
        """
        self._room -= size
        if self._room < 0:
            raise ValueError(f"values out of proportion to the {len(self._buffers)} bytes that are stored")


def _room_beside(size: int) -> int:
    """How many bytes that are not in the buffers may come of a frame with ``size`` that are."""
    return ROOM + MAX_RATIO * size


def _late_writer(kind: type) -> Write:
    if kind not in WRITERS:
        _load(kind.__module__.partition(".")[0])
    try:
        return WRITERS[kind]
    except KeyError:
        name = f"{kind.__module__}.{kind.__qualname__}"
        raise NeedsPickleError(f"values of type {name} have no form of their own") from None


def _late_reader(tag: str) -> Read:
    _load(tag.partition(".")[0])
    return READERS[tag]


def _load(family: str) -> None:
    if family in FAMILIES:
        module = importlib.import_module(FAMILIES[family])
        WRITERS.update(module.WRITERS)
        READERS.update(module.READERS)
