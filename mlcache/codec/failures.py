"""Exceptions of Python's own types, kept as answers; others are pickled, as they may be anything."""

from __future__ import annotations

import builtins
from typing import Any

from mlcache.codec.nodes import NeedsPickleError, Node, Reader, Writer, expect
from mlcache.entry import Failure

KINDS: dict[str, type[Exception]] = {
    name: kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, Exception) and kind.__name__ == name
}
"""By name: a frame names no others, so reading one imports and runs nothing."""


def _write_failure(value: Failure, out: Writer) -> Node:
    error = value.error
    kind, reduced = type(error), error.__reduce__()
    if KINDS.get(kind.__name__) is not kind or len(reduced) != 2:  # noqa: PLR2004 - the third would be attributes
        name = f"{kind.__module__}.{kind.__qualname__}"
        raise NeedsPickleError(f"an exception of type {name}, or with attributes, has no form of its own")
    return ["failure", kind.__name__, out.node(reduced[1])]


def _read_failure(node: Node, source: Reader) -> Failure:
    _, name, args = node
    return Failure(KINDS[name](*expect(source.value(args), tuple)))


WRITERS: dict[type, Any] = {Failure: _write_failure}
READERS: dict[str, Any] = {"failure": _read_failure}
